"""Forgetting takes the least, can be undone in its time, and goes for good after it."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from ums_core import Draft, EnhancedMemoryStore, LocalStore, Memory, Passage, Query, UnifiedSettings, open_store
from ums_core.errors import InvalidInput
from ums_core.pipeline import forget as forgetting
from ums_core.pipeline.forget import Forget, Sparing
from ums_core.ports.ledger import Row
from ums_core.records.dynamics import Dynamics
from ums_core.settings.database import url_of

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Clock:
    """A time that only the test moves."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, **span: float) -> None:
        self.now += timedelta(**span)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[LocalStore]:
    with opened(tmp_path, clock) as made:
        yield made


def opened(place: Path, clock: Clock) -> LocalStore:
    settings = UnifiedSettings.for_testing(
        database={"url": url_of(place / "memory.db"), "backend": "exact"},
        model={"embedder": "hashing:16", "vector_dim": 16},
    )
    return open_store(settings, clock=clock)


def tell(store: LocalStore, *ids: str, **fields: object) -> list[Memory]:
    return store.add([Draft(id=id_, text=f"told by {id_}", **fields) for id_ in ids])  # type: ignore[arg-type]  # of a draft


def living(store: LocalStore) -> list[str]:
    assert store.verify() == []
    return sorted(memory.id for memory in store.scan(limit=1000).memories)


def rids(store: LocalStore) -> dict[str, int]:
    with store._database.reader() as connection:  # row ids are nobody else's business
        return dict(connection.execute("SELECT id, rid FROM memories").fetchall())


def merge(store: LocalStore, ids: tuple[str, ...], id_: str, batch: str) -> None:
    first, *_ = sources = [memory for memory in store.get(ids) if memory is not None]
    text = " ".join(memory.text for memory in sources)
    memory = replace(first, id=id_, text=text, level=first.level + 1, source_ids=ids, passages=(Passage(),))
    vector = np.eye(16, dtype=np.float32)[0]
    held = rids(store)
    row = Row(memory=memory, vectors=[vector], fresh=True)
    done = store._database.write(lambda tx: tx.merge([held[source] for source in ids], row, batch))  # as above
    assert done is None


def forget(store: LocalStore, *ids: str, erase: bool = False) -> str:
    done = store.forget(retain_fraction=0, where={"id": {"$in": list(ids)}}, erase=erase)
    assert sorted(fading.id for fading in done.forgotten) == sorted(ids)
    return done.batch or ""


def test_time_and_use_decide_what_is_forgotten(store: LocalStore, clock: Clock) -> None:
    tell(store, "old", "used", "worthy", importance=0.5)
    tell(store, "worthy", importance=1.0)
    clock.pass_(days=10)
    tell(store, "young", importance=0.5)
    assert store.reinforce(["used"]) == 1
    clock.pass_(days=20)
    plan = store.forget(retain_fraction=0, dry_run=True)
    assert [fading.id for fading in plan.forgotten] == ["old", "young", "used", "worthy"]
    assert plan.forgotten[0].reason == "number 1 of 4 from below, not used for 30.0 days"
    assert plan.forgotten[0].retention == pytest.approx(0.2 * np.exp(-1))


def test_equals_go_in_the_order_in_which_they_came(store: LocalStore) -> None:
    tell(store, "c", "a", "b")
    tell(store, "c")
    plan = store.forget(retain_fraction=0, dry_run=True)
    assert [fading.id for fading in plan.forgotten] == ["c", "a", "b"]


def test_a_clock_that_was_set_back_neither_ages_nor_rejuvenates(store: LocalStore, clock: Clock) -> None:
    (a,) = tell(store, "a")
    clock.pass_(days=-3)
    store.reinforce(["a"])
    (memory,) = store.get(["a"])
    assert memory is not None
    assert memory.last_accessed_at == a.last_accessed_at
    (fading,) = store.forget(retain_fraction=0, dry_run=True).forgotten
    assert (fading.retention, fading.reason[-8:]) == (pytest.approx(0.2), "0.0 days")


