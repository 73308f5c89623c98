r"""A condition on the fields of a memory: one expression tree, checked once, when it is made.

A leaf compares one field with one value, a group joins filters. What each operator means is written in one place,
``ums_core.records.match``; storage must agree with it.

A field is one of ``FIELDS`` or else a dotted path into the metadata: ``a.b`` is ``metadata["a"]["b"]``.
``metadata.role`` names the metadata key where the memory has a field of that name; inside a key, ``\.`` is a dot and
``\\`` a backslash.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as slot
from datetime import UTC, datetime
from difflib import get_close_matches

from ums_core.errors import InvalidFilter
from ums_core.records.check import MAX_JSON_DEPTH, encodable

__all__ = ["FIELDS", "GROUPS", "MAX_DEPTH", "OPERATORS", "TIME_FIELDS", "Filter"]

MAX_DEPTH = 64
GROUPS = ("and", "or", "nor", "nand")
OPERATORS = (
    *("eq", "ne", "gt", "gte", "lt", "lte", "in", "nin", "between", "exists", "is_empty"),
    *("contains", "any", "all", "text_match", "text_imatch", "starts_with", "ends_with"),
)
TIME_FIELDS = frozenset({"created_at", "updated_at", "last_accessed_at", "expires_at", "occurred_at", "valid_from"})
FIELDS = TIME_FIELDS | {
    *("id", "text", "role", "tags", "level", "modality", "importance", "emotional_intensity", "valence"),
    *("source_ids", "final", "speaker", "session", "position", "pinned", "accesses", "caption"),
}

_SWITCHES = frozenset({"exists", "is_empty"})
_LISTS = frozenset({"in", "nin", "any", "all", "between"})
_TEXTS = frozenset({"text_match", "text_imatch", "starts_with", "ends_with"})
_NOT_FOR_TIMES = _TEXTS | {"contains", "any", "all"}
_METADATA = "metadata"
_PIECE = re.compile(r"\\[.\\]|\.|[^.]", re.DOTALL)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Every double is below 2**1024; more digits only invite a slow conversion to text.
_MAX_BITS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Filter:
    """A condition that a memory meets or not; two filters are equal when their dict forms are.

    Attributes:
        op: one of ``OPERATORS`` in a leaf, one of ``GROUPS`` in a group.
        field: what a leaf looks at, in its shortest spelling; empty in a group.
        value: what a leaf compares with, in its one form: times are UTC, the lists of an operator are tuples.
        parts: the members of a group.
        path: the keys that lead a leaf through the metadata; empty for a field of the memory itself.
        depth: 0 for a leaf, one more than its deepest part for a group, at most ``MAX_DEPTH``.
        size: number of leaves and groups.

    Raises:
        InvalidFilter: an unknown operator, an unusable field, a value the operator cannot take, or too deep.
    """

    op: str
    field: str = ""
    value: object = None
    parts: "tuple[Filter, ...]" = ()
    path: tuple[str, ...] = slot(init=False, repr=False)
    depth: int = slot(init=False, repr=False)
    size: int = slot(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the node once; its parts were checked when they were made."""
        put = object.__setattr__
        put(self, "parts", tuple(self.parts))
        put(self, "path", ())
        if self.op in GROUPS:
            self._check_group()
        else:
            self._check_leaf()
        put(self, "size", 1 + sum(part.size for part in self.parts))
        put(self, "depth", 1 + max((part.depth for part in self.parts), default=0) if self.op in GROUPS else 0)
        if self.depth > MAX_DEPTH:
            raise InvalidFilter(
                f"a filter nests deeper than {MAX_DEPTH} groups; join conditions of one kind in one group"
            )

    def _check_group(self) -> None:
        if self.field != "" or self.value is not None:
            raise InvalidFilter(f"the group {self.op!r} takes filters as parts, not a field and a value")
        for part in self.parts:
            if not isinstance(part, Filter):
                raise InvalidFilter(
                    f"a part of {self.op!r} is a {type(part).__name__}; make it a Filter: Filter.parse(…)"
                )

    def _check_leaf(self) -> None:
        _check_known(self.op, OPERATORS)
        if self.parts:
            raise InvalidFilter(f"the operator {self.op!r} takes a field and a value; groups are {', '.join(GROUPS)}")
        path = _path(self.field)
        object.__setattr__(self, "path", path)
        object.__setattr__(self, "field", _spelling(path) if path else self.field)
        object.__setattr__(self, "value", _check_value(self.op, self.field, self.value))

    @classmethod
    def where(cls, field: str, op: str, value: object = None) -> "Filter":
        """A leaf: the field compared with the value; ``exists`` and ``is_empty`` mean True without one."""
        if op in GROUPS:
            raise InvalidFilter(f"{op!r} joins filters and has no field; use Filter.every, some, none or not_every")
        return cls(op, field, value)

    @classmethod
    def every(cls, *parts: "Filter") -> "Filter":
        """True when all parts are; without parts, true."""
        return cls("and", parts=parts)

    @classmethod
    def some(cls, *parts: "Filter") -> "Filter":
        """True when at least one part is; without parts, false."""
        return cls("or", parts=parts)

    @classmethod
    def none(cls, *parts: "Filter") -> "Filter":
        """True when no part is; without parts, true."""
        return cls("nor", parts=parts)

    @classmethod
    def not_every(cls, *parts: "Filter") -> "Filter":
        """True when at least one part is not; without parts, false."""
        return cls("nand", parts=parts)

    @classmethod
    def parse(cls, source: object) -> "Filter":
        """A filter from its dict form; a Filter is returned as it is.

        ``{"role": "user", "importance": {"$gte": 0.5, "$lt": 1}}`` joins its keys with *and*. ``$and``, ``$or``,
        ``$nor`` and ``$nand`` take a list. A mapping whose keys do not all start with ``$`` is a value to be equal to.

        Raises:
            InvalidFilter: another type, an unknown operator, or a value the operator cannot take.
        """
        return _parse(source, 0)

    def to_dict(self) -> dict[str, object]:
        """The dict form, of JSON values only and independent of the filter; ``parse`` reads back an equal filter."""
        if self.op in GROUPS:
            return {f"${self.op}": [part.to_dict() for part in self.parts]}
        return {self.field: {f"${self.op}": _plain(self.value)}}

    def __and__(self, other: "Filter") -> "Filter":
        """Both; a chain of ``&`` stays one group."""
        if not isinstance(other, Filter):
            return NotImplemented
        return Filter.every(*_operands(self, "and"), *_operands(other, "and"))

    def __or__(self, other: "Filter") -> "Filter":
        """At least one of both; a chain of ``|`` stays one group."""
        if not isinstance(other, Filter):
            return NotImplemented
        return Filter.some(*_operands(self, "or"), *_operands(other, "or"))

    def __invert__(self) -> "Filter":
        """The opposite."""
        return Filter.none(self)

    def __eq__(self, other: object) -> bool:
        """Whether both have the same dict form; True, 1 and 1.0 are three values."""
        if not isinstance(other, Filter):
            return NotImplemented
        return _identity(self.to_dict()) == _identity(other.to_dict())

    def __hash__(self) -> int:
        """The hash of the dict form."""
        return hash(_identity(self.to_dict()))


