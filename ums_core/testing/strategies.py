"""What hypothesis makes up: memories and the conditions on them."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from ums_core.records import Filter

__all__ = ["WORDS", "conditions", "fields"]

# None is a stop word, and no two share a stem.
WORDS = ("zebra", "quartz", "violin", "lagoon")

_ROLES = ("user", "assistant", "ü")
_TAGS = ("red", "green", "a/b")
_MOMENTS = tuple(datetime(2025, month, 1, tzinfo=UTC) for month in (1, 6, 12))
_VALUES: tuple[Any, ...] = (None, True, False, 0, 1, 1.0, 0.5, "", "red", "Red", [], ["red"], {"a": 1})


def fields() -> st.SearchStrategy[dict[str, Any]]:
    """Fields of a draft that a condition may look at."""
    return st.fixed_dictionaries(
        {},
        optional={
            "text": st.lists(st.sampled_from(WORDS), max_size=3).map(" ".join),
            "role": st.sampled_from(_ROLES),
            "tags": st.lists(st.sampled_from(_TAGS), max_size=3).map(tuple),
            "metadata": st.dictionaries(st.sampled_from("ab"), st.sampled_from(_VALUES), max_size=2),
            "level": st.integers(0, 3),
            "importance": st.sampled_from((0.0, 0.5, 1.0)),
            "final": st.booleans(),
            "position": st.integers(0, 3),
            "occurred_at": st.sampled_from(_MOMENTS),
        },
    )


def conditions() -> st.SearchStrategy[Filter]:
    """Filters over those fields."""
    leaves = st.one_of(
        _leaf(("role", "text", "metadata.a"), ("eq", "ne", "text_match", "starts_with"), (*_ROLES, *WORDS, "re", "")),
        _leaf(("tags", "metadata.a"), ("contains",), _TAGS),
        _leaf(("tags",), ("any", "all"), ((), _TAGS[:1], _TAGS[1:])),
        _leaf(("level", "position", "importance", "metadata.b"), ("eq", "ne", "gt", "gte", "lt", "lte"), (0, 1, 0.5)),
        _leaf(("metadata.a", "metadata.b", "final"), ("eq", "ne"), _VALUES),
        _leaf(("metadata.a", "level"), ("in", "nin"), (_VALUES, (0, 1), ())),
        _leaf(("occurred_at",), ("eq", "gt", "lte"), _MOMENTS),
        _leaf(("occurred_at", "role", "position", "metadata.a.a"), ("exists",), (True, False)),
    )
    return st.recursive(leaves, lambda parts: st.lists(parts, max_size=3).flatmap(_groups), max_leaves=5)


def _leaf(names: tuple[str, ...], ops: tuple[str, ...], values: tuple[Any, ...]) -> st.SearchStrategy[Filter]:
    return st.builds(Filter.where, st.sampled_from(names), st.sampled_from(ops), st.sampled_from(values))


def _groups(parts: list[Filter]) -> st.SearchStrategy[Filter]:
    groups = (Filter.every, Filter.some, Filter.none, Filter.not_every)
    return st.sampled_from(groups).map(lambda group: group(*parts))
