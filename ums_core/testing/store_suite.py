"""The suite that any :class:`~ums_core.ports.MemoryStore` must pass; it judges by behaviour alone.

::

    class TestMyStore(MemoryStoreSuite):
        @pytest.fixture
        def make_store(self, tmp_path):
            return lambda place="memory": MyStore(tmp_path / place)
"""

# ruff: noqa: D102  # a test's name is the behaviour

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from time import sleep
from typing import TypeVar

import numpy as np
import pytest

from ums_core.errors import IdempotencyConflict, MemoryNotFound, StoreClosed
from ums_core.ports import MemoryStore
from ums_core.records import Draft, Patch, Query
from ums_core.testing.machine import check_against_dict
from ums_core.testing.store_case import Abandon, MakeStore, StoreCase, everything, ids_of
from ums_core.testing.store_kv import StoreKeyValue
from ums_core.testing.store_lifecycle import StoreLifecycle
from ums_core.testing.store_reads import StoreReads
from ums_core.testing.store_refusals import StoreRefusals
from ums_core.testing.store_tending import StoreTending
from ums_core.testing.store_writes import StoreWrites

__all__ = ["Abandon", "MakeStore", "MemoryStoreSuite"]

T = TypeVar("T")
THREADS = 8


class StoreRepeats(StoreCase):
    """Idempotency keys, and many callers at once."""

    def test_a_repeated_add_gives_its_first_answer_and_writes_nothing(self, make_store: MakeStore) -> None:
        drafts = [Draft(text="one zebra"), Draft(id="mine", text="two", metadata={"n": [1]}, tags=("t",))]
        with make_store() as store:
            first = store.add(drafts, idempotency_key="key")
            seq = store.health().seq
            assert store.add(drafts, idempotency_key="key") == first
            assert (store.health().seq, everything(store)) == (seq, first)
        with make_store() as store:
            assert store.add(drafts, idempotency_key="key") == first
            assert (store.health().seq, everything(store)) == (seq, first)

    def test_a_repeated_add_does_not_bring_back_what_was_deleted_since(self, store: MemoryStore) -> None:
        (first,) = store.add([self.draft("a", text="zebra")], idempotency_key="key")
        store.delete(["a"])
        assert store.add([self.draft("a", text="zebra")], idempotency_key="key") == [first]
        assert store.count() == 0

    def test_a_repeated_update_changes_nothing_more(self, make_store: MakeStore) -> None:
        patch = Patch(id="a", changes={"text": "two", "embedding": self.vector("b")})
        with make_store() as store:
            store.add([self.draft("a", text="one")])
            first = store.update([patch], idempotency_key="key")
            seq = store.health().seq
            assert store.update([patch], idempotency_key="key") == first
            assert store.health().seq == seq
        with make_store() as store:
            assert store.update([patch], idempotency_key="key") == first
            assert store.health().seq == seq

    def test_a_repeated_delete_counts_as_it_did(self, make_store: MakeStore) -> None:
        with make_store() as store:
            store.add([self.draft("a"), self.draft("b")])
            assert store.delete(["a", "x"], idempotency_key="key") == 1
            store.add([self.draft("a")])
            assert store.delete(["a", "x"], idempotency_key="key") == 1
        with make_store() as store:
            assert store.delete(["a", "x"], idempotency_key="key") == 1
            assert store.count() == 2

    def test_one_key_is_not_for_two_writes(self, make_store: MakeStore) -> None:
        draft = self.draft("a", text="one")
        with make_store() as store:
            store.add([draft], idempotency_key="key")
        with make_store() as store:
            before = everything(store), store.health().seq
            others: list[Callable[[], object]] = [
                lambda: store.add([self.draft("a", text="two")], idempotency_key="key"),
                lambda: store.add([draft, draft], idempotency_key="key"),
                lambda: store.add([replace(draft, caption="a kayak")], idempotency_key="key"),
                lambda: store.add([self.draft("a", namespace=("n",), text="one")], idempotency_key="key"),
                lambda: store.add([Draft(id="a", text="one", embedding=self.vector("other"))], idempotency_key="key"),
                lambda: store.update([Patch(id="a", changes={"text": "one"})], idempotency_key="key"),
                lambda: store.delete(["a"], idempotency_key="key"),
            ]
            for other in others:
                with pytest.raises(IdempotencyConflict, match="key"):
                    other()
            assert (everything(store), store.health().seq) == before

    def test_updates_that_differ_by_a_vector_alone_are_two_writes(self, store: MemoryStore) -> None:
        store.add([self.draft("a")])
        store.update([Patch(id="a", changes={"embedding": self.vector("b")})], idempotency_key="key")
        nearly = self.vector("b").copy()
        nearly[self.dim // 2] += 1e-3
        with pytest.raises(IdempotencyConflict):
            store.update([Patch(id="a", changes={"embedding": nearly})], idempotency_key="key")

    def test_a_key_of_a_write_that_failed_is_free(self, store: MemoryStore) -> None:
        with pytest.raises(ValueError, match="components"):
            store.add([Draft(embedding=[1.0])], idempotency_key="key")
        (memory,) = store.add([self.draft("a")], idempotency_key="key")
        assert everything(store) == [memory]

    def test_a_key_works_once_however_many_threads_come_with_it(self, store: MemoryStore) -> None:
        added = _at_once(lambda _: store.add([Draft(text="zebra")], idempotency_key="add")[0])
        assert len({memory.id for memory in added}) == store.count() == 1
        id_ = added[0].id
        seq = store.health().seq
        _at_once(lambda _: store.update([Patch(id=id_, changes={"level": 2})], idempotency_key="update"))
        assert store.health().seq == seq + 1
        assert _at_once(lambda _: store.delete([id_], idempotency_key="delete")) == [1] * THREADS
        assert store.health().seq == seq + 2

    def test_of_two_writes_that_race_for_a_key_one_is_refused(self, store: MemoryStore) -> None:
        def write(number: int) -> str:
            try:
                return store.add([self.draft(str(number % 2))], idempotency_key="key")[0].id
            except IdempotencyConflict:
                return "refused"

        answers = _at_once(write)
        (memory,) = everything(store)
        assert sorted(answers) == [memory.id] * (THREADS // 2) + ["refused"] * (THREADS // 2)

    def test_what_many_threads_add_at_once_is_all_found(self, make_store: MakeStore) -> None:
        def work(thread: int) -> None:
            for number in range(20):
                id_ = f"{thread}-{number}"
                store.add([self.draft(id_, namespace=("t", str(thread)), text=f"zebra {id_}")])
                (best,) = store.search(self.near(id_))
                assert best.memory.id == id_
                assert len(store.search(self.near(id_, 100, ("t", str(thread))))) == number + 1

        with make_store() as store:
            store.add([self.draft("first")])
            _at_once(work)
            assert store.count() == 20 * THREADS + 1
        with make_store() as store:
            for thread in range(THREADS):
                expected = [f"{thread}-{number}" for number in range(20)]
                assert ids_of(everything(store, ("t", str(thread)))) == expected
                assert sorted(h.memory.id for h in store.search(self.near("q", 50, ("t", str(thread))))) == sorted(
                    expected
                )

    def test_a_memory_is_found_at_every_moment_while_it_is_updated(self, store: MemoryStore) -> None:
        store.add([self.draft("a", text="zebra"), self.draft("b", text="quartz")])

        def work(thread: int) -> None:
            for number in range(30):
                if thread == 0:
                    store.update([Patch(id="a", changes={"level": number})])
                    continue
                assert len(store.search(self.near("a", 5))) == 2
                assert [hit.memory.id for hit in store.search(self.near("a"))] == ["a"]
                assert len(store.search(Query(text="zebra", mode="keyword"))) == 1
                assert len(store.search(Query(text="zebra", vector=self.vector("a")))) == 2

        _at_once(work)

    def test_a_vector_is_read_at_every_moment_while_its_memory_is_updated(self, store: MemoryStore) -> None:
        store.add([self.draft("a")])

        def work(thread: int) -> None:
            for number in range(30):
                if thread == 0:
                    store.update([Patch(id="a", changes={"level": number})])
                else:
                    (memory,) = store.get(["a"], vectors=True)
                    assert memory is not None
                    assert np.allclose(np.asarray(memory.passages[0].vector), self.vector("a"), atol=1e-6)

        _at_once(work)

    def test_closing_amid_writes_and_searches_ends_them_by_one_error(self, make_store: MakeStore) -> None:
        for round_ in range(5):
            place = f"closed{round_}"
            store = make_store(place)
            store.add([self.draft("first")])
            acknowledged: list[str] = []

            def work(thread: int, store: MemoryStore = store, acknowledged: list[str] = acknowledged) -> None:
                if thread == 0:
                    sleep(0.03)
                    store.close()
                    return

                def act() -> None:
                    if thread % 2:
                        acknowledged.extend(ids_of(store.add([Draft(embedding=self.vector(thread))])))
                    else:
                        store.search(self.near("first"))

                with pytest.raises(StoreClosed):
                    _for_ever(act)

            _at_once(work)
            with make_store(place) as again:
                # A write that the end of the store cut off is there or not, but never twice.
                assert set(acknowledged) <= set(ids_of(everything(again)))
                assert again.count() <= 1 + len(acknowledged) + THREADS // 2
                assert len(again.search(self.near("first", 10_000))) == again.count()

    def test_a_refused_write_takes_no_neighbour_with_it(self, store: MemoryStore) -> None:
        def work(thread: int) -> None:
            for _ in range(10):
                if thread % 2:
                    store.add([Draft(embedding=self.vector(thread))])
                else:
                    with pytest.raises(MemoryNotFound):
                        store.update([Patch(id="unknown")])

        _at_once(work)
        assert store.count() == len(store.search(self.near("q", 100))) == 10 * THREADS / 2

    def test_a_reader_never_sees_half_a_batch(self, store: MemoryStore) -> None:
        def work(thread: int) -> None:
            for number in range(10):
                if thread % 2:
                    store.add([self.draft(f"{thread}-{number}-{n}") for n in range(5)])
                    store.delete([f"{thread}-{number}-{n}" for n in range(5)])
                else:
                    assert len(store.scan(limit=1000).memories) % 5 == 0
                    assert store.count() % 5 == 0

        _at_once(work)
        assert store.count() == 0

    def test_updates_of_one_memory_at_once_lose_none_of_its_fields(self, store: MemoryStore) -> None:
        store.add([self.draft("a", text="zebra")])
        changes: list[dict[str, object]] = [{"level": 3}, {"tags": ["t"]}, {"role": "user"}, {"session": "s"}] * 2
        _at_once(lambda thread: store.update([Patch(id="a", changes=changes[thread])]))
        (memory,) = everything(store)
        assert (memory.level, memory.tags, memory.role, memory.session) == (3, ("t",), "user", "s")


class MemoryStoreSuite(
    StoreWrites, StoreReads, StoreRefusals, StoreRepeats, StoreKeyValue, StoreLifecycle, StoreTending
):
    """All of it; a subclass gives the fixture ``make_store``, and ``abandon`` where a kill can be played."""

    def test_a_store_in_use_is_well(self, store: MemoryStore) -> None:
        assert isinstance(store, MemoryStore)
        before = store.health()
        store.add([self.draft("a", text="zebra"), self.draft("b")])
        store.delete(["b"])
        after = store.health()
        assert (before.status, before.memories) == (after.status, 0) == ("ok", 0)
        assert (after.memories, after.seq) == (1, before.seq + 2)
        assert set(after.index_seq.values()) == {after.seq}
        assert after.driver

    def test_what_was_acknowledged_is_there_however_the_store_was_left(
        self, make_store: MakeStore, abandon: Abandon | None
    ) -> None:
        for round_ in range(3):
            store = make_store()
            store.add([self.draft(f"{round_}-{n}", text=f"zebra {n}") for n in range(20)])
            store.update([Patch(id=f"{round_}-0", changes={"text": "quartz", "embedding": self.vector("q")})])
            store.delete([f"{round_}-1"])
            before = everything(store)
            store.close() if abandon is None else abandon(store)
            with make_store() as again:
                assert everything(again) == before
                assert [hit.memory.id for hit in again.search(self.near(f"{round_}-2"))] == [f"{round_}-2"]
                assert len(again.search(Query(text="quartz", mode="keyword"))) == round_ + 1

    @pytest.mark.property
    def test_any_sequence_of_calls_agrees_with_a_dict(self, make_store: MakeStore, abandon: Abandon | None) -> None:
        check_against_dict(make_store, abandon, dim=self.dim, examples=self.examples)


def _at_once(work: Callable[[int], T]) -> list[T]:
    """What each thread returned for its number, all of them started together."""
    barrier = Barrier(THREADS)

    def run(number: int) -> T:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(run, range(THREADS)))


def _for_ever(act: Callable[[], object]) -> None:
    while True:
        act()
