"""How a store keeps the small things of adapters: named collections of keys, each to bytes or a JSON value."""

# ruff: noqa: D102  # a test's name is the behaviour

from typing import TYPE_CHECKING, Any

import pytest

from ums_core.errors import InvalidField, InvalidInput, InvalidMetadata, StoreClosed
from ums_core.ports import MemoryStore
from ums_core.testing.store_case import MakeStore, StoreCase
from ums_core.testing.store_reads import LABELS

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["StoreKeyValue"]

VALUES: dict[str, object] = {
    "bytes": bytes(range(256)),
    "no bytes": b"",
    "text": "zoë\0\U0010ffff",
    "whole": -(2**63),
    "number": 0.1,
    "true": True,
    "one": 1,
    "list": [1, [2, {"a": None}], "b"],
    "object": {"é": {"": [True, None, 1.5]}, "$bytes": "no"},
}
UNUSABLE_LABELS: tuple[Any, ...] = ("", "\0", "\udfff", 5, None)
UNUSABLE_VALUES: tuple[Any, ...] = (object(), {1: 2}, {"a": {1, 2}}, float("nan"), 2**63, "\ud800", [bytearray(1)])


class StoreKeyValue(StoreCase):
    """The verbs whose names begin with ``kv_``."""

    def test_values_are_read_back_with_their_types_also_after_reopen(self, make_store: MakeStore) -> None:
        with make_store() as store:
            store.kv_put("c", VALUES)
            _assert_same(store.kv_get("c", list(VALUES)), list(VALUES.values()))
        with make_store() as store:
            _assert_same(store.kv_get("c", list(VALUES)), list(VALUES.values()))
            _assert_same(store.kv_scan("c"), sorted(VALUES.items()))

    def test_a_tuple_is_read_back_as_a_list(self, store: MemoryStore) -> None:
        store.kv_put("c", {"a": (1, (2,))})
        assert store.kv_get("c", ["a"]) == [[1, [2]]]

    def test_a_missing_key_is_none_wherever_it_stands(self, store: MemoryStore) -> None:
        store.kv_put("c", {"a": 1})
        assert store.kv_get("c", ["x", "a", "y", "a"]) == [None, 1, None, 1]
        assert store.kv_get("c", []) == []
        assert store.kv_get("elsewhere", ["a"]) == [None]

    def test_a_key_that_is_set_again_has_its_last_value(self, store: MemoryStore) -> None:
        store.kv_put("c", {"a": 1, "b": 2})
        store.kv_put("c", {"a": b"3"})
        assert store.kv_scan("c") == [("a", b"3"), ("b", 2)]

    def test_any_label_names_a_collection_and_a_key(self, store: MemoryStore) -> None:
        for place, label in enumerate(LABELS):
            store.kv_put(label, {"place": place})
            store.kv_put("all", {label: place})
        for place, label in enumerate(LABELS):
            assert store.kv_scan(label) == [("place", place)]
        assert store.kv_get("all", LABELS) == list(range(len(LABELS)))
        assert store.kv_delete("all", LABELS[1:]) == len(LABELS) - 1
        assert store.kv_scan("all") == [(LABELS[0], 0)]

    def test_a_scan_is_in_the_order_of_code_points_and_goes_on_where_it_ended(self, store: MemoryStore) -> None:
        keys = sorted({*LABELS, *(f"{n:03}" for n in range(60))})
        store.kv_put("c", dict.fromkeys(keys, 0))
        assert [key for key, _ in store.kv_scan("c")] == keys
        found: list[str] = []
        while page := store.kv_scan("c", after=found[-1] if found else "", limit=7):
            assert len(page) <= 7
            found += [key for key, _ in page]
        assert found == keys

    @pytest.mark.parametrize("prefix", ["", "a", "a/", "b", "\ud7ff", "\U0010ffff", "a\U0010ffff", "%", "_"])
    @pytest.mark.parametrize("descending", [False, True])
    def test_a_scan_by_prefix_goes_either_way(self, store: MemoryStore, prefix: str, *, descending: bool) -> None:
        keys = sorted({*LABELS, "a/1", "a/2", "a\U0010ffff", "\ud7ff", "\ud7ffa", "\U0010ffff\U0010ffff"})
        store.kv_put("c", dict.fromkeys(keys, 0))
        expected = sorted((key for key in keys if key.startswith(prefix)), reverse=descending)
        found: list[str] = []
        while page := store.kv_scan(
            "c", prefix=prefix, after=found[-1] if found else "", limit=3, descending=descending
        ):
            found += [key for key, _ in page]
        assert found == expected

    def test_deleting_counts_what_was_there(self, store: MemoryStore) -> None:
        store.kv_put("c", {"a": 1, "b": 2})
        store.kv_put("d", {"a": 1})
        assert store.kv_delete("c", ["a", "x", "a"]) == 1
        assert store.kv_delete("c", ["a"]) == store.kv_delete("c", []) == 0
        assert (store.kv_scan("c"), store.kv_scan("d")) == ([("b", 2)], [("a", 1)])

    def test_nothing_of_it_is_a_memory(self, store: MemoryStore) -> None:
        store.kv_put("c", {"a": "zebra"})
        assert (store.count(), store.namespaces(), store.scan().memories) == (0, [], [])

    def test_one_bad_item_leaves_nothing_of_its_batch(self, store: MemoryStore) -> None:
        for value in UNUSABLE_VALUES:
            with pytest.raises(InvalidMetadata):
                store.kv_put("c", {"a": 1, "b": value})
        for label in UNUSABLE_LABELS:
            with pytest.raises(InvalidInput):
                store.kv_put("c", {"a": 1, label: 1})
        assert store.kv_scan("c") == []

    def test_what_cannot_be_a_name_is_refused(self, store: MemoryStore) -> None:
        for label in UNUSABLE_LABELS:
            acts: list[Callable[[Any], object]] = [
                lambda name: store.kv_put(name, {"a": 1}),
                lambda name: store.kv_get(name, ["a"]),
                lambda name: store.kv_get("c", [name]),
                lambda name: store.kv_delete(name, ["a"]),
                lambda name: store.kv_delete("c", [name]),
                store.kv_scan,
            ]
            for act in acts:
                with pytest.raises(InvalidInput):
                    act(label)

    def test_what_is_no_collection_of_keys_is_refused(self, store: MemoryStore) -> None:
        unusable: Any = "a"
        for act in (store.kv_get, store.kv_delete, store.kv_put):
            with pytest.raises(InvalidInput):
                act("c", unusable)

    def test_an_unusable_limit_is_refused(self, store: MemoryStore) -> None:
        for limit in (0, -1, 1.5, "3", True, None):
            with pytest.raises(InvalidField):
                store.kv_scan("c", limit=limit)  # type: ignore[arg-type]  # on purpose

    def test_a_closed_store_gives_and_takes_nothing(self, make_store: MakeStore) -> None:
        store = make_store()
        store.kv_put("c", {"a": 1})
        store.close()
        for act in (
            lambda: store.kv_put("c", {"a": 2}),
            lambda: store.kv_get("c", ["a"]),
            lambda: store.kv_delete("c", ["a"]),
            lambda: store.kv_scan("c"),
        ):
            with pytest.raises(StoreClosed):
                act()
        with make_store() as again:
            assert again.kv_scan("c") == [("a", 1)]


def _assert_same(found: list[Any], expected: list[Any]) -> None:
    # True equals 1, and must not become it.
    assert found == expected
    assert repr(found) == repr(expected)
