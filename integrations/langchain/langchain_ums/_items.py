"""LangGraph items as memories: labels, values, indexed fields, times."""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    SearchItem,
    SearchOp,
    get_text_at_path,
    tokenize_path,
    validate_op_namespace,
)

from ums_core import Draft, Filter, Memory, Passage

__all__ = [
    "CAN_EXPIRE", "IS_ITEM", "VALUE", "Field", "check", "decode_label", "draft_of", "encode_label", "fields_of",
    "has_expired", "item_of", "matches", "namespace_of", "path_of", "refreshed", "scored", "texts_of",
]  # fmt: skip

_KEY = "langgraph"
VALUE = f"metadata.{_KEY}.value"
IS_ITEM = Filter.where(VALUE, "exists")
CAN_EXPIRE = Filter.where(f"metadata.{_KEY}.ttl", "gte", 0)
_DOT = re.compile(r"%((?:25)*)2E")
Path = tuple[str, ...]


Field = tuple[str, ...]
"""A path into a value, cut into its parts; no parts are the whole value."""


def encode_label(label: str) -> str:
    """A label that LangGraph takes, for any label of UMS: a dot becomes ``%2E``, all else stays as it is.

    ``decode_label`` is the way back, so ``encode_label("ada@example.org")`` names the same user as the label
    ``ada@example.org`` everywhere else in UMS.

    Raises:
        TypeError: not a string; write ``str(user_id)``.
    """
    if not isinstance(label, str):
        raise TypeError(f"a label is a string, got {type(label).__name__} {label!r}; write str({label!r})")
    return _DOT.sub(r"%25\g<1>2E", label).replace(".", "%2E")


def decode_label(label: str) -> str:
    """The label of UMS that a label of LangGraph stands for."""
    return _DOT.sub(lambda found: f"%{found[1][2:]}2E" if found[1] else ".", label)


def path_of(namespace: Path) -> Path:
    """Where the memories of a LangGraph namespace are."""
    return tuple(map(decode_label, namespace))


def namespace_of(path: Path) -> Path:
    """The LangGraph namespace of memories."""
    return tuple(map(encode_label, path))


def fields_of(paths: Sequence[str]) -> list[Field]:
    """Paths such as ``$``, ``a.b`` or ``a[*].b``, cut into their parts once."""
    return [() if path == "$" else tuple(tokenize_path(path)) for path in paths]


def texts_of(value: Mapping[str, Any], fields: Sequence[Field]) -> list[str]:
    """What is searched in a value: the texts of its fields, each once; a field that is missing gives none."""
    try:
        texts = [text for field in fields for text in get_text_at_path(value, list(field) or "$")]
    except (TypeError, ValueError, RecursionError):
        return []  # no JSON: the draft refuses it, and says where
    return list(dict.fromkeys(text for text in texts if text.strip()))


def minutes_of(op: PutOp) -> float | None:
    """The time to live of a put.

    Raises:
        ValueError: negative or not finite.
    """
    if op.ttl is not None and not 0 <= op.ttl < math.inf:
        raise ValueError(f"ttl is a number of minutes of at least 0, or None for ever, got {op.ttl!r}")
    return op.ttl


def check(op: Op) -> None:
    """Refuse what no store could carry out, also in a raw batch.

    Raises:
        InvalidNamespaceError: a label that LangGraph forbids, or an item in no namespace.
        ValueError: an unknown operation, or a number out of its range.
    """
    if not isinstance(op, GetOp | SearchOp | PutOp | ListNamespacesOp):
        raise ValueError(f"unknown operation {type(op).__name__}")  # noqa: TRY004  # as LangGraph's own stores
    validate_op_namespace(op)
    # Not every version of LangGraph looks for it.
    if any("\0" in label for label in _labels_of(op)):
        raise InvalidNamespaceError(f"a label holds no NUL, got {op!r}")
    if isinstance(op, PutOp):
        if not op.namespace:
            raise InvalidNamespaceError("an item lies in a namespace of at least one label, got ()")
        minutes_of(op)
    elif not isinstance(op, GetOp) and (op.limit < 0 or op.offset < 0):
        raise ValueError(f"limit and offset are at least 0, got {op.limit!r} and {op.offset!r}")


def draft_of(op: PutOp, texts: Sequence[str], vectors: Mapping[str, Sequence[float]], now: datetime) -> Draft:
    """The memory of an item. Its text is what is indexed, one passage a field; the value lies in its metadata."""
    passages, start = [], 0
    for text in texts:
        passages.append(Passage(start=start, end=start + len(text), vector=vectors.get(text)))
        start += len(text) + 1
    minutes = minutes_of(op)
    return Draft(
        id=op.key,
        namespace=path_of(op.namespace),
        text="\n".join(texts),
        passages=tuple(passages),
        metadata={_KEY: {"value": op.value, "ttl": minutes, "updated_at": now.isoformat()}},
        created_at=now,
        expires_at=None if minutes is None else now + timedelta(minutes=minutes),
    )


def item_of(memory: Memory | None) -> Item | None:
    """The item that a memory holds; None for one that holds none."""
    held = None if memory is None else _held(memory)
    return None if memory is None or held is None else Item(**_parts(memory, held))


def scored(memory: Memory, score: float | None = None) -> SearchItem:
    """The item of a memory that was found."""
    return SearchItem(**_parts(memory, _held(memory) or {}), score=score)


def has_expired(memory: Memory, now: datetime) -> bool:
    """Whether its time has passed."""
    minutes = (_held(memory) or {}).get("ttl")
    return minutes is not None and memory.expires_at is not None and memory.expires_at <= now


def refreshed(memory: Memory, now: datetime) -> datetime | None:
    """When a memory that is read now shall expire; None where that is not a second later than it would anyhow."""
    minutes = (_held(memory) or {}).get("ttl")
    if memory.expires_at is None or minutes is None:
        return None
    later = now + timedelta(minutes=minutes)
    return later if later - memory.expires_at >= timedelta(seconds=1) else None


def matches(condition: MatchCondition, namespace: Path) -> bool:
    """Whether a namespace begins or ends as the condition says; ``*`` is any label.

    Raises:
        ValueError: neither of both.
    """
    if condition.match_type not in ("prefix", "suffix"):
        raise ValueError(f"match_type is 'prefix' or 'suffix', got {condition.match_type!r}")
    length = len(condition.path)
    part = namespace[:length] if condition.match_type == "prefix" else namespace[max(0, len(namespace) - length) :]
    return len(part) == length and all(
        wanted in ("*", label) for wanted, label in zip(condition.path, part, strict=True)
    )


def _labels_of(op: Op) -> Path:
    if isinstance(op, ListNamespacesOp):
        return tuple(label for condition in op.match_conditions or () for label in condition.path)
    return op.namespace_prefix if isinstance(op, SearchOp) else op.namespace


def _held(memory: Memory) -> dict[str, Any] | None:
    held = memory.metadata.get(_KEY)
    return held if isinstance(held, dict) and "value" in held else None


def _parts(memory: Memory, held: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "namespace": namespace_of(memory.namespace),
        "key": memory.id,
        "value": held["value"],
        "created_at": memory.created_at,
        "updated_at": datetime.fromisoformat(held["updated_at"]),
    }
