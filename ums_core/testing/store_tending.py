"""How a store merges what is alike, and does not add what it knows."""

# ruff: noqa: D102  # a test's name is the behaviour

import numpy as np
import pytest

from ums_core.errors import InvalidField, InvalidInput, InvalidQuery, StoreClosed
from ums_core.ports import MemoryStore
from ums_core.records import Draft, Namespace
from ums_core.records.maintenance import STEPS
from ums_core.testing.store_case import MakeStore, StoreCase, everything, ids_of

__all__ = ["StoreTending"]


class StoreTending(StoreCase):
    """``consolidate``, ``maintain`` and ``add_distinct``."""

    def alike(self, topic: str, number: int, namespace: Namespace = ()) -> Draft:
        """One of several drafts whose vectors lie near the one of their topic."""
        vector = self.vector(topic) + 0.05 * self.vector(f"{topic} {number}")
        text = f"{topic} was seen at {number} o'clock."
        return Draft(id=f"{topic}{number}", namespace=namespace, text=text, embedding=vector.astype(np.float32))

    def two_topics(self, namespace: Namespace = ()) -> list[Draft]:
        return [self.alike(topic, number, namespace) for number in range(3) for topic in ("heron", "tram")]

    def test_what_is_alike_becomes_a_summary_that_expands_to_its_sources(self, make_store: MakeStore) -> None:
        with make_store() as store:
            sources = store.add([*self.two_topics(), self.draft("other", text="nothing like it")])
            plan = store.consolidate(dry_run=True)
            assert (plan.dry_run, plan.batch, plan.merged, plan.finals) == (True, None, 0, 1)
            assert everything(store) == sources
            done = store.consolidate(threshold=0.8)
            assert [cluster.ids for cluster in done.clusters] == [cluster.ids for cluster in plan.clusters]
            assert (done.merged, done.failed, done.complete) == (6, 0, True)
        with make_store() as store:
            live = everything(store)
            assert [memory.level for memory in live] == [0, 1, 1]
            assert all(memory.final for memory in live)
            for cluster in done.clusters:
                (summary,) = store.get([cluster.summary_id or ""])
                assert summary is not None
                assert (summary.text, summary.source_ids) == (cluster.text, cluster.ids)
                assert {word in summary.text for word in ("heron", "tram")} == {True, False}
                told = store.expand(summary.id)
                assert ids_of(told) == list(cluster.ids)
                assert {(memory.archived, memory.under) for memory in told} == {("consolidated", summary.id)}
            again = store.consolidate()
            assert (again.clusters, again.merged, again.finals) == ((), 0, 0)

    def test_a_summary_is_found_and_its_sources_are_not(self, store: MemoryStore) -> None:
        store.add(self.two_topics())
        store.consolidate()
        hits = store.search(self.near("heron", k=10))
        assert [hit.memory.level for hit in hits] == [1, 1]
        assert "heron" in hits[0].memory.text

    def test_namespaces_are_consolidated_each_by_itself(self, store: MemoryStore) -> None:
        for namespace in (("a",), ("a", "b"), ("c",)):
            store.add(self.two_topics(namespace))
        done = store.consolidate(namespace=("a",))
        assert sorted({cluster.namespace for cluster in done.clusters}) == [("a",), ("a", "b")]
        assert store.count(namespace=("c",)) == 6
        assert store.count(namespace=("a",), filter={"level": 1}) == 4

    def test_what_cannot_be_consolidated_by_is_refused(self, store: MemoryStore) -> None:
        for threshold in (0, 1.01, float("nan"), True, "0.8"):
            with pytest.raises(InvalidQuery):
                store.consolidate(threshold=threshold)  # type: ignore[arg-type]  # that is the point
        with pytest.raises(InvalidField):
            store.consolidate(level=-1)
        with pytest.raises(InvalidInput):
            store.consolidate(strategy="by magic")

    def test_what_is_due_is_done_and_said_before(self, store: MemoryStore) -> None:
        store.add(self.two_topics())
        plan = store.maintain(dry_run=True)
        assert plan.steps == STEPS
        assert plan.consolidation is not None
        assert len(plan.consolidation.clusters) == 2
        assert store.count() == 6
        done = store.maintain(steps=["purge", "consolidate"])
        assert (done.steps, done.complete, done.forgetting) == (("consolidate", "purge"), True, ())
        assert done.consolidation is not None
        assert done.consolidation.merged == 6
        with pytest.raises(InvalidField):
            store.maintain(steps=["tidy"])  # type: ignore[list-item]  # that is the point

    def test_what_is_known_is_not_added_again(self, store: MemoryStore) -> None:
        first = store.add_distinct(
            [self.draft("a", text="The gate is  green"), self.draft("b", text="the GATE is green")]
        )
        assert (first.stored, ids_of(first.memories)) == (1, ["a", "a"])
        (known,) = first.duplicates
        assert (known.draft, known.id, known.similarity, known.exact) == (1, "a", 1.0, True)
        again = store.add_distinct([self.alike("heron", 1), self.alike("heron", 2), self.draft("c", text="A new one")])
        assert (again.stored, ids_of(again.memories)) == (2, ["heron1", "heron1", "c"])
        assert [(each.draft, each.id, each.exact) for each in again.duplicates] == [(1, "heron1", False)]
        assert again.duplicates[0].similarity >= 0.95
        assert store.count() == 3

    def test_a_duplicate_is_merged_or_kept_where_the_caller_says_so(self, store: MemoryStore) -> None:
        store.add([Draft(id="a", text="The gate is green", embedding=self.vector("a"), tags=("x",), importance=0.3)])
        said = Draft(id="b", text="the gate is green", embedding=self.vector("b"), tags=("y",), importance=0.9)
        merged = store.add_distinct([said], duplicates="merge")
        assert merged.stored == 0
        assert (merged.memories[0].id, merged.memories[0].tags, merged.memories[0].importance) == ("a", ("x", "y"), 0.9)
        kept = store.add_distinct([said], duplicates="keep")
        assert (kept.stored, kept.memories[0].id, len(kept.duplicates)) == (1, "b", 1)
        assert store.count() == 2

    def test_duplicates_are_looked_for_in_one_namespace_and_level(self, store: MemoryStore) -> None:
        store.add(
            [self.draft("a", namespace=("n",), text="green"), self.draft("a", namespace=("n", "m"), text="green")]
        )
        told = store.add_distinct(
            [self.draft("b", text="green"), self.draft("c", namespace=("n",), text="green", level=1)]
        )
        assert (told.stored, told.duplicates) == (2, ())

    def test_a_draft_is_no_duplicate_of_what_it_replaces(self, store: MemoryStore) -> None:
        store.add([self.draft("a", text="green")])
        told = store.add_distinct([self.draft("a", text="green")])
        assert (told.stored, told.duplicates) == (1, ())

    def test_what_cannot_be_told_apart_by_is_refused(self, store: MemoryStore) -> None:
        assert store.add_distinct([]).memories == ()
        with pytest.raises(InvalidField):
            store.add_distinct([self.draft("a")], duplicates="drop")  # type: ignore[arg-type]  # that is the point
        with pytest.raises(InvalidQuery):
            store.add_distinct([self.draft("a")], similarity=0)

    def test_a_closed_store_tends_nothing(self, make_store: MakeStore) -> None:
        with make_store() as store:
            pass
        with pytest.raises(StoreClosed):
            store.consolidate()
        with pytest.raises(StoreClosed):
            store.maintain()
        with pytest.raises(StoreClosed):
            store.add_distinct([self.draft("a")])
