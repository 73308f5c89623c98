"""Messages of the two streams: drafts that go in one by one with their answers, and changes that come out."""

from dataclasses import dataclass
from typing import Any

from pydantic import Field, ValidationError
from pydantic_core import from_json, to_json

from ums_core.errors import InvalidInput, RemoteError, UMSError
from ums_core.records import Draft, Memory, Namespace
from ums_core.records.check import check_label
from ums_core.records.event import Event
from ums_core.wire.codec import Wire, form_of
from ums_core.wire.problem import problem_of, raised
from ums_core.wire.schema import parse

__all__ = [
    "Ack",
    "dump_ack",
    "dump_draft",
    "dump_event",
    "dump_refusal",
    "key_of",
    "load_ack",
    "load_draft",
    "load_event",
]

_DRAFT, _EVENT = form_of(Draft), form_of(Event)


class StreamDraft(Wire):
    """One draft of a stream."""

    key: str = Field(min_length=1, description="Its idempotency key: sent again after a drop, it is stored once.")
    draft: _DRAFT.annotation  # type: ignore[name-defined]  # built from a value


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """The answer to one draft of a stream.

    Attributes:
        key: of the draft.
        id: of the memory; None where it was refused.
        namespace: of the memory.
        seq: number of a change with which everything up to it is durable, this memory included.
        error: why it was refused.
    """

    key: str
    id: str | None = None
    namespace: Namespace = ()
    seq: int = 0
    error: UMSError | None = None


def dump_draft(key: str, draft: Draft) -> str:
    """The message that sends a draft.

    Raises:
        InvalidInput: the key is not a label.
    """
    body = {"key": check_label(key, "key", InvalidInput), "draft": _dump(_DRAFT, draft)}
    return to_json(body).decode()


def load_draft(message: bytes) -> tuple[str, Draft]:
    """The key and the draft of a message.

    Raises:
        InvalidInput: of the class that fits the field at fault.
    """
    given = parse(StreamDraft, message)
    return check_label(given.key, "key", InvalidInput), _load(_DRAFT, given.draft)


def key_of(message: bytes) -> str:
    """The key of a message that may be no draft, so that its refusal can be told apart; empty where it has none."""
    try:
        key = from_json(message).get("key")
    except (ValueError, AttributeError):
        return ""
    return key if isinstance(key, str) else ""


def dump_ack(key: str, memory: Memory, seq: int) -> str:
    """The message that a draft is stored."""
    return to_json({"key": key, "id": memory.id, "namespace": memory.namespace, "seq": seq}).decode()


def dump_refusal(key: str, error: UMSError) -> str:
    """The message that a draft is refused."""
    return to_json({"key": key, "problem": problem_of(error)}).decode()


def load_ack(message: str | bytes) -> Ack:
    """The answer in a message.

    Raises:
        RemoteError: it is none.
    """
    try:
        told: dict[str, Any] = from_json(message)
        if "problem" in told:
            return Ack(key=told["key"], error=raised(told["problem"]))
        return Ack(key=told["key"], id=told["id"], namespace=tuple(told["namespace"]), seq=int(told["seq"]))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RemoteError("the service's message is not an answer to a draft; is it of this version?") from error


def dump_event(event: Event) -> str:
    """The data of a change."""
    return to_json(_dump(_EVENT, event)).decode()


def load_event(data: str | bytes) -> Event:
    """The change in an event's data.

    Raises:
        RemoteError: it is none.
    """
    try:
        event: Event = _load(_EVENT, _EVENT.annotation.model_validate_json(data, extra="ignore"))
    except ValidationError as error:
        raise RemoteError("the service's message is not a change; is it of this version?") from error
    return event


def _dump(form: Any, value: object) -> Any:  # noqa: ANN401  # of the form's kind
    return form.dump(value)


def _load(form: Any, value: object) -> Any:  # noqa: ANN401  # of the form's kind
    return form.load(value)
