"""Consolidation: what it merges, what it leaves alone, and what a strategy that fails does to a cluster."""

import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import pytest

from ums_core import Draft, EnhancedMemoryStore, LocalStore, Memory, Passage, Query, UnifiedSettings, open_store
from ums_core.errors import SettingsError
from ums_core.ports.tending import Strategy
from ums_core.settings.database import url_of

START = datetime(2026, 3, 1, tzinfo=UTC)
HERONS = ["The heron is at the pond.", "The heron is at the pond again.", "The heron sits at the pond."]
TRAMS = ["Tram nine was late today.", "Tram nine was late again today.", "Tram nine was very late today."]
OTHER = "My cousin bakes bread."


def opened(path: Path | None = None, **settings: object) -> LocalStore:
    database = {} if path is None else {"database": {"url": url_of(path / "memory.db")}}
    return open_store(UnifiedSettings.for_testing(**database, **settings))


def filled(store: LocalStore, **fields: object) -> list[Memory]:
    texts = [*HERONS, *TRAMS, OTHER]
    return store.add(
        [
            Draft(id=f"{place}", text=text, **fields)  # type: ignore[arg-type]  # checked by Draft
            for place, text in enumerate(texts)
        ]
    )


def everything(store: LocalStore) -> list[Memory]:
    return store.scan(limit=1000).memories


def test_levels_as_callers_give_them_are_not_counted_through() -> None:
    with opened() as store:
        high, top = 2**62, 2**63 - 1
        for level in (0, high, top):
            store.add([Draft(text=text, level=level) for text in HERONS])
        assert len(store.consolidate(threshold=0.5, level=high, dry_run=True).clusters) == 1
        done = store.consolidate(threshold=0.5)
        assert [(cluster.level, cluster.problem) for cluster in done.clusters] == [
            (0, None),
            (high, None),
            (top, "there is no level above it"),
        ]
        assert sorted(memory.level for memory in everything(store)) == [1, high + 1, *[top] * 3]


def test_a_strategy_changes_nothing_of_what_it_is_given() -> None:
    def greedy(memories: Sequence[Memory]) -> str:
        memories.clear()  # type: ignore[attr-defined]  # that is the point
        return "The heron is gone."

    with opened() as store:
        memories = filled(store)
        done = store.consolidate(threshold=0.5, strategy=greedy)
        assert done.failed == 2
        assert all("AttributeError" in (cluster.problem or "") for cluster in done.clusters)
        assert [memory.text for memory in everything(store)] == [memory.text for memory in memories]


def test_a_summary_says_what_its_sources_have_in_common() -> None:
    with opened() as store:
        drafts = [
            Draft(
                text=text,
                speaker="Ada",
                session=f"s{place % 2}",
                tags=("bird", f"t{place}"),
                importance=0.2 * place,
                emotional_intensity=0.3,
                valence=-0.5,
                occurred_at=START - timedelta(days=place),
            )
            for place, text in enumerate(HERONS)
        ]
        store.add(drafts)
        store.consolidate(threshold=0.5)
        (summary,) = everything(store)
        # The last one was said first.
        assert summary.text == " ".join(reversed(HERONS))
        assert (summary.speaker, summary.session, summary.level) == ("Ada", None, 1)
        assert summary.tags == ("bird", "t2", "t1", "t0")
        assert summary.importance == pytest.approx(0.2)
        assert summary.emotional_intensity == pytest.approx(0.3)
        assert summary.valence == pytest.approx(-0.5)
        assert summary.occurred_at == START
        assert summary.metadata == {
            "cluster_size": 3,
            "first_at": (START - timedelta(days=2)).isoformat(),
            "last_at": START.isoformat(),
        }


