"""What a store does with memories as they grow old."""

# ruff: noqa: D102  # a test's name is the behaviour

from datetime import UTC, datetime, timedelta

import pytest

from ums_core.errors import IdempotencyConflict, InvalidField, InvalidInput, MemoryNotFound
from ums_core.ports import MemoryStore
from ums_core.records import Draft, Patch, Query
from ums_core.testing.store_case import StoreCase, everything, ids_of

__all__ = ["StoreLifecycle"]

OLD = datetime(2020, 1, 1, tzinfo=UTC)


class StoreLifecycle(StoreCase):
    """Reinforce, forget, undo and expand."""

    def faded(self, id_: str, importance: float, **fields: object) -> Draft:
        return Draft(id=id_, importance=importance, embedding=self.vector(id_), **fields)  # type: ignore[arg-type]  # of a draft

    def test_a_use_is_noted_and_nothing_else_changes(self, store: MemoryStore) -> None:
        (a, b) = store.add([self.faded("a", 0.5, created_at=OLD), self.faded("b", 0.5)])
        seq = store.health().seq
        assert store.reinforce(["a", "a", "x"]) == 1
        assert store.reinforce(["a"], namespace=("elsewhere",)) == 0
        (used, untouched) = store.get(["a", "b"])
        assert used is not None
        assert used.last_accessed_at > a.last_accessed_at
        assert (used.accesses, used.updated_at, used.created_at) == (1, a.updated_at, OLD)
        assert untouched == b
        assert store.health().seq == seq

    def test_uses_in_quick_succession_count_once(self, store: MemoryStore) -> None:
        store.add([self.faded("a", 0.5)])
        for _ in range(3):
            store.reinforce(["a"])
        (memory,) = store.get(["a"])
        assert memory is not None
        assert memory.accesses == 1

    def test_the_least_is_forgotten_and_can_be_brought_back(self, store: MemoryStore) -> None:
        store.add([self.faded(f"m{n}", n / 10) for n in range(10)])
        before = everything(store)
        plan = store.forget(retain_fraction=0.7, dry_run=True)
        assert [fading.id for fading in plan.forgotten] == ["m0", "m1", "m2"]
        assert (plan.kept, plan.removed, plan.dry_run, plan.batch) == (7, 0, True, None)
        assert everything(store) == before
        done = store.forget(retain_fraction=0.7)
        assert [(f.id, f.namespace) for f in done.forgotten] == [(f.id, f.namespace) for f in plan.forgotten]
        assert (done.kept, done.removed, done.dry_run) == (7, 3, False)
        assert everything(store) == before[3:]
        assert store.get(["m0"]) == [None]
        assert store.search(self.near("m0", k=20)) != []
        assert "m0" not in ids_of([hit.memory for hit in store.search(self.near("m0", k=20))])
        assert done.batch is not None
        assert store.undo(done.batch) == 3
        assert everything(store) == before
        assert store.search(self.near("m0"))[0].memory == before[0]
        assert store.undo(done.batch) == 0
        assert store.undo("nothing") == 0

    def test_what_is_pinned_or_outside_stays(self, store: MemoryStore) -> None:
        store.add([self.faded("a", 0.0, pinned=True, namespace=("n",)), self.faded("b", 0.1, namespace=("n",))])
        store.add([self.faded("c", 0.0, namespace=("m",)), self.faded("d", 0.2, namespace=("n", "deep"))])
        store.add([self.faded("e", 0.0, namespace=("n",), tags=("kept",))])
        done = store.forget(retain_fraction=0, namespace=("n",), where={"tags": {"$nin": [["kept"]]}})
        assert [fading.id for fading in done.forgotten] == ["b", "d"]
        assert done.kept == 1
        assert sorted(ids_of(everything(store))) == ["a", "c", "e"]

    def test_no_namespace_is_every_namespace(self, store: MemoryStore) -> None:
        store.add([self.faded("a", 0.1), self.faded("b", 0.2, namespace=("n",))])
        plan = store.forget(min_total=0, retain_fraction=0.0, namespace=None, where=None, dry_run=True)
        same = store.forget(retain_fraction=0.0, namespace=(), dry_run=True)
        assert [[fading.id for fading in each.forgotten] for each in (plan, same)] == [["a", "b"]] * 2
        whole = store.consolidate(threshold=0.8, level=0, namespace=None, strategy=None, dry_run=True)
        assert (whole.finals, whole.clusters) == (2, ())

    def test_so_many_stay_at_least(self, store: MemoryStore) -> None:
        store.add([self.faded(f"m{n}", n / 10) for n in range(4)])
        assert store.forget(retain_fraction=0, min_total=9).removed == 0
        assert store.forget(retain_fraction=0, min_total=3).removed == 1
        assert store.forget(retain_fraction=1).batch is None
        assert ids_of(everything(store)) == ["m1", "m2", "m3"]

    def test_forgetting_for_good_leaves_receipts(self, store: MemoryStore) -> None:
        store.add([self.faded("a", 0.1, namespace=("n",)), self.faded("b", 0.2, namespace=("m",))])
        done = store.forget(retain_fraction=0, erase=True)
        assert (done.batch, done.until, done.removed, done.kept) == (None, None, 2, 0)
        assert sorted((receipt.namespace, receipt.ids) for receipt in done.receipts) == [
            (("m",), ("b",)),
            (("n",), ("a",)),
        ]
        assert everything(store) == []

    @pytest.mark.parametrize("wrong", [{"min_total": -1}, {"min_total": True}, {"retain_fraction": 1.1}])
    def test_a_number_out_of_range_is_refused(self, store: MemoryStore, wrong: dict[str, object]) -> None:
        with pytest.raises(InvalidInput):
            store.forget(**wrong)  # type: ignore[arg-type]  # that is the point

    def test_a_correction_takes_the_place_of_what_it_corrects(self, store: MemoryStore) -> None:
        store.add([self.faded("old", 0.5, text="zebra", namespace=("n",))])
        new = store.supersede("old", self.faded("new", 0.5, text="zebra crossing"), namespace=("n",))
        assert (new.id, new.namespace, new.valid_from is None) == ("new", ("n",), False)
        assert store.get(["old", "new"], namespace=("n",)) == [None, new]
        assert ids_of([hit.memory for hit in store.search(Query(text="zebra", mode="keyword"))]) == ["new"]
        hits = store.search(Query(text="zebra", mode="keyword", include_archived=True))
        old = {hit.memory.id: hit.memory for hit in hits}["old"]
        assert (old.archived, old.under, old.valid_to) == ("superseded", "new", new.valid_from)
        assert new.valid_from is not None
        moment = new.valid_from - timedelta(microseconds=1)
        (then,) = store.search(Query(vector=self.vector("old"), as_of=moment, namespace=("n",)))
        assert then.memory == old
        assert then.similarity == pytest.approx(1, abs=1e-3)
        with pytest.raises(MemoryNotFound):
            store.supersede("old", self.faded("newer", 0.5), namespace=("n",))

    def test_a_history_tells_what_was_done_and_by_whom(self, store: MemoryStore) -> None:
        store.add([self.faded("a", 0.1, namespace=("n",))])
        store.update([Patch(id="a", namespace=("n",), changes={"importance": 0.2})])
        done = store.forget(retain_fraction=0, namespace=("n",))
        assert done.batch is not None
        store.undo(done.batch)
        store.add([self.faded("a", 0.3, namespace=("n",))])
        store.delete(["a"], namespace=("n",))
        store.reinforce(["a"], namespace=("n",))
        changes = store.history("a", namespace=("n",))
        assert [change.action for change in changes] == [
            *("added", "updated", "forgotten", "restored", "replaced", "deleted")
        ]
        assert [change.batch for change in changes] == [None, None, done.batch, done.batch, None, None]
        assert all((change.id, change.namespace) == ("a", ("n",)) and change.actor for change in changes)
        assert [change.seq for change in changes] == sorted({change.seq for change in changes})
        # Each begins where the one before ended, and the archive changes nothing of what was said.
        added, updated, forgotten, restored, replaced, deleted = changes
        assert added.before is None
        assert deleted.after is None
        assert [c.before for c in changes[1:]] == [c.after for c in changes[:-1]]
        assert forgotten.after == forgotten.before == restored.after
        assert len({added.after, updated.after, replaced.after}) == 3
        with pytest.raises(MemoryNotFound):
            store.history("b", namespace=("n",))
        with pytest.raises(MemoryNotFound):
            store.history("a")

    def test_a_correction_under_a_key_is_made_once(self, store: MemoryStore) -> None:
        store.add([self.faded("old", 0.5, namespace=("n",)), self.faded("b", 0.5, namespace=("n",))])
        draft = Draft(text="zebra crossing", embedding=self.vector("new"), ttl_s=3600.0)
        new = store.supersede("old", draft, namespace=("n",), idempotency_key="k")
        assert store.supersede("old", draft, namespace=("n",), idempotency_key="k") == new
        assert store.get([new.id], namespace=("n",)) == [new]
        assert store.count() == 2
        with pytest.raises(IdempotencyConflict):
            store.supersede("b", draft, namespace=("n",), idempotency_key="k")
        with pytest.raises(InvalidField):
            store.supersede("b", draft, namespace=("n",), idempotency_key="")
        with pytest.raises(MemoryNotFound):
            store.supersede("x", draft, namespace=("n",), idempotency_key="l")
        assert store.supersede("b", draft, namespace=("n",), idempotency_key="l").id != new.id

    def test_sources_are_read_in_their_order(self, store: MemoryStore) -> None:
        store.add([self.faded("a", 0.5), self.faded("b", 0.5), self.faded("sum", 0.5, source_ids=("b", "x", "a"))])
        assert ids_of(store.expand("sum")) == ["b", "a"]
        assert store.expand("a") == []
        with pytest.raises(MemoryNotFound):
            store.expand("x")
        with pytest.raises(MemoryNotFound):
            store.expand("sum", namespace=("elsewhere",))
