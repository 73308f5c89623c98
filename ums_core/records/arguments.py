"""Checks of what a verb is given; every channel refuses the same things by the same errors."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from ums_core.errors import InvalidField, InvalidInput, InvalidQuery
from ums_core.records.check import check_label
from ums_core.records.distinct import DUPLICATES, Duplicates
from ums_core.records.filter import Filter
from ums_core.records.maintenance import STEPS, Step
from ums_core.records.query import Query

__all__ = [
    "check_batch",
    "check_callbacks",
    "check_cursor",
    "check_duplicates",
    "check_filter",
    "check_ids",
    "check_keys",
    "check_limit",
    "check_query",
    "check_share",
    "check_steps",
]

T = TypeVar("T")
_INT64 = 2**63


def check_batch(values: Sequence[T], kind: type[T]) -> list[T]:
    """The values as a list.

    Raises:
        InvalidField: not a list, or one of them of another type.
    """
    if isinstance(values, kind | str) or not isinstance(values, Iterable):
        raise InvalidField(
            f"a list of {kind.__name__} was due, got {type(values).__name__}; write [{kind.__name__}(…)]"
        )
    batch = list(values)
    for place, value in enumerate(batch):
        if not isinstance(value, kind):
            raise InvalidField(f"item {place} must be a {kind.__name__}, got {type(value).__name__}; make one of it")
    return batch


def check_callbacks(**callbacks: object) -> None:
    """That what is to be called meanwhile can be, before anything is done.

    Args:
        callbacks: by the name of the argument; None is none.

    Raises:
        InvalidField: one of them cannot be called.
    """
    for name, callback in callbacks.items():
        if callback is not None and not callable(callback):
            raise InvalidField(f"{name} must be a function or None, got {type(callback).__name__} {callback!r}")


def check_ids(ids: Sequence[str]) -> list[str]:
    """The ids as a list.

    Raises:
        InvalidQuery: a single string, or nothing to go through.
        InvalidField: one of them is not a label.
    """
    if isinstance(ids, str) or not isinstance(ids, Iterable):
        raise InvalidQuery(f"ids must be a list of strings, got {type(ids).__name__} {ids!r}; write [{ids!r}]")
    return [check_label(id_, "each id") for id_ in ids]


def check_keys(keys: Sequence[str]) -> list[str]:
    """The keys of a collection as a list.

    Raises:
        InvalidInput: a single string, no sequence, or one of them is not a label.
    """
    if isinstance(keys, str) or not isinstance(keys, Sequence):
        raise InvalidInput(f"keys must be a list of strings, got {type(keys).__name__}")
    return [check_label(key, "key", InvalidInput) for key in keys]


def check_query(query: Query) -> Query:
    """The query itself.

    Raises:
        InvalidQuery: something else.
    """
    if not isinstance(query, Query):
        raise InvalidQuery(f"search takes a Query, got {type(query).__name__}; write Query(text={query!r})")
    return query


def check_filter(condition: Filter | Mapping[str, object] | None) -> Filter | None:
    """The condition in its one form; None is none.

    Raises:
        InvalidFilter: it is not one.
    """
    return None if condition is None else Filter.parse(condition)


def check_limit(limit: int) -> int:
    """How many at most, from 1; what storage cannot count to is all there are.

    Raises:
        InvalidQuery: another type, or below 1.
    """
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise InvalidQuery(f"limit must be an integer of at least 1, got {limit!r}")
    return min(limit, _INT64 - 1)


def check_cursor(cursor: int | None) -> int | None:
    """Where a page begins; None is the start.

    Raises:
        InvalidQuery: another type, or beyond 64 bits.
    """
    if cursor is not None and (isinstance(cursor, bool) or not isinstance(cursor, int) or not 0 <= cursor < _INT64):
        raise InvalidQuery(f"cursor must be what the page before said, or None for the first, got {cursor!r}")
    return cursor


def check_share(value: float, name: str) -> float:
    """A number greater than 0, and at most 1.

    Raises:
        InvalidQuery: another one, or another type.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise InvalidQuery(f"{name} must be greater than 0 and at most 1, got {value!r}")
    return float(value)


def check_duplicates(duplicates: Duplicates) -> Duplicates:
    """What becomes of duplicates.

    Raises:
        InvalidField: no such way.
    """
    if duplicates not in DUPLICATES:
        raise InvalidField(f"duplicates must be one of {', '.join(DUPLICATES)}, got {duplicates!r}")
    return duplicates


def check_steps(steps: Sequence[Step]) -> list[Step]:
    """The steps of maintenance, in their order.

    Raises:
        InvalidField: no list, or no such step.
    """
    if isinstance(steps, str) or not isinstance(steps, Sequence):
        raise InvalidField(f"steps must be a list of {', '.join(STEPS)}, got {steps!r}")
    for step in steps:
        if step not in STEPS:
            raise InvalidField(f"unknown step {step!r}; known are {', '.join(STEPS)}")
    return [step for step in STEPS if step in steps]
