"""What is found: by question, by filter, page by page."""

# ruff: noqa: D102  # a test's name is the behaviour

from itertools import chain
from typing import Any

import pytest
from langgraph.store.base import PutOp

from .case import Make, StoreCase

__all__ = ["StoreFinding"]

NS = ("docs",)
ITEMS: dict[str, dict[str, Any]] = {
    "one": {"n": 1, "s": "b", "flag": True, "m": {"a": 1, "b": {"c": "deep"}}, "tags": ["x", "y"]},
    "two": {"n": 2.5, "s": "a", "flag": 1, "m": {"a": 2}, "none": None},
    "text": {"n": "2", "s": "c", "flag": "yes", "m": "flat"},
    "bare": {},
}
FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({}, {"one", "two", "text", "bare"}),
    ({"n": 1}, {"one"}),
    ({"n": 1.0}, {"one"}),
    ({"n": {"$eq": 2.5}}, {"two"}),
    ({"n": {"$ne": 1}}, {"two", "text", "bare"}),
    ({"gone": {"$ne": 1}}, {"one", "two", "text", "bare"}),
    ({"n": {"$gt": 0}}, {"one", "two"}),
    ({"n": {"$gt": 1, "$lte": 2.5}}, {"two"}),
    ({"n": {"$gte": "1"}}, {"text"}),
    ({"gone": {"$gt": 1}}, set()),
    ({"gone": {"$lt": 1}}, set()),
    ({"s": {"$lt": "b"}}, {"two"}),
    ({"flag": True}, {"one"}),
    ({"flag": 1}, {"two"}),
    ({"m": {"a": 1}}, {"one"}),
    ({"m": {"a": {"$gte": 1}}}, {"one", "two"}),
    ({"m": {"b": {"c": "deep"}}}, {"one"}),
    ({"m.a": 2}, {"two"}),
    ({"m.b.c": {"$ne": "deep"}}, {"two", "text", "bare"}),
    ({"m": "flat"}, {"text"}),
    ({"tags": ["x", "y"]}, {"one"}),
    ({"none": None}, {"two"}),
    ({"n": 1, "s": "a"}, set()),
    ({"n": {"$gt": [1]}}, set()),
]