def test_summaries_are_merged_level_by_level_until_nothing_merges() -> None:
    with opened() as store:
        store.add([Draft(text=f"The heron is at the pond {word}.") for word in ("now", "here", "too", "still") * 20])
        told: list[tuple[int, int]] = []
        done = store.consolidate(threshold=0.6, progress=lambda count, total: told.append((count, total)))
        levels = {cluster.level for cluster in done.clusters}
        assert levels >= {0, 1}
        (top,) = everything(store)
        assert top.level == max(levels) + 1
        assert top.final
        assert told[0][1] == 80
        assert all(count <= total for count, total in told)
        leaves = [top]
        while any(memory.source_ids for memory in leaves):
            leaves = [
                source for memory in leaves for source in (store.expand(memory.id) if memory.source_ids else [memory])
            ]
        assert len(leaves) == 80
        assert store.verify() == []


def test_what_is_pinned_expires_or_has_no_words_stays_as_it_is() -> None:
    with opened() as store:
        filled(store, pinned=True)
        store.add([Draft(text=text, expires_at=datetime.now(UTC) + timedelta(days=1)) for text in HERONS])
        store.add([Draft(metadata={"kind": "empty"})])
        before = everything(store)
        done = store.consolidate(threshold=0.5)
        assert (done.merged, done.finals, done.clusters, done.batch) == (0, 0, (), None)
        assert everything(store) == before


def test_vectors_of_a_caller_without_words_have_nothing_to_summarise() -> None:
    with opened(model={"embedder": "none", "vector_dim": 4}) as store:
        store.add([Draft(id=f"{n}", embedding=[1.0, 0.01 * n, 0, 0]) for n in range(3)])
        (cluster,) = store.consolidate().clusters
        assert cluster.problem == "there is no text to summarise"
        store.add([Draft(id=f"t{n}", text=f"told {n}", embedding=[0, 0, 1.0, 0.01 * n]) for n in range(3)])
        done = store.consolidate()
        assert [cluster.summary_id is None for cluster in done.clusters] == [True, False]
        hits = store.search(Query(vector=[0, 0, 1.0, 0.01], k=1))
        assert hits[0].memory.level == 1
        assert hits[0].similarity == pytest.approx(1.0, abs=1e-3)


def test_a_memory_in_several_passages_counts_as_their_mean() -> None:
    with opened(model={"embedder": "none", "vector_dim": 4}) as store:
        halves = (Passage(vector=[1.0, 0, 0, 0]), Passage(vector=[0, 1.0, 0, 0]))
        store.add([Draft(id="a", text="both", passages=halves), Draft(id="b", text="one", embedding=[1.0, 1.0, 0, 0])])
        (cluster,) = store.consolidate(threshold=0.99).clusters
        assert cluster.ids == ("a", "b")


@pytest.mark.parametrize("vector_type", ["float16", "int8"])
def test_vectors_stored_in_less_room_are_consolidated_alike(vector_type: str) -> None:
    with opened(database={"vector_type": vector_type}) as store:
        filled(store)
        assert store.consolidate(threshold=0.5).merged == 6
        assert store.verify() == []


# Strategies


@pytest.mark.parametrize("strategy", ["concat", "extractive"])
def test_the_strategy_is_named_by_the_settings_or_the_call(strategy: str) -> None:
    with opened(summary_strategy=strategy) as store, opened() as other:
        filled(store)
        filled(other)
        by_settings = store.consolidate(threshold=0.5).clusters
        by_call = other.consolidate(threshold=0.5, strategy=strategy).clusters
        assert [cluster.text for cluster in by_settings] == [cluster.text for cluster in by_call]
        with pytest.raises(SettingsError, match="a strategy is one of"):
            other.consolidate(strategy="by magic")


def lying(memories: Sequence[Memory]) -> str:
    raise RuntimeError(f"no model for {len(memories)}")


@pytest.mark.parametrize("strategy", [lying, lambda _: "", lambda _: None, lambda _: "long " * 5000])
def test_a_strategy_that_fails_leaves_every_cluster_as_it_was(strategy: Strategy) -> None:
    with opened() as store:
        before = filled(store)
        done = store.consolidate(threshold=0.5, strategy=strategy)
        assert (done.failed, done.merged, done.batch) == (2, 0, None)
        assert all(cluster.problem and cluster.summary_id is None for cluster in done.clusters)
        assert [memory.id for memory in everything(store)] == [memory.id for memory in before]
        # What was alone is final all the same, and a later run takes up what was left.
        assert [memory.id for memory in everything(store) if memory.final] == ["6"]
        assert store.consolidate(threshold=0.5).merged == 6


