"""What goes in comes out: values, times, batches."""

# ruff: noqa: D102  # a test's name is the behaviour

from typing import Any

import pytest
from langgraph.store.base import GetOp, InvalidNamespaceError, Op, PutOp, SearchOp

from .case import Clock, Make, StoreCase

__all__ = ["StoreValues"]

NS = ("users", "u1")
VALUES: list[dict[str, Any]] = [
    {},
    {"text": "hello"},
    {"n": 2**62, "x": 1.5, "t": True, "f": False, "none": None, "list": [1, [2, {"a": "b"}]], "deep": {"a": {"b": {}}}},
    {"a.b": 1, "$eq": 2, "": 3, "日本語": "😀", "nul": "a\x00b", "long": "word " * 3000},
]


class StoreValues(StoreCase):
    """Put, get, delete."""

    @pytest.mark.parametrize("value", VALUES, ids=["empty", "text", "json", "odd"])
    def test_a_value_comes_back_as_it_was(self, make: Make, value: dict[str, Any]) -> None:
        store = make()
        store.put(NS, "k", value)
        item = store.get(NS, "k")
        assert item is not None
        assert (item.value, item.key, item.namespace) == (value, "k", NS)
        assert store.get(NS, "other") is None
        assert store.get(("users", "u2"), "k") is None

    @pytest.mark.parametrize("key", ["a/b", "a.b", "%2E", " ", "日本語", "x" * 500, "'; --"])
    def test_any_string_is_a_key(self, make: Make, key: str) -> None:
        store = make()
        store.put(NS, key, {"v": 1})
        item = store.get(NS, key)
        assert item is not None
        assert item.key == key
        assert store.keys(NS) == [key]

    @pytest.mark.parametrize("value", [{"x": object()}, {"x": {1, 2}}, {"x": float("nan")}, {"x": b"bytes"}])
    def test_what_json_cannot_hold_is_refused_and_nothing_of_the_batch_is_stored(
        self, make: Make, value: dict[str, Any]
    ) -> None:
        store = make()
        with pytest.raises((TypeError, ValueError)):
            store.batch(PutOp(NS, "fine", {"v": 1}), PutOp(NS, "broken", value))
        assert store.search(NS) == []

    def test_a_value_is_copied_on_the_way_in_and_out(self, make: Make) -> None:
        store, value = make(), {"list": [1]}
        store.put(NS, "k", value)
        value["list"].append(2)
        first = store.get(NS, "k")
        assert first is not None
        first.value["list"].append(3)
        store.search(NS)[0].value["list"].append(4)
        second = store.get(NS, "k")
        assert second is not None
        assert second.value == {"list": [1]}

    def test_created_at_survives_an_update_and_updated_at_moves(self, make: Make) -> None:
        clock = Clock()
        store = make(clock=clock)
        store.put(NS, "k", {"v": 1})
        start = clock.now
        clock.pass_by(5)
        store.put(NS, "k", {"v": 2})
        item = store.get(NS, "k")
        assert item is not None
        assert (item.value, item.created_at, item.updated_at) == ({"v": 2}, start, clock.now)
        assert store.search(NS)[0].created_at == start
        store.delete(NS, "k")
        store.put(NS, "k", {"v": 3})
        again = store.get(NS, "k")
        assert again is not None
        assert again.created_at == clock.now

    def test_reads_of_a_batch_see_what_was_there_before_its_writes(self, make: Make) -> None:
        store = make()
        store.put(NS, "k", {"v": 1})
        ops: list[Op] = [
            PutOp(NS, "k", {"v": 2}),
            GetOp(NS, "k"),
            SearchOp(NS),
            PutOp(NS, "new", {"v": 3}),
            GetOp(NS, "new"),
        ]
        before = store.batch(*ops)
        assert before[0] is before[3] is before[4] is None
        assert before[1].value == {"v": 1}
        assert [item.value for item in before[2]] == [{"v": 1}]
        assert [item.value for item in store.search(NS)] == [{"v": 2}, {"v": 3}]

    def test_of_several_writes_to_one_key_in_a_batch_the_last_counts(self, make: Make) -> None:
        store = make()
        store.batch(PutOp(NS, "a", {"v": 1}), PutOp(NS, "a", {"v": 2}), PutOp(NS, "b", {"v": 1}), PutOp(NS, "b", None))
        assert [(item.key, item.value) for item in store.search(NS)] == [("a", {"v": 2})]
        store.batch(PutOp(NS, "a", None), PutOp(NS, "a", {"v": 3}))
        assert [(item.key, item.value) for item in store.search(NS)] == [("a", {"v": 3})]

    def test_one_text_twice_in_a_batch_is_two_items(self, make: Make) -> None:
        store = make(["text"])
        store.batch(*(PutOp(NS, key, {"text": "the same words"}) for key in ("a", "b", "c")))
        assert sorted(store.keys(NS, query="the same words")) == ["a", "b", "c"]

    def test_deleting_what_is_not_there_is_no_error(self, make: Make) -> None:
        store = make()
        store.delete(NS, "nothing")
        store.put(NS, "k", {"v": 1})
        store.delete(NS, "k")
        assert store.get(NS, "k") is None
        assert store.search(NS) == []

    def test_an_empty_batch_answers_nothing(self, make: Make) -> None:
        assert make().batch() == []

    @pytest.mark.parametrize("label", ["", "a.b", "first.last@example.org", "a\x00b", 7])
    def test_a_label_that_langgraph_forbids_is_refused_in_raw_batches_too(self, make: Make, label: Any) -> None:  # noqa: ANN401
        store = make()
        for op in (PutOp((label,), "k", {"v": 1}), GetOp(("a", label), "k"), SearchOp((label,))):
            with pytest.raises(InvalidNamespaceError):
                store.batch(op)
        assert store.places() == []

    def test_an_item_needs_a_namespace(self, make: Make) -> None:
        with pytest.raises(InvalidNamespaceError):
            make().batch(PutOp((), "k", {"v": 1}))

    def test_an_unknown_operation_is_refused(self, make: Make) -> None:
        with pytest.raises((TypeError, ValueError)):
            make().call("batch", ["get"])
