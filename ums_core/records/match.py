"""What a filter means. Storage may answer faster, never differently.

A key that is missing meets only ``ne``, ``nin``, ``exists`` False and ``is_empty`` False; a field that is None counts
as missing, a JSON null in the metadata does not. Equality knows types: True is not 1, while 1 and 1.0 are one number.
Values of two kinds are never ordered, and never an error. A moment is compared as microseconds since 1970.
"""

import operator
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final

from ums_core.records.filter import GROUPS, Filter
from ums_core.records.memory import Memory

__all__ = ["MISSING", "Missing", "dig", "evaluate", "holds", "matches", "micros"]


class Missing(Enum):
    """The type of the one value that stands for no value."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def matches(filter: Filter, memory: Memory) -> bool:  # noqa: A002  # the field's standard term
    """Whether the memory meets the filter."""
    return evaluate(filter, lambda leaf: _value_of(memory, leaf))


def evaluate(filter: Filter, lookup: Callable[[Filter], object]) -> bool:  # noqa: A002  # the field's standard term
    """Whether the filter is met, where ``lookup`` gives the value that a leaf looks at, or ``MISSING``."""
    if filter.op not in GROUPS:
        return holds(filter, lookup(filter))
    quantifier = all if filter.op in ("and", "nand") else any
    return quantifier(evaluate(part, lookup) for part in filter.parts) is (filter.op in ("and", "or"))


def holds(leaf: Filter, value: object) -> bool:
    """Whether one leaf is met by a value, or by ``MISSING``; the value of a moment is its microseconds."""
    if value is MISSING:
        return leaf.op in ("ne", "nin") or (leaf.op in ("exists", "is_empty") and leaf.value is False)
    return _TESTS[leaf.op](value, leaf.value)


def dig(metadata: object, path: tuple[str, ...]) -> object:
    """What lies at the path, through objects only, or ``MISSING``."""
    value = metadata
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return MISSING
        value = value[key]
    return value


def micros(moment: datetime) -> int:
    """Microseconds since 1970 UTC, exact for every aware datetime."""
    return (moment - _EPOCH) // _MICROSECOND


def _value_of(memory: Memory, leaf: Filter) -> object:
    if leaf.path:
        return dig(memory.metadata, leaf.path)
    value: object = getattr(memory, leaf.field)
    if value is None:
        return MISSING
    return micros(value) if isinstance(value, datetime) else value


def _same(value: object, wanted: object) -> bool:
    if isinstance(wanted, datetime):
        return value == micros(wanted)
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(value, (list, tuple)) and isinstance(wanted, (list, tuple)):
        return len(value) == len(wanted) and all(map(_same, value, wanted))
    if isinstance(value, dict) and isinstance(wanted, dict):
        return value.keys() == wanted.keys() and all(_same(item, wanted[key]) for key, item in value.items())
    return value == wanted


def _ordered(compare: Callable[..., bool]) -> Callable[[object, object], bool]:
    def test(value: object, wanted: object) -> bool:
        bound = micros(wanted) if isinstance(wanted, datetime) else wanted
        if isinstance(value, bool) or isinstance(bound, bool):
            return False
        numbers = isinstance(value, (int, float)) and isinstance(bound, (int, float))
        return (numbers or (isinstance(value, str) and isinstance(bound, str))) and compare(value, bound)

    return test


_at_least = _ordered(operator.ge)
_at_most = _ordered(operator.le)


def _between(value: object, bounds: tuple[object, object]) -> bool:
    return _at_least(value, bounds[0]) and _at_most(value, bounds[1])


def _in(value: object, wanted: tuple[object, ...]) -> bool:
    return any(_same(value, item) for item in wanted)


def _contains(value: object, wanted: object) -> bool:
    if isinstance(value, str):
        return isinstance(wanted, str) and wanted in value
    return isinstance(value, (list, tuple)) and any(_same(item, wanted) for item in value)


def _any(value: object, wanted: tuple[object, ...]) -> bool:
    return isinstance(value, (list, tuple)) and any(_contains(value, item) for item in wanted)


def _all(value: object, wanted: tuple[object, ...]) -> bool:
    return isinstance(value, (list, tuple)) and all(_contains(value, item) for item in wanted)


def _empty(value: object) -> bool:
    return value is None or (isinstance(value, (str, list, tuple, dict)) and not value)


def _worded(test: Callable[[str, str], bool]) -> Callable[[object, str], bool]:
    return lambda value, wanted: isinstance(value, str) and test(value, wanted)


_TESTS: Mapping[str, Callable[..., bool]] = {
    "eq": _same,
    "ne": lambda value, wanted: not _same(value, wanted),
    "gt": _ordered(operator.gt),
    "gte": _at_least,
    "lt": _ordered(operator.lt),
    "lte": _at_most,
    "in": _in,
    "nin": lambda value, wanted: not _in(value, wanted),
    "between": _between,
    "exists": lambda _, wanted: wanted,
    "is_empty": lambda value, wanted: _empty(value) is wanted,
    "contains": _contains,
    "any": _any,
    "all": _all,
    "text_match": _worded(operator.contains),
    "text_imatch": _worded(lambda value, wanted: wanted.casefold() in value.casefold()),
    "starts_with": _worded(str.startswith),
    "ends_with": _worded(str.endswith),
}