class StoreFinding(StoreCase):
    """Search."""

    @pytest.mark.parametrize(("condition", "expected"), FILTERS, ids=[str(condition) for condition, _ in FILTERS])
    def test_a_filter_finds_what_it_says_and_never_stumbles_over_data(
        self, make: Make, condition: dict[str, Any], expected: set[str]
    ) -> None:
        store = make()
        store.batch(*(PutOp(NS, key, value) for key, value in ITEMS.items()))
        assert set(store.keys(NS, filter=condition)) == expected
        assert set(store.keys(NS, filter=condition, query="anything at all", limit=50)) == expected

    @pytest.mark.parametrize("condition", [{"n": {"$in": [1]}}, {"n": {"$gt": 0, "x": 1}}, {"m": {"a": {"$like": 1}}}])
    def test_an_unknown_operator_is_refused_also_where_nothing_is_stored(
        self, make: Make, condition: dict[str, Any]
    ) -> None:
        with pytest.raises(ValueError, match=r"(?i)operator"):
            make().search(NS, filter=condition)

    def test_the_pages_of_a_listing_add_up_in_the_order_of_first_storing(self, make: Make) -> None:
        store, names = make(), [f"{number * 7 % 23:02}" for number in range(23)]
        for name in names:
            store.put(NS, name, {"v": name})
        store.put(NS, names[3], {"v": "again"})
        pages = [store.keys(NS, limit=5, offset=offset) for offset in range(0, 30, 5)]
        assert [len(page) for page in pages] == [5, 5, 5, 5, 3, 0]
        assert list(chain.from_iterable(pages)) == names == store.keys(NS, limit=100)
        assert store.keys(NS, limit=0) == []

    def test_the_pages_of_a_question_add_up_to_the_whole_answer(self, make: Make) -> None:
        store = make(["text"])
        store.batch(*(PutOp(NS, f"{n:02}", {"text": f"word{n} apple", "even": n % 2 == 0}) for n in range(40)))
        whole = store.keys(NS, query="apple word7", limit=40)
        pages = [store.keys(NS, query="apple word7", limit=5, offset=offset) for offset in range(0, 45, 5)]
        assert list(chain.from_iterable(pages)) == whole
        assert len(set(whole)) == 40
        assert whole[0] == "07"
        even = [store.keys(NS, query="apple", filter={"even": True}, limit=7, offset=o) for o in range(0, 28, 7)]
        assert [len(page) for page in even] == [7, 7, 6, 0]
        assert store.keys(NS, query="apple", limit=0) == []

    def test_the_best_answer_comes_first_with_its_score(self, make: Make) -> None:
        store = make(["text"])
        store.put(NS, "tea", {"text": "green tea from Japan"})
        store.put(NS, "car", {"text": "a car with four wheels"})
        found = store.search(NS, query="tea from Japan")
        assert [item.key for item in found] == ["tea", "car"]
        assert found[0].score is not None
        assert found[1].score is not None
        assert found[0].score > found[1].score
        assert all(item.score is None for item in store.search(NS))
        assert all(item.score is None for item in store.search(NS, query=""))

    def test_only_the_fields_of_the_configuration_are_searched(self, make: Make) -> None:
        store = make(["text"])
        store.put(NS, "a", {"text": "zebra", "note": "giraffe"})
        store.put(NS, "b", {"text": "giraffe", "note": "zebra"})
        assert store.keys(NS, query="giraffe") == ["b", "a"]
        assert store.keys(NS, query="zebra") == ["a", "b"]

    def test_an_item_scores_as_its_best_field(self, make: Make) -> None:
        store = make(["title", "parts[*].text", "meta.note"])
        many = {
            "title": "about whales",
            "parts": [{"text": "krill"}, {"text": "deep ocean"}],
            "meta": {"note": "songs"},
        }
        store.put(NS, "many", many)
        store.put(NS, "half", {"title": "deep lake and shallow river"})
        for question in ("about whales", "krill", "deep ocean", "songs"):
            best = store.search(NS, query=question)[0]
            assert best.key == "many"
            assert best.score == pytest.approx(1.0, abs=0.05)

    def test_without_fields_the_whole_value_is_searched(self, make: Make) -> None:
        store = make()
        store.put(NS, "a", {"x": {"y": ["kangaroo"]}})
        store.put(NS, "b", {"x": "nothing of it"})
        assert store.keys(NS, query="kangaroo")[0] == "a"

    def test_a_put_can_name_its_own_fields(self, make: Make) -> None:
        store = make(["text"])
        store.put(NS, "a", {"text": "plain", "secret": "walrus"}, index=["secret"])
        store.put(NS, "b", {"text": "walrus and more"})
        assert store.keys(NS, query="walrus") == ["a", "b"]

    @pytest.mark.parametrize("again", ["no index", "no field", "other text", "no fields"])
    def test_a_question_no_longer_finds_what_a_put_has_taken_away(self, make: Make, again: str) -> None:
        store = make(["text"])
        store.put(NS, "a", {"text": "penguin"})
        store.put(NS, "b", {"text": "something else entirely"})
        ways: dict[str, tuple[dict[str, Any], Any]] = {
            "no index": ({"text": "penguin"}, False),
            "no field": ({"other": "penguin"}, None),
            "other text": ({"text": "sparrow"}, None),
            "no fields": ({"text": "penguin"}, []),
        }
        value, index = ways[again]
        store.put(NS, "a", value, index=index)
        scores = {item.key: item.score for item in store.search(NS, query="penguin")}
        assert scores.get("a", 0.0) is None or scores.get("a", 0.0) < 0.5  # type: ignore[operator]  # a number, if not None
        assert sorted(store.keys(NS)) == ["a", "b"]

    def test_what_is_not_indexed_is_listed_but_not_found_by_a_question(self, make: Make) -> None:
        store = make(["text"])
        store.put(NS, "hidden", {"text": "penguin", "kind": "bird"}, index=False)
        store.put(NS, "fieldless", {"kind": "bird"})
        store.put(NS, "shown", {"text": "penguin"})
        assert store.keys(NS, query="penguin") == ["shown"]
        assert store.keys(NS) == ["hidden", "fieldless", "shown"]
        assert store.keys(NS, filter={"kind": "bird"}) == ["hidden", "fieldless"]

    def test_a_deleted_item_is_not_found_by_a_question(self, make: Make) -> None:
        store = make(["text"])
        store.put(NS, "a", {"text": "penguin"})
        store.delete(NS, "a")
        assert store.search(NS, query="penguin") == []