def test_a_source_that_changes_while_it_is_summarised_leaves_its_cluster_as_it_was() -> None:
    with opened() as store:
        filled(store)

        def strategy(memories: Sequence[Memory]) -> str:
            if memories[0].id == "0":
                store.delete(["1"])
            return "A summary of it."

        done = store.consolidate(threshold=0.5, strategy=strategy)
        assert [cluster.problem for cluster in done.clusters] == ["a source was changed or removed meanwhile", None]
        assert {memory.id for memory in everything(store)} >= {"0", "2", "6"}
        assert store.verify() == []


def test_a_source_that_goes_before_its_turn_leaves_its_cluster_as_it_was() -> None:
    with opened() as store:
        filled(store)
        calls: list[int] = []

        def cancel() -> bool:
            # After the clustering, before the first summary.
            calls.append(1)
            if len(calls) == 1:
                store.delete(["1"])
            return False

        done = store.consolidate(threshold=0.5, cancel=cancel)
        assert [cluster.problem for cluster in done.clusters] == ["a memory of it has changed or gone meanwhile", None]


def test_it_can_be_stopped_and_goes_on_later() -> None:
    with opened() as store:
        filled(store)
        asked: list[int] = []

        def cancel() -> bool:
            asked.append(1)
            return len(asked) > 2

        stopped = store.consolidate(threshold=0.5, cancel=cancel)
        assert not stopped.complete
        done = store.consolidate(threshold=0.5)
        assert done.complete
        assert stopped.merged + done.merged >= 6
        assert len(everything(store)) == 3


def test_others_write_and_search_while_a_slow_strategy_works() -> None:
    with opened() as store:
        filled(store)
        seen: list[int] = []

        def strategy(memories: Sequence[Memory]) -> str:
            if memories[0].level:
                return "One of both."
            thread = Thread(target=lambda: seen.append(len(store.search(Query(text="heron", k=50)))))
            thread.start()
            thread.join(30)
            store.add([Draft(text="Something new meanwhile.", namespace=("elsewhere",))])
            return f"Summary: {memories[0].text}"

        assert store.consolidate(threshold=0.5, strategy=strategy).merged == 6
        # The second summary is made when the first one stands for its sources already.
        assert seen == [7, 6]
        assert store.count(namespace=("elsewhere",)) == 2


async def test_the_door_consolidates_by_either_name() -> None:
    async with EnhancedMemoryStore(UnifiedSettings.for_testing()) as door:
        await door.add([Draft(text=text) for text in HERONS])
        assert (await door.consolidate(threshold=0.5, dry_run=True)).clusters
        assert (await door.consolidate_memories(threshold=0.5, strategy="concat")).merged == 3
        told = await door.add_distinct([Draft(text="New."), Draft(text="new.")])
        assert told.stored == 1


CHILD = """
import os, sys
from pathlib import Path
from ums_core import UnifiedSettings, open_store
from ums_core.settings.database import url_of

store = open_store(UnifiedSettings.for_testing(database={"url": url_of(Path(sys.argv[1]) / "memory.db")}))
asked = []

def strategy(memories):
    asked.append(1)
    if len(asked) == 2:
        os.kill(os.getpid(), 9)
    return "A summary of " + memories[0].text

store.consolidate(threshold=0.5, strategy=strategy)
"""


def test_killed_in_the_middle_nothing_is_lost_and_the_next_run_goes_on(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        filled(store)
    ended = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path)], check=False, timeout=120, env={**os.environ}, capture_output=True
    )
    assert ended.returncode == -9, ended.stderr
    with opened(tmp_path) as store:
        assert store.verify() == []
        done = store.consolidate(threshold=0.5)
        live = everything(store)
        told = {source.id for memory in live for source in store.expand(memory.id)} | {
            memory.id for memory in live if not memory.level
        }
        assert told == {str(place) for place in range(7)}
        assert done.complete
