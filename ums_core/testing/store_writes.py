"""What a store does with what it is told: add, get, update, delete."""

# ruff: noqa: D102  # a test's name is the behaviour

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from ums_core.errors import DimensionMismatch, InvalidField, MemoryNotFound
from ums_core.ports import MemoryStore
from ums_core.records import Draft, Memory, Passage, Patch, Query
from ums_core.testing.samples import UNRELATED, assert_found
from ums_core.testing.store_case import MakeStore, StoreCase, everything, ids_of

__all__ = ["StoreWrites"]

FULL: dict[str, Any] = {
    "text": "Zoë said: “naïve café”, \0 and 😀\n\ttwice",
    "namespace": ("users", "zoë@example.org"),
    "role": "assistant",
    "tags": ("a b", "c/d", "é"),
    "metadata": {"n": 2**63 - 1, "x": 0.1, "deep": [{"a.b": None}, [True, ""]], "é'\"": "\0"},
    "level": 3,
    "importance": 0.25,
    "emotional_intensity": 1.0,
    "valence": -1.0,
    "created_at": datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    "expires_at": datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    "source_ids": ("one", "two"),
    "final": True,
    "speaker": "Zoë",
    "session": "s-1",
    "position": 0,
    "occurred_at": datetime(1, 1, 1, tzinfo=UTC),
    "pinned": True,
    "ttl_s": 0.125,
    "valid_from": datetime(2000, 1, 1, tzinfo=UTC),
    "caption": "a lighthouse\non a cliff",
}
SPOKEN: dict[str, Any] = {
    "speaker": "Wilhelmina",
    "session": "kitchen",
    "position": 1,
    "occurred_at": datetime(2025, 6, 1, tzinfo=UTC),
}