def _parse(source: object, depth: int) -> Filter:
    if isinstance(source, Filter):
        return source
    if not isinstance(source, Mapping):
        raise InvalidFilter(
            f"a filter is a Filter or a mapping such as {{'role': 'user'}}, got {type(source).__name__}"
        )
    if depth > MAX_DEPTH:
        raise InvalidFilter(f"a filter nests deeper than {MAX_DEPTH} groups; join conditions of one kind in one group")
    parts: list[Filter] = []
    for key, value in source.items():
        if not isinstance(key, str):
            raise InvalidFilter(f"a key of a filter is a {type(key).__name__}; name a field or a group such as '$and'")
        if key.startswith("$"):
            parts.append(_parse_group(key, value, depth))
        else:
            parts += _parse_field(key, value)
    return parts[0] if len(parts) == 1 else Filter.every(*parts)


def _parse_group(key: str, value: object, depth: int) -> Filter:
    _check_known(key, tuple(f"${op}" for op in GROUPS))
    if not isinstance(value, (list, tuple)):
        raise InvalidFilter(f"{key!r} takes a list of filters, got {type(value).__name__}")
    return Filter(key[1:], parts=tuple(_parse(part, depth + 1) for part in value))


def _parse_field(name: str, value: object) -> list[Filter]:
    if not isinstance(value, Mapping) or not value or not all(isinstance(k, str) and k[:1] == "$" for k in value):
        return [Filter.where(name, "eq", value)]
    for op in value:
        _check_known(op, tuple(f"${op}" for op in OPERATORS))
    return [Filter.where(name, op[1:], operand) for op, operand in value.items()]


