"""LlamaIndex's metadata filters as filters of the core, nested to any depth.

They mean what ``llama_index.core.vector_stores.utils.build_metadata_filter_fn`` says, which does not nest: a missing
key meets only ``!=``, ``nin`` and ``is_empty``; NOT is met when none of its parts is; a group without parts is met. As
in Python, True equals 1. Where that function raises for a type that it cannot compare, nothing is met.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from ums_core import Filter

__all__ = ["Condition", "both", "condition_of", "deletable", "named", "where", "wished"]

Condition: TypeAlias = Filter | Mapping[str, object] | MetadataFilters | None

_Test: TypeAlias = Callable[[str, object], Filter]


def condition_of(filters: MetadataFilters | None) -> Filter | None:
    """The condition, or None where there is none.

    Raises:
        ValueError: an operator with a value that it cannot take, or nested deeper than 64 groups.
    """
    return None if filters is None or not filters.filters else _group(filters)


def wished(given: Condition) -> Filter | None:
    """A condition in any form that a caller may give it.

    Raises:
        InvalidFilter, ValueError: it cannot be read.
    """
    if given is None or isinstance(given, MetadataFilters):
        return condition_of(given)
    return Filter.parse(given)


def where(key: str, op: str, value: object) -> Filter:
    """One comparison of a key of the metadata, dots and all."""
    return Filter.where(_field(key), op, value)


def both(*conditions: Filter | None) -> Filter | None:
    """Every condition that there is; None where there is none."""
    given = [condition for condition in conditions if condition is not None]
    return Filter.every(*given) if given else None


def named(node_ids: Sequence[str] | None, filters: MetadataFilters | None) -> Filter | None:
    """The nodes that have one of the ids and meet the filters; None where neither is given."""
    return both(None if node_ids is None else Filter.where("id", "in", node_ids), condition_of(filters))


def deletable(node_ids: Sequence[str] | None, filters: MetadataFilters | None) -> Filter:
    """As ``named``, where something must be.

    Raises:
        ValueError: neither is given.
    """
    condition = named(node_ids, filters)
    if condition is None:
        raise ValueError("delete_nodes needs node_ids or filters; to delete all nodes, call clear()")
    return condition


def _group(filters: MetadataFilters) -> Filter:
    parts = [_group(part) if isinstance(part, MetadataFilters) else _leaf(part) for part in filters.filters]
    if not parts:
        return Filter.every()
    if filters.condition == FilterCondition.OR:
        return Filter.some(*parts)
    return (Filter.none if filters.condition == FilterCondition.NOT else Filter.every)(*parts)


def _leaf(leaf: MetadataFilter) -> Filter:
    _refuse(leaf)
    return _TESTS[leaf.operator](_field(leaf.key), leaf.value)


def _refuse(leaf: MetadataFilter) -> None:
    value, name = leaf.value, leaf.operator.value
    if leaf.operator in _LISTS and not isinstance(value, list):
        raise ValueError(f"the operator {name!r} on {leaf.key!r} takes a list, got {value!r}")
    if leaf.operator in _ORDERED and not isinstance(value, int | float | str):
        raise ValueError(f"the operator {name!r} on {leaf.key!r} takes a number or a string, got {value!r}")
    if leaf.operator in _WORDS and not isinstance(value, str):
        raise ValueError(f"the operator {name!r} on {leaf.key!r} takes a string, got {value!r}")


def _field(key: str) -> str:
    # LlamaIndex's keys are flat: a dot is a dot.
    return "metadata." + key.replace("\\", "\\\\").replace(".", "\\.")


def _twins(value: object) -> list[object]:
    """The JSON values that Python calls equal to a number or a string."""
    flags = [flag for flag in (True, False) if isinstance(value, int | float) and value == flag]
    return [value, *flags]


def _equal(field: str, value: object) -> Filter:
    if value is None:
        return Filter.some()
    twins = _twins(value)
    return Filter.where(field, "eq", value) if len(twins) == 1 else Filter.where(field, "in", twins)


def _in(field: str, values: object) -> Filter:
    listed: Sequence[object] = values if isinstance(values, list) else []
    return Filter.where(field, "in", [twin for value in listed for twin in _twins(value)])


def _ordered(op: str, holds: Callable[[bool, float], bool]) -> _Test:
    def test(field: str, value: object) -> Filter:
        bound = Filter.where(field, op, value)
        if isinstance(value, str):
            return bound
        # The core orders no flags; Python takes them for 0 and 1.
        flags = [flag for flag in (True, False) if isinstance(value, int | float) and holds(flag, value)]
        return Filter.some(bound, Filter.where(field, "in", flags)) if flags else bound

    return test


def _holds(field: str, value: object) -> Filter:
    parts = [Filter.where(field, "contains", twin) for twin in _twins(value)]
    if isinstance(value, str) and value:
        # Of an object, Python asks for its keys.
        parts.append(Filter.where(f"{field}.{_field(value).removeprefix('metadata.')}", "exists"))
    return parts[0] if len(parts) == 1 else Filter.some(*parts)


def _every(field: str, values: object) -> Filter:
    parts = _listed(field, values)
    # Of nothing, all is true where there is something to look into.
    present = Filter.every(Filter.where(field, "exists"), Filter.where(field, "ne", None))
    return Filter.every(*parts) if parts else present


def _listed(field: str, values: object) -> list[Filter]:
    return [_holds(field, value) for value in values] if isinstance(values, list) else []


def _empty(field: str, _: object) -> Filter:
    missing = Filter.where(field, "exists", value=False)
    return Filter.some(missing, Filter.every(Filter.where(field, "is_empty"), Filter.where(field, "ne", {})))


_TESTS: Mapping[FilterOperator, _Test] = {
    FilterOperator.EQ: _equal,
    FilterOperator.NE: lambda field, value: ~_equal(field, value),
    FilterOperator.GT: _ordered("gt", lambda flag, bound: flag > bound),
    FilterOperator.GTE: _ordered("gte", lambda flag, bound: flag >= bound),
    FilterOperator.LT: _ordered("lt", lambda flag, bound: flag < bound),
    FilterOperator.LTE: _ordered("lte", lambda flag, bound: flag <= bound),
    FilterOperator.IN: _in,
    FilterOperator.NIN: lambda field, values: ~_in(field, values),
    FilterOperator.ANY: lambda field, values: Filter.some(*_listed(field, values)),
    FilterOperator.ALL: _every,
    FilterOperator.CONTAINS: _holds,
    FilterOperator.TEXT_MATCH: lambda field, value: Filter.where(field, "text_match", value),
    FilterOperator.TEXT_MATCH_INSENSITIVE: lambda field, value: Filter.where(field, "text_imatch", value),
    FilterOperator.IS_EMPTY: _empty,
}
_LISTS = frozenset({FilterOperator.IN, FilterOperator.NIN, FilterOperator.ANY, FilterOperator.ALL})
_ORDERED = frozenset({FilterOperator.GT, FilterOperator.GTE, FilterOperator.LT, FilterOperator.LTE})
_WORDS = frozenset({FilterOperator.TEXT_MATCH, FilterOperator.TEXT_MATCH_INSENSITIVE})
