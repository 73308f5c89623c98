"""The OpenAPI document: every route with its schemas, its scope and the errors it may answer."""

from typing import TYPE_CHECKING, Any

from pydantic.json_schema import models_json_schema

from ums_core.records.event import Event
from ums_core.service.desk import SCOPE_OF
from ums_core.service.legacy import LEGACY
from ums_core.wire.codec import Wire, form_of
from ums_core.wire.problem import PROBLEM
from ums_core.wire.schema import JSON, VERBS

if TYPE_CHECKING:
    from fastapi import FastAPI
    from pydantic import BaseModel

    from ums_core.wire.schema import Verb

__all__ = ["Completed", "of_events", "of_health", "of_metrics", "of_verb"]

EVENT: type[Wire] = form_of(Event).annotation
_WHERE = "#/components/schemas/{model}"
_BEARER: list[dict[str, list[str]]] = [{"token": []}]
_REFUSALS = {
    401: "No token, or one that does not hold.",
    403: "The token has not the scope.",
    404: "A memory that is named does not exist.",
    409: "The idempotency key stands for another write, or the database is bound to another embedder.",
    413: "The body, a batch or a filter is beyond the limits.",
    422: "The body cannot be used; nothing was written.",
    429: "Too many calls; see Retry-After.",
    500: "The service failed; its log says more.",
    503: "At the limit, starting, stopping, or rebuilding an index; see Retry-After.",
    507: "The disk is full.",
}
_OF_READS = (401, 403, 413, 422, 429, 500, 503)
_OF_WRITES = (*_OF_READS, 404, 409, 507)
# Reads that refuse a memory which does not exist, where others tell of it.
_NAMING = frozenset({"expand", "history"})
_PROBLEM: dict[str, Any] = {
    "title": "Problem",
    "type": "object",
    "description": "Problem details (RFC 9457). Nothing of the request is repeated.",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string", "description": "urn:ums:error: and the code."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable; see the reference of errors."},
        "detail": {"type": "string"},
        "retry_after_s": {"type": "number", "description": "Seconds after which a retry may succeed."},
        "errors": {
            "type": "array",
            "description": "Where in the body, and why.",
            "items": {
                "type": "object",
                "properties": {name: {"type": "string"} for name in ("at", "message", "type")},
            },
        },
    },
}


def of_verb(verb: "Verb", request: "type[BaseModel] | None") -> dict[str, Any]:
    """What FastAPI is to say of a route that carries a verb out."""
    extra: dict[str, Any] = {"security": _BEARER}
    if request is not None:
        extra["requestBody"] = {"required": True, "content": {JSON: {"schema": _ref(request)}}}
    errors = _OF_WRITES if verb.writes else (*_OF_READS, 404) if verb.name in _NAMING else _OF_READS
    return {
        "summary": verb.summary,
        "description": f"Needs the scope `{SCOPE_OF[verb.name]}`.",
        "tags": ["memory"],
        "openapi_extra": extra,
        "responses": {
            200: {"description": "What the verb returns.", "content": {JSON: {"schema": _ref(verb.reply)}}},
            **{status: _refusal(status) for status in sorted(errors)},
        },
    }


def of_health(summary: str) -> dict[str, Any]:
    """What FastAPI is to say of a route that tells how the service is."""
    told = {
        "type": "object",
        "properties": {"status": {"type": "string"}, "reasons": {"type": "array", "items": {"type": "string"}}},
    }
    return {
        "summary": summary,
        "description": "Needs no token.",
        "tags": ["watching"],
        "responses": {
            200: {"description": "It is.", "content": {JSON: {"schema": told}}},
            503: {"description": "It is not; the reasons are named.", "content": {JSON: {"schema": told}}},
        },
    }


def of_events() -> dict[str, Any]:
    """What FastAPI is to say of the stream of changes."""
    seq = {"type": "string", "pattern": "^[0-9]{1,18}$"}
    return {
        "summary": "The changes of the tenant's store, from a number on, as server-sent events.",
        "description": "Needs the scope `memory:read`. Ends after the time budget: ask again with the last id.",
        "tags": ["streams"],
        "openapi_extra": {
            "security": _BEARER,
            "parameters": [
                {"name": "after", "in": "query", "schema": seq, "description": "The number; without, from now on."},
                {"name": "Last-Event-ID", "in": "header", "schema": seq, "description": "The same, and stronger."},
            ],
        },
        "responses": {
            200: {"description": "Events, each a `change`.", "content": {"text/event-stream": {"schema": _ref(EVENT)}}},
            **{status: _refusal(status) for status in (401, 403, 422, 429, 500, 503)},
        },
    }


def of_metrics() -> dict[str, Any]:
    """What FastAPI is to say of the metrics."""
    return {
        "summary": "Metrics for Prometheus.",
        "description": "Needs the scope `metrics:read`.",
        "tags": ["watching"],
        "openapi_extra": {"security": _BEARER},
        "responses": {
            200: {"description": "Metrics in text form.", "content": {"text/plain": {"schema": {"type": "string"}}}},
            **{status: _refusal(status) for status in (401, 403, 429, 500)},
            404: {
                "description": "Metrics are off.",
                "content": {PROBLEM: {"schema": {"$ref": _WHERE.format(model="Problem")}}},
            },
        },
    }


class Completed:
    """The document of an application, with the schemas of the wire; made once."""

    def __init__(self, app: "FastAPI") -> None:
        self._app = app
        self._made: dict[str, Any] | None = None

    def __call__(self) -> dict[str, Any]:
        """The document."""
        if self._made is None:
            self._made = self._make()
        return self._made

    def _make(self) -> dict[str, Any]:
        app = self._app
        from fastapi.openapi.utils import get_openapi  # noqa: PLC0415  # only where an application exists

        made = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        bodies = [verb.request for verb in VERBS.values() if verb.request is not None] + [
            known.request for known in LEGACY
        ]
        models = [
            *((body, "validation") for body in bodies),
            *((verb.reply, "serialization") for verb in VERBS.values()),
            (EVENT, "serialization"),
        ]
        _, schemas = models_json_schema(models, ref_template=_WHERE)  # type: ignore[arg-type]  # pairs of a model and a mode
        parts = made.setdefault("components", {})
        parts["schemas"] = {"Problem": _PROBLEM, **schemas.get("$defs", {})}
        parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        return made


def _refusal(status: int) -> dict[str, Any]:
    return {
        "description": _REFUSALS[status],
        "content": {PROBLEM: {"schema": {"$ref": _WHERE.format(model="Problem")}}},
    }


def _ref(model: "type[BaseModel]") -> dict[str, str]:
    return {"$ref": _WHERE.format(model=model.__name__)}
