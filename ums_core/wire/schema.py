"""Every verb as it crosses: where it goes, what it asks, what it answers; derived from the protocol's signatures."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import Field, ValidationError, create_model
from pydantic_core import to_json

from ums_core.errors import RemoteError
from ums_core.ports import MemoryStore
from ums_core.wire.codec import KV_ITEMS, KV_PAIRS, KV_VALUES, Form, Wire, form_of, hints_of
from ums_core.wire.problem import refuse

__all__ = ["JSON", "PREFIX", "VERBS", "Verb", "parse"]

JSON = "application/json"
PREFIX = "/v1"


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb of ``MemoryStore`` on the wire.

    Attributes:
        name: of the method.
        path: below the service's address.
        writes: whether it changes something.
        request: the body's schema; None where nothing is asked, which makes it a GET.
        reply: the answer's schema.
    """

    name: str
    path: str
    writes: bool
    request: type[Wire] | None
    reply: type[Wire]
    _asked: Mapping[str, Form]
    _answered: Form
    _under: str | None

    @property
    def method(self) -> str:
        """The HTTP method."""
        return "GET" if self.request is None else "POST"

    @property
    def summary(self) -> str:
        """What the verb does, in the protocol's words."""
        return (getattr(MemoryStore, self.name).__doc__ or "").partition("\n")[0]

    def dump_request(self, arguments: Mapping[str, object]) -> bytes:
        """The body that asks for it; arguments that are None are left out."""
        if self.request is None:
            return b""
        return to_json({name: _dump(self._asked[name], v) for name, v in arguments.items() if v is not None})

    def load_request(self, body: bytes) -> dict[str, Any]:
        """The arguments of the verb.

        Raises:
            InvalidInput: of the class that fits the field at fault.
        """
        if self.request is None:
            return {}
        given = parse(self.request, body)
        return {name: _load(self._asked[name], getattr(given, name)) for name in given.model_fields_set}

    def dump_reply(self, result: object) -> bytes:
        """The body that answers."""
        answer = _dump(self._answered, result)
        if self._under is None:
            return to_json({} if answer is None else answer)
        return to_json({self._under: answer})

    def load_reply(self, body: bytes) -> Any:  # noqa: ANN401  # what the verb returns
        """What the verb returned.

        Raises:
            RemoteError: the body is not an answer to this verb.
        """
        try:
            # A newer service may say more than this version knows.
            given = self.reply.model_validate_json(body, extra="ignore")
        except ValidationError as error:
            raise RemoteError(
                f"the service's answer to {self.name} cannot be read: is {self.path} a UMS service of this version?"
            ) from error
        return _load(self._answered, given if self._under is None else getattr(given, self._under))


def parse(kind: type[Wire], body: bytes) -> Any:  # noqa: ANN401  # an object of the kind
    """The body as an object of the kind.

    Raises:
        InvalidInput: of the class that fits the field at fault; nothing of the input is in its message.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise refuse(error, _names(kind)) from None


def _dump(form: Form, value: Any) -> Any:  # noqa: ANN401  # of the form's kind
    return value if form.dump is None else form.dump(value)


def _load(form: Form, value: Any) -> Any:  # noqa: ANN401  # of the form's kind
    return value if form.load is None else form.load(value)


@cache
def _names(kind: type[Wire]) -> frozenset[str]:
    """The names of all fields in a schema."""
    schema = kind.model_json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    return frozenset(name for part in parts for name in part.get("properties", {}))


_NOTHING = Form(Wire, None, lambda _: None)
# What a hint does not tell: the key-value area takes bytes as well as JSON.
_ASKED: dict[str, dict[str, Form]] = {
    "kv_put": {"items": KV_ITEMS},
    # A strategy crosses by its name.
    "consolidate": {"strategy": form_of(str | None)},
}
# What is called while the verb works, and so stays where that is.
_HERE = frozenset({"progress", "cancel"})
_ANSWERED = {"kv_get": KV_VALUES, "kv_scan": KV_PAIRS}


def _verb(name: str, path: str, *, writes: bool = False, under: str | None = None) -> Verb:
    verb: Callable[..., object] = getattr(MemoryStore, name)
    hints = hints_of(verb)
    parameters = [p for p in inspect.signature(verb).parameters.values() if p.name not in {"self", *_HERE}]
    asked = {p.name: form_of(hints[p.name]) for p in parameters if p.name not in _ASKED.get(name, {})}
    asked |= _ASKED.get(name, {})
    title = "".join(part.capitalize() for part in name.split("_"))
    columns: dict[str, Any] = {
        p.name: (asked[p.name].annotation, Field() if p.default is p.empty else Field(default=p.default))
        for p in parameters
    }
    request = create_model(f"{title}Request", __base__=Wire, **columns) if columns else None
    answered = _NOTHING if hints["return"] is type(None) else _ANSWERED.get(name) or form_of(hints["return"])
    reply = answered.annotation
    if under is not None:
        held: dict[str, Any] = {under: (answered.annotation, ...)}
        reply = create_model(f"{title}Reply", __base__=Wire, **held)
    return Verb(name, PREFIX + path, writes, request, reply, asked, answered, under)


VERBS: dict[str, Verb] = {
    verb.name: verb
    for verb in (
        _verb("add", "/memories/add", writes=True, under="memories"),
        _verb("get", "/memories/get", under="memories"),
        _verb("update", "/memories/update", writes=True, under="memories"),
        _verb("delete", "/memories/delete", writes=True, under="count"),
        _verb("search", "/memories/search", under="hits"),
        _verb("scan", "/memories/scan"),
        _verb("count", "/memories/count", under="count"),
        _verb("namespaces", "/namespaces", under="namespaces"),
        _verb("add_distinct", "/memories/add-distinct", writes=True),
        _verb("consolidate", "/memories/consolidate", writes=True),
        _verb("maintain", "/maintain", writes=True),
        _verb("expand", "/memories/expand", under="memories"),
        _verb("history", "/memories/history", under="changes"),
        _verb("reinforce", "/memories/reinforce", writes=True, under="count"),
        _verb("forget", "/memories/forget", writes=True),
        _verb("supersede", "/memories/supersede", writes=True),
        _verb("undo", "/memories/undo", writes=True, under="count"),
        _verb("health", "/health"),
        _verb("kv_put", "/kv/put", writes=True),
        _verb("kv_get", "/kv/get", under="values"),
        _verb("kv_delete", "/kv/delete", writes=True, under="count"),
        _verb("kv_scan", "/kv/scan", under="items"),
    )
}