def test_use_strengthens_only_where_it_is_spaced(store: LocalStore, clock: Clock) -> None:
    tell(store, "a")
    for hours, accesses in ((0, 1), (0.5, 1), (1, 2), (0.9, 2)):
        clock.pass_(hours=hours)
        assert store.reinforce(["a"]) == 1
        (memory,) = store.get(["a"])
        assert memory is not None
        assert (memory.accesses, memory.last_accessed_at) == (accesses, clock.now)


def test_what_has_expired_is_not_used(store: LocalStore, clock: Clock) -> None:
    tell(store, "a", ttl_s=60)
    clock.pass_(seconds=60)
    assert store.reinforce(["a"]) == 0
    assert store.forget(retain_fraction=0).removed == 0


def test_undo_ends_with_its_time_and_then_it_goes_for_good(store: LocalStore, clock: Clock) -> None:
    tell(store, "a", "b")
    batch = forget(store, "a")
    clock.pass_(days=29)
    assert store.purge() == 0
    late = forget(store, "b")
    clock.pass_(days=1)
    assert store.undo(batch) == 0
    assert store.purge() == 1
    assert store.purge() == 0
    assert store.undo(late) == 1
    assert living(store) == ["b"]


def test_a_purge_is_bounded_and_takes_what_a_summary_stands_for(store: LocalStore, clock: Clock) -> None:
    tell(store, "a", "b", "c", "d")
    merge(store, ("a", "b"), "sum", "c1")
    merge(store, ("sum", "c"), "top", "c2")
    forget(store, "top")
    clock.pass_(days=1)
    forget(store, "d")
    clock.pass_(days=40)
    assert store.purge(limit=1) == 5
    assert store.purge(limit=1) == 1
    with store._database.reader() as connection:  # the archive has no verb that lists it
        rows, passages = (
            connection.execute("SELECT count(*) FROM archived").fetchone()[0],
            connection.execute("SELECT count(*) FROM archived_passages").fetchone()[0],
        )
    assert (rows, passages) == (0, 0)


def test_a_summary_is_forgotten_with_its_sources_and_comes_back_over_them(store: LocalStore) -> None:
    before = tell(store, "a", "b")
    merge(store, ("a", "b"), "sum", "c1")
    batch = forget(store, "sum")
    assert living(store) == []
    # What it stood for is not to come back without it.
    assert store.undo("c1") == 0
    assert store.undo(batch) == 1
    assert living(store) == ["sum"]
    assert [memory.id for memory in store.expand("sum")] == ["a", "b"]
    assert store.undo("c1") == 2
    assert store.scan().memories == before


def test_undoing_a_summary_undoes_what_was_made_of_it(store: LocalStore) -> None:
    before = tell(store, "a", "b", "c", "d")
    merge(store, ("a", "b"), "one", "c1")
    merge(store, ("c", "d"), "two", "c1")
    merge(store, ("one", "two"), "top", "c2")
    assert store.undo("c1") == 4
    assert store.scan().memories == before
    merge(store, ("a", "b"), "one", "c3")
    merge(store, ("one", "c"), "top", "c4")
    batch = forget(store, "top")
    assert store.undo("c3") == 0
    store.undo(batch)
    assert living(store) == ["d", "top"]


def test_a_large_batch_comes_back_in_parts(store: LocalStore) -> None:
    before = tell(store, *(f"m{n}" for n in range(600)))
    done = store.forget(retain_fraction=0)
    assert (done.removed, store.count()) == (600, 0)
    assert store.undo(done.batch or "") == 600
    assert store.scan(limit=1000).memories == before
    assert store.verify() == []


def test_forgetting_tells_how_far_it_is_and_stops_when_told_to(store: LocalStore, clock: Clock) -> None:
    tell(store, *(f"m{n}" for n in range(600)))
    forget_ = Forget(store._archive, Dynamics(), 1.0, clock)  # as the verb does
    seen: list[tuple[int, int]] = []
    for erase in (False, True):
        seen.clear()
        sparing = Sparing(retain_fraction=0, erase=erase)
        total = store.count()
        done = forget_.run(sparing, progress=lambda *how: seen.append(how), cancel=lambda: len(seen) == 1)
        assert seen == [(forgetting.BATCH, total)]
        assert (done.removed, len(done.forgotten), done.kept) == (256, 256, total - 256)
        assert store.count() == total - 256
    assert forget_.run(Sparing(retain_fraction=0), cancel=lambda: True).batch is None