def _check_known(op: object, known: Sequence[str]) -> None:
    if not isinstance(op, str):
        raise InvalidFilter(f"an operator is a string such as {known[0]!r}, got {type(op).__name__}")
    if op not in known:
        near = get_close_matches(op[:40], known, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
        raise InvalidFilter(f"unknown operator {op:.40}; {remedy}")


def _path(name: object) -> tuple[str, ...]:
    """The keys into the metadata, or nothing for a field of the memory itself."""
    if not isinstance(name, str) or not encodable(name):
        raise InvalidFilter(f"a field is a string that UTF-8 can hold, got {type(name).__name__} {name!r:.80}")
    if name in FIELDS:
        return ()
    keys = [""]
    for piece in _PIECE.findall(name):
        if piece == ".":
            keys.append("")
        else:
            keys[-1] += piece[-1]
    if keys[0] == _METADATA:
        del keys[0]
    if not keys or not all(keys):
        raise InvalidFilter(f"the field {name!r:.80} holds an empty key; write metadata.key, or \\. for a dot in a key")
    return tuple(keys)


def _spelling(path: tuple[str, ...]) -> str:
    name = ".".join(key.replace("\\", "\\\\").replace(".", "\\.") for key in path)
    ambiguous = name in FIELDS or path[0] == _METADATA or name.startswith("$")
    return f"{_METADATA}.{name}" if ambiguous else name


def _check_value(op: str, field: str, value: object) -> object:
    """The value in its one form."""
    timed = field in TIME_FIELDS
    if timed and op in _NOT_FOR_TIMES:
        raise InvalidFilter(f"{field!r} is a moment, which {op!r} cannot look at; compare it with gte, lt or between")
    if op in _SWITCHES:
        if value is not None and not isinstance(value, bool):
            raise InvalidFilter(f"{op!r} of {field!r} takes True or False, got {type(value).__name__}")
        return value is not False
    check: Callable[[object, str], object] = _check_moment if timed else _check_json
    if op in _LISTS:
        return _check_list(op, field, value, check)
    if op in _TEXTS and not isinstance(value, str):
        raise InvalidFilter(f"{op!r} of {field!r} takes a string, got {type(value).__name__}")
    return check(value, field)


def _check_list(op: str, field: str, value: object, check: Callable[[object, str], object]) -> tuple[object, ...]:
    unordered = isinstance(value, (set, frozenset))
    if not isinstance(value, (list, tuple, set, frozenset)) or (unordered and op == "between"):
        raise InvalidFilter(f"{op!r} of {field!r} takes a list, got {type(value).__name__}")
    items = [check(item, field) for item in value]
    if op == "between" and len(items) != len(("low", "high")):
        raise InvalidFilter(f"'between' of {field!r} takes [low, high], got {len(items)} values")
    return tuple(sorted(items, key=lambda item: _identity(_plain(item))) if unordered else items)


def _check_moment(value: object, field: str) -> datetime:
    moment = value
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError as error:
            raise InvalidFilter(f"{value!r:.80} of {field!r} is not ISO 8601, such as 2025-01-31T12:00:00Z") from error
    if not isinstance(moment, datetime):
        raise InvalidFilter(
            f"{field!r} is compared with a datetime or an ISO 8601 string, got {type(value).__name__}; "
            "where there may be none, use exists"
        )
    if moment.utcoffset() is None:
        raise InvalidFilter(f"{value!s:.80} of {field!r} has no time zone; append Z, or use datetime.now(UTC)")
    try:
        return _EPOCH + (moment - _EPOCH)
    except OverflowError as error:
        raise InvalidFilter(f"{value!s:.80} of {field!r} leaves the years 1 to 9999 in UTC") from error


def _check_json(value: object, field: str, depth: int = 0) -> object:
    """A deep copy of a JSON value, tuples turned into lists; integers of any sensible size."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (list, tuple, Mapping)) and depth >= MAX_JSON_DEPTH:
        raise InvalidFilter(f"the value of {field!r} is nested deeper than {MAX_JSON_DEPTH} levels")
    if isinstance(value, (list, tuple)):
        return [_check_json(item, field, depth + 1) for item in value]
    if isinstance(value, Mapping):
        return {_check_string(key, field): _check_json(item, field, depth + 1) for key, item in value.items()}
    return _check_number(value, field) if type(value) in (int, float) else _check_string(value, field)


def _check_string(value: object, field: str) -> str:
    if type(value) is not str:
        raise InvalidFilter(
            f"the value of {field!r} holds a {type(value).__name__} where JSON cannot; make it a string, number or list"
        )
    if not encodable(value):
        raise InvalidFilter(f"the value of {field!r} holds a lone surrogate, which UTF-8 cannot hold: {value!r:.80}")
    return value


def _check_number(value: object, field: str) -> object:
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        raise InvalidFilter(f"the value of {field!r} is an integer of more than {_MAX_BITS} bits; compare with less")
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidFilter(f"the value of {field!r} is {value!r}, which no memory can hold; use exists or is_empty")
    return value


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _identity(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _operands(operand: Filter, op: str) -> tuple[Filter, ...]:
    return operand.parts if operand.op == op else (operand,)
