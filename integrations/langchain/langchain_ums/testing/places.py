"""Where items are: namespaces, prefixes, wildcards."""

# ruff: noqa: D102  # a test's name is the behaviour

from itertools import chain

import pytest
from langgraph.store.base import ListNamespacesOp, MatchCondition

from .case import Make, StoreCase

__all__ = ["StorePlaces"]

PLACES = [("a",), ("a", "b"), ("a", "b", "v1"), ("a", "c", "v1"), ("ab",), ("ab", "b"), ("z", "y", "x", "v1")]


class StorePlaces(StoreCase):
    """Namespaces."""

    def test_a_prefix_is_matched_label_by_label(self, make: Make) -> None:
        store = make()
        for place in PLACES:
            store.put(place, "k", {"at": list(place)})
        for prefix in [(), *PLACES, ("a", "b", "c"), ("q",)]:
            expected = sorted(place for place in PLACES if place[: len(prefix)] == prefix)
            assert sorted(item.namespace for item in store.search(prefix, limit=99)) == expected
            assert sorted(item.namespace for item in store.search(prefix, query="at", limit=99)) == expected

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({}, sorted(PLACES)),
            ({"prefix": ("a",)}, [("a",), ("a", "b"), ("a", "b", "v1"), ("a", "c", "v1")]),
            ({"suffix": ("v1",)}, [("a", "b", "v1"), ("a", "c", "v1"), ("z", "y", "x", "v1")]),
            ({"prefix": ("a",), "suffix": ("v1",)}, [("a", "b", "v1"), ("a", "c", "v1")]),
            ({"prefix": ("a", "*", "v1")}, [("a", "b", "v1"), ("a", "c", "v1")]),
            ({"prefix": ("*", "b")}, [("a", "b"), ("a", "b", "v1"), ("ab", "b")]),
            ({"suffix": ("*", "v1")}, [("a", "b", "v1"), ("a", "c", "v1"), ("z", "y", "x", "v1")]),
            ({"max_depth": 1}, [("a",), ("ab",), ("z",)]),
            ({"max_depth": 2, "prefix": ("a",)}, [("a",), ("a", "b"), ("a", "c")]),
            ({"suffix": ("v1",), "max_depth": 1}, [("a",), ("z",)]),
            ({"prefix": ("a", "b", "v1", "more")}, []),
        ],
    )
    def test_namespaces_are_listed_by_prefix_suffix_wildcard_and_depth(
        self, make: Make, options: dict[str, object], expected: list[tuple[str, ...]]
    ) -> None:
        store = make()
        for place in PLACES:
            store.put(place, "k", {"v": 1})
        assert store.places(**options) == expected
        paged = [store.places(**options, limit=2, offset=offset) for offset in range(0, 10, 2)]
        assert list(chain.from_iterable(paged)) == expected

    def test_a_namespace_goes_with_its_last_item_and_comes_by_a_put_alone(self, make: Make) -> None:
        store = make()
        store.put(("a", "b"), "k1", {"v": 1})
        store.put(("a", "b"), "k2", {"v": 1})
        assert store.get(("never",), "k") is None
        assert store.search(("nor", "this")) == []
        store.delete(("a", "b"), "k1")
        assert store.places() == [("a", "b")]
        store.delete(("a", "b"), "k2")
        assert store.places() == []

    @pytest.mark.parametrize(
        "label",
        ["a/b", "a@b", "ä", "日本語", " ", "*", "%", "%2E", "%252E", "a%2Eb", "100%", "%2e", "x" * 200, "'; --"],
    )
    def test_any_label_that_langgraph_takes_names_a_place_of_its_own(self, make: Make, label: str) -> None:
        store = make()
        store.put(("n", label), "k", {"v": label})
        store.put(("n", "other"), "k", {"v": "other"})
        item = store.get(("n", label), "k")
        assert item is not None
        assert (item.namespace, item.value) == (("n", label), {"v": label})
        assert store.keys(("n", label)) == ["k"]
        assert ("n", label) in store.places(prefix=("n",))

    def test_two_places_never_share_an_item(self, make: Make) -> None:
        store = make()
        for place in PLACES:
            store.put(place, "k", {"at": list(place)})
        store.delete(("a",), "k")
        assert [item.namespace for item in store.search((), limit=99)] == [place for place in PLACES if place != ("a",)]

    def test_an_unknown_kind_of_match_is_refused(self, make: Make) -> None:
        store = make()
        store.put(("a",), "k", {"v": 1})
        condition = MatchCondition(match_type="middle", path=("a",))  # type: ignore[arg-type]  # wrong on purpose
        with pytest.raises(ValueError, match="middle"):
            store.batch(ListNamespacesOp(match_conditions=(condition,)))
