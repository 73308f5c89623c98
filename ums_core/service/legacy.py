"""The paths that users know from before ``/v1``: flat bodies, in the words of an agent's memory."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from pydantic import Field, create_model

from ums_core.errors import InvalidInput
from ums_core.records import Draft, Query
from ums_core.wire.codec import Wire, form_of
from ums_core.wire.schema import VERBS, Verb, parse

__all__ = ["LEGACY", "Legacy"]

_DRAFT, _QUERY = form_of(Draft), form_of(Query)


def _columns(kind: type, skip: str = "") -> dict[str, Any]:
    found = form_of(kind).annotation.model_fields
    return {e.name: (found[e.name].annotation, found[e.name]) for e in fields(kind) if e.name not in skip.split()}


_KEY: dict[str, Any] = {
    "idempotency_key": (str | None, Field(default=None, description="The same key with the same body writes once."))
}
_ADD: dict[str, Any] = {
    **_columns(Draft),
    "memories": (list[_DRAFT.annotation] | None, Field(default=None, description="Several at once, in place of one.")),  # type: ignore[name-defined]  # built from a value
    **_KEY,
}
_SEARCH: dict[str, Any] = {
    **_columns(Query, "text"),
    "query": (str | None, Field(default=None, description="The question in words.")),
}


@dataclass(frozen=True, slots=True)
class Legacy:
    """One such path.

    Attributes:
        path: as users know it.
        verb: what it does.
        request: the body's schema.
        turn: from the body to the verb's arguments.
    """

    path: str
    verb: Verb
    request: type[Wire]
    turn: Callable[[bytes], dict[str, Any]]


class _Request(Wire):
    """A body of these paths."""


_AddBody = create_model("AddMemories", __base__=_Request, __doc__="One memory, or several.", **_ADD)
_SearchBody = create_model("SearchMemories", __base__=_Request, __doc__="A question.", **_SEARCH)


def _add(body: bytes) -> dict[str, Any]:
    given = parse(_AddBody, body)
    named = given.model_fields_set - {"memories", "idempotency_key"}
    if given.memories is not None and named:
        raise InvalidInput("give either one memory's fields or memories, not both")
    if given.memories is None:
        one = _DRAFT.annotation.model_construct(named, **{name: getattr(given, name) for name in named})
        drafts = [_loaded(_DRAFT, one)]
    else:
        drafts = [_loaded(_DRAFT, each) for each in given.memories]
    key = given.idempotency_key
    return {"drafts": drafts} if key is None else {"drafts": drafts, "idempotency_key": key}


def _search(body: bytes) -> dict[str, Any]:
    given = parse(_SearchBody, body)
    values = {name: getattr(given, name) for name in given.model_fields_set - {"query"}}
    if given.query is not None:
        values["text"] = given.query
    return {"query": _loaded(_QUERY, _QUERY.annotation.model_construct(set(values), **values))}


def _loaded(form: Any, given: object) -> Any:  # noqa: ANN401  # of the form's kind
    return form.load(given)


LEGACY = (
    Legacy("/memory/add", VERBS["add"], _AddBody, _add),
    Legacy("/memory/search", VERBS["search"], _SearchBody, _search),
    *(
        Legacy(path, VERBS[verb], VERBS[verb].request or Wire, VERBS[verb].load_request)
        for path, verb in (
            ("/memory/consolidate", "consolidate"),
            ("/memory/forget", "forget"),
            ("/memory/mark_access", "reinforce"),
        )
    ),
)