class StoreWrites(StoreCase):
    """Add, get, update and delete."""

    def test_memories_come_back_in_the_order_of_the_drafts(self, store: MemoryStore) -> None:
        drafts = [self.draft(id_) for id_ in ("c", "a", "b")]
        assert ids_of(store.add(drafts)) == ["c", "a", "b"]

    def test_ids_are_looked_up_in_their_order_and_a_missing_one_is_none(self, store: MemoryStore) -> None:
        a, b = store.add([self.draft("a"), self.draft("b")])
        assert store.get(["b", "x", "a", "b"]) == [b, None, a, b]
        assert store.get([]) == []

    def test_every_field_is_read_back_as_it_was_written(self, store: MemoryStore) -> None:
        (added,) = store.add([Draft(**FULL, id="id", embedding=self.vector("v"))])
        (read,) = store.get(["id"], namespace=FULL["namespace"])
        assert read == added
        assert {name: getattr(read, name) for name in FULL} == FULL
        assert store.search(Query(vector=self.vector("v")))[0].memory == added

    def test_a_moment_of_another_zone_is_the_same_moment(self, store: MemoryStore) -> None:
        moment = datetime.fromisoformat("2025-06-01T12:00:00.000001+05:30")
        store.add([Draft(id="a", embedding=self.vector("a"), occurred_at=moment)])
        (memory,) = store.get(["a"])
        assert memory is not None
        assert memory.occurred_at == moment

    def test_made_up_ids_are_distinct(self, store: MemoryStore) -> None:
        memories = store.add([Draft(embedding=self.vector(number)) for number in range(50)])
        assert len(set(ids_of(memories))) == 50
        assert store.get(ids_of(memories)) == memories

    def test_an_empty_batch_changes_nothing(self, store: MemoryStore) -> None:
        store.add([self.draft("a")])
        seq = store.health().seq
        assert store.add([]) == []
        assert store.update([]) == []
        assert store.delete([]) == 0
        assert store.health().seq == seq

    def test_one_id_in_two_namespaces_is_two_memories(self, store: MemoryStore) -> None:
        store.add([self.draft("a", namespace=("n",), text="one"), self.draft("a", namespace=("m",), text="two")])
        assert [_text(store, "a", ("n",)), _text(store, "a", ("m",))] == ["one", "two"]
        assert store.get(["a"]) == [None]
        store.delete(["a"], namespace=("n",))
        assert _text(store, "a", ("m",)) == "two"

    def test_a_replaced_memory_keeps_created_at_and_moves_updated_at(self, store: MemoryStore) -> None:
        (first,) = store.add([self.draft("a", text="one")])
        (second,) = store.add([self.draft("a", text="two")])
        assert second.created_at == first.created_at
        assert second.updated_at > first.updated_at
        assert store.get(["a"]) == [second]

    def test_a_replaced_memory_is_found_by_its_new_vector_alone(self, store: MemoryStore) -> None:
        store.add([self.draft("a"), self.draft("b")])
        store.add([Draft(id="a", embedding=self.vector("new"))])
        assert store.count() == 2
        assert_found(store.search(self.near("new")), "a")
        assert all((hit.similarity or 0) < 0.9 for hit in store.search(self.near("a", k=5)))

    @pytest.mark.parametrize("key", [None, "key"], ids=["plain", "with a key"])
    def test_the_last_of_duplicates_in_one_batch_wins(self, store: MemoryStore, key: str | None) -> None:
        drafts = [self.draft("a", text="first"), self.draft("b", text="other"), self.draft("a", text="last")]
        answer = store.add(drafts, idempotency_key=key)
        assert [memory.text for memory in answer] == ["last", "other", "last"]
        assert sorted(ids_of(everything(store))) == ["a", "b"]
        assert _text(store, "a") == "last"
        assert len(store.search(Query(text="first", mode="keyword"))) == 0

    def test_one_bad_draft_leaves_nothing_of_its_batch(self, store: MemoryStore) -> None:
        store.add([self.draft("old", text="old")])
        before = everything(store), store.health().seq
        drafts = [self.draft("old", text="new"), Draft(embedding=[1.0] * (self.dim + 1)), self.draft("b")]
        with pytest.raises(DimensionMismatch):
            store.add(drafts)
        assert (everything(store), store.health().seq) == before
        assert ids_of([hit.memory for hit in store.search(self.near("b", k=5))]) == ["old"]

    def test_one_missing_memory_leaves_nothing_of_an_update(self, store: MemoryStore) -> None:
        store.add([self.draft("a", text="one"), self.draft("b", text="two")])
        before = everything(store), store.health().seq
        patches = [Patch(id=id_, changes={"text": "changed"}) for id_ in ("a", "missing", "b")]
        with pytest.raises(MemoryNotFound):
            store.update(patches)
        assert (everything(store), store.health().seq) == before

    def test_one_bad_patch_leaves_nothing_of_an_update(self, store: MemoryStore) -> None:
        store.add([self.draft("a", text="one"), self.draft("b", text="two")])
        before = everything(store), store.health().seq
        with pytest.raises(InvalidField):
            store.update([Patch(id="a", changes={"level": 1}), Patch(id="b", changes={"level": -1})])
        assert (everything(store), store.health().seq) == before

    def test_one_bad_id_leaves_nothing_of_a_delete(self, store: MemoryStore) -> None:
        store.add([self.draft("a"), self.draft("b")])
        with pytest.raises(InvalidField):
            store.delete(["a", "", "b"])
        assert store.count() == 2

    def test_vectors_come_only_when_they_are_asked_for(self, store: MemoryStore) -> None:
        store.add([Draft(id="a", embedding=5 * self.vector("a"))])
        assert _vectors(store, "a", vectors=False) == [None]
        (vector,) = _vectors(store, "a")
        assert np.allclose(vector, self.vector("a"), atol=1e-6)

    @pytest.mark.parametrize("length", [1e-9, 0.1, 7, 1e18, 1e30])
    def test_a_vector_of_any_length_stands_for_its_direction(self, store: MemoryStore, length: float) -> None:
        store.add([Draft(id="a", embedding=[float(x) * length for x in self.vector("a")]), self.draft("b")])
        assert_found(store.search(Query(vector=[float(x) * length for x in self.vector("a")])), "a")

    def test_a_long_text_is_found_by_what_stands_at_its_end(self, store: MemoryStore) -> None:
        filler = " ".join(f"word{number}" for number in range(3000))
        store.add([Draft(id="long", text=f"{filler}. {UNRELATED[0]}"), Draft(id="short", text=UNRELATED[1])])
        (memory,) = store.get(["long"])
        assert memory is not None
        words = [passage.of(memory.text) for passage in memory.passages]
        assert len(words) > 1
        assert "zebra" in words[-1]
        hits = store.search(Query(text=words[-1], mode="vector", k=1))
        assert_found(hits, "long")
        assert hits[0].passage == len(words) - 1

    def test_a_changed_text_is_found_by_its_new_words_and_not_by_its_old(self, store: MemoryStore) -> None:
        old, new = UNRELATED
        store.add([Draft(id="a", text=old), Draft(id="other", text="a third sentence about something else")])
        (updated,) = store.update([Patch(id="a", changes={"text": new})])
        assert updated.text == new
        assert ids_of([hit.memory for hit in store.search(Query(text="invoices", mode="keyword"))]) == ["a"]
        assert store.search(Query(text="zebra savanna", mode="keyword")) == []
        assert_found(store.search(Query(text=new, mode="vector")), "a")
        assert all((hit.similarity or 0) < 0.9 for hit in store.search(Query(text=old, mode="vector")))

    def test_a_changed_metadata_keeps_text_and_vectors(self, store: MemoryStore) -> None:
        store.add([Draft(id="a", text="one two", embedding=self.vector("a"), metadata={"n": 1})])
        (updated,) = store.update([Patch(id="a", changes={"metadata": {"n": 2}, "tags": ["t"]})])
        assert (updated.metadata, updated.tags, updated.text) == ({"n": 2}, ("t",), "one two")
        (vector,) = _vectors(store, "a")
        assert np.allclose(vector, self.vector("a"), atol=1e-6)
        assert store.search(self.near("a"))[0].memory == updated
        assert store.search(Query(text="two", mode="keyword"))[0].memory == updated

    def test_a_changed_vector_is_the_one_that_is_found(self, store: MemoryStore) -> None:
        store.add([self.draft("a", text="same words"), self.draft("b")])
        (updated,) = store.update([Patch(id="a", changes={"embedding": self.vector("new")})])
        assert updated.text == "same words"
        assert_found(store.search(self.near("new")), "a")

    def test_patches_of_one_memory_apply_one_after_the_other(self, store: MemoryStore) -> None:
        store.add([self.draft("a", text="one")])
        answer = store.update([Patch(id="a", changes={"level": 1}), Patch(id="a", changes={"tags": ["t"]})])
        assert [(memory.level, memory.tags) for memory in answer] == [(1, ("t",))] * 2
        assert store.get(["a"]) == [answer[-1]]

    def test_an_update_keeps_created_at_and_moves_updated_at(self, store: MemoryStore) -> None:
        (first,) = store.add([self.draft("a")])
        (second,) = store.update([Patch(id="a", changes={"level": 1})])
        assert second.created_at == first.created_at
        assert second.updated_at > first.updated_at

    def test_an_update_of_a_memory_of_another_namespace_finds_nothing(self, store: MemoryStore) -> None:
        store.add([self.draft("a", namespace=("u1",))])
        for namespace in ((), ("u2",), ("u1", "x")):
            with pytest.raises(MemoryNotFound, match="a"):
                store.update([Patch(id="a", namespace=namespace, changes={"level": 1})])

    def test_delete_counts_what_was_there_and_ignores_the_rest(self, store: MemoryStore) -> None:
        store.add([self.draft("a"), self.draft("b"), self.draft("c", namespace=("n",))])
        assert store.delete(["a", "unknown", "a", "c"]) == 1
        assert store.delete(["a"]) == 0
        assert ids_of(everything(store)) == ["b", "c"]

    def test_a_deleted_memory_is_found_in_no_way_even_after_reopen(self, make_store: MakeStore) -> None:
        with make_store() as store:
            store.add([self.draft("a", text="zebra"), self.draft("b", text="quartz")])
            store.delete(["a"])
            _assert_gone(store, self.near("a", k=5))
        with make_store() as store:
            _assert_gone(store, self.near("a", k=5))

    @pytest.mark.parametrize("fields", [SPOKEN, {"passages": "two"}, SPOKEN | {"passages": "two"}], ids=str)
    def test_all_words_about_a_deleted_memory_are_gone(self, store: MemoryStore, fields: dict[str, Any]) -> None:
        passages = tuple(Passage(text=f"piece {n}", vector=self.vector(n)) for n in range(2))
        given: dict[str, Any] = {"passages": passages} if "passages" in fields else {"embedding": self.vector(0)}
        draft = Draft(id="a", text="zebra", **{name: fields[name] for name in set(fields) & set(SPOKEN)}, **given)
        store.add([draft, self.draft("b", text="quartz")])
        store.update([Patch(id="a", changes={"speaker": None})])
        assert store.search(Query(text="Wilhelmina", mode="keyword")) == []
        assert store.delete(["a"]) == 1
        assert store.search(Query(text="zebra Wilhelmina kitchen June 2025", mode="keyword")) == []
        assert ids_of([hit.memory for hit in store.search(Query(vector=self.vector(1)))]) == ["b"]

    def test_what_a_picture_shows_is_found_until_it_changes_or_goes(self, store: MemoryStore) -> None:
        def found(words: str) -> list[str]:
            return ids_of([hit.memory for hit in store.search(Query(text=words, mode="keyword"))])

        shown = {"a": ("look", "a red kayak"), "b": ("look", "a heron"), "c": ("", "a grey windmill")}
        store.add([replace(self.draft(id_, text=text), caption=caption) for id_, (text, caption) in shown.items()])
        assert (found("kayak"), found("the windmills"), len(found("look"))) == (["a"], ["c"], 2)
        assert ids_of(store.scan(filter={"caption": {"$contains": "red"}}).memories) == ["a"]
        store.update([Patch(id="a", changes={"caption": "a green canoe"}), Patch(id="c", changes={"caption": None})])
        assert (found("kayak"), found("canoe"), found("windmill")) == ([], ["a"], [])
        assert store.delete(["a", "b"]) == 2
        assert found("look canoe heron") == []

    def test_a_deleted_identity_can_be_stored_anew(self, store: MemoryStore) -> None:
        (first,) = store.add([self.draft("a", text="one")])
        store.delete(["a"])
        (second,) = store.add([self.draft("a", text="two")])
        assert second.created_at > first.created_at
        assert store.search(self.near("a", k=5))[0].memory == second
        assert store.count() == 1

    def test_all_is_as_it_was_after_reopen(self, make_store: MakeStore) -> None:
        with make_store() as store:
            store.add([self.draft(f"m{n}", namespace=("n", str(n % 3)), text=f"zebra {n}") for n in range(30)])
            store.update([Patch(id="m3", namespace=("n", "0"), changes={"level": 2})])
            store.delete(["m6"], namespace=("n", "0"))
            before = _answers(store, self.near("m9", k=40))
        with make_store() as store:
            assert _answers(store, self.near("m9", k=40)) == before

    def test_a_memory_may_be_stored_a_century_ago(self, store: MemoryStore) -> None:
        long_ago = datetime(1925, 1, 1, tzinfo=UTC) + timedelta(microseconds=1)
        (memory,) = store.add([Draft(id="a", embedding=self.vector("a"), created_at=long_ago)])
        assert memory.created_at == long_ago
        assert store.get(["a"]) == [memory]


def _text(store: MemoryStore, id_: str, namespace: tuple[str, ...] = ()) -> str | None:
    (memory,) = store.get([id_], namespace=namespace)
    return None if memory is None else memory.text


def _vectors(store: MemoryStore, id_: str, *, vectors: bool = True) -> list[Any]:
    (memory,) = store.get([id_], vectors=vectors)
    assert memory is not None
    return [passage.vector for passage in memory.passages]


def _assert_gone(store: MemoryStore, near: Query) -> None:
    assert store.get(["a"]) == [None]
    assert ids_of(everything(store)) == ["b"]
    assert store.count() == 1
    assert ids_of([hit.memory for hit in store.search(near)]) == ["b"]
    assert store.search(Query(text="zebra", mode="keyword")) == []


def _answers(store: MemoryStore, near: Query) -> tuple[list[Memory], list[tuple[str, float]], list[tuple[str, ...]]]:
    hits = [(hit.memory.id, round(hit.score, 5)) for hit in store.search(near)]
    words = store.search(Query(text="zebra quartz", vector=near.vector, k=40))
    return everything(store), hits + [(hit.memory.id, round(hit.score, 5)) for hit in words], store.namespaces()