def test_what_was_told_anew_after_the_plan_stays(store: LocalStore, clock: Clock) -> None:
    tell(store, *(f"m{n:03}" for n in range(300)))
    forget_ = Forget(store._archive, Dynamics(), 1.0, clock)  # as the verb does

    def told_anew(done: int, _total: int) -> None:
        if done == forgetting.BATCH:
            tell(store, "m299")

    done = forget_.run(Sparing(retain_fraction=0), progress=told_anew)
    assert (done.removed, done.kept, len(done.forgotten)) == (299, 1, 299)
    assert living(store) == ["m299"]


def test_erasing_a_summary_takes_what_is_archived_under_it(store: LocalStore) -> None:
    tell(store, "a", "b", "c")
    merge(store, ("a", "b"), "sum", "c1")
    merge(store, ("sum", "c"), "top", "c2")
    done = store.forget(retain_fraction=0, erase=True)
    assert [fading.id for fading in done.forgotten] == ["top"]
    (receipt,) = done.receipts
    assert sorted(receipt.ids) == ["a", "b", "c", "sum", "top"]
    assert receipt.folded
    assert store.verify_erased(receipt) == []


def test_what_something_else_was_made_from_is_not_erased(store: LocalStore) -> None:
    tell(store, "a", "b", "c", importance=0.1)
    tell(store, "made", importance=0.1, source_ids=("a",), pinned=True)
    tell(store, "chained", importance=0.1, source_ids=("b",))
    tell(store, "kept", importance=0.1, source_ids=("chained",), pinned=True)
    done = store.forget(retain_fraction=0, erase=True)
    assert [fading.id for fading in done.forgotten] == ["c"]
    assert done.kept == 5
    assert living(store) == ["a", "b", "chained", "kept", "made"]


def test_what_has_expired_is_swept_in_parts(store: LocalStore, clock: Clock) -> None:
    tell(store, "a", "b", "c", ttl_s=60)
    tell(store, "d", namespace=("n",), ttl_s=30)
    tell(store, "keep")
    forget(store, "c")
    clock.pass_(seconds=59)
    assert store.sweep(2) == 1
    clock.pass_(seconds=1)
    assert store.search(Query(text="told", mode="keyword"))[0].memory.id == "keep"
    assert store.sweep(2) == 2
    assert store.sweep(2) == 1
    assert store.sweep(2) == 0
    assert living(store) == ["keep"]


def test_sources_come_back_when_their_summary_expires(store: LocalStore, clock: Clock) -> None:
    tell(store, "a", "b")
    tell(store, "a", ttl_s=60)
    merge(store, ("a", "b"), "sum", "c1")
    clock.pass_(seconds=60)
    assert store.expand("sum") == store.expand("sum")
    assert [memory.id for memory in store.expand("sum")] == ["b"]
    assert store.sweep() == 2
    assert living(store) == ["b"]


@pytest.mark.parametrize("wrong", [{"retain_fraction": True}, {"retain_fraction": float("nan")}, {"erase": 1}])
def test_a_wish_that_cannot_be_met_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        Sparing(**wrong)  # type: ignore[arg-type]  # that is the point


def test_as_users_of_the_door_know_it(store: LocalStore, clock: Clock) -> None:
    async def work() -> list[int]:
        door = EnhancedMemoryStore(store)
        tell(store, "a", "b", "c", ttl_s=1e6)
        used = await door.mark_access(["a"])
        plan = {"min_total": 0, "retain_fraction": 0.5, "namespace": None, "where": None}
        assert await door.forget_memories(**plan, dry_run=True) == 1
        whole = {"threshold": 1.0, "level": 0, "namespace": None, "strategy": None}
        assert (await door.consolidate_memories(**whole, dry_run=True)).merged == 0
        gone = await door.forget_memories(retain_fraction=0.5)
        clock.pass_(days=40)
        return [used, gone, await door.purge(), await door.sweep()]

    assert asyncio.run(work()) == [1, 1, 1, 2]
