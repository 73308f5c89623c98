"""Who did what to which memory is told, and of what was erased nothing can be told any more."""

import asyncio
import os
import sqlite3
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier

import pytest
from old_schemas import taken_back
from small_store import opened

from ums_core import Draft, EnhancedMemoryStore, LocalStore, Patch, acting_as
from ums_core.errors import InvalidField, InvalidInput, MemoryNotFound, NotADatabase
from ums_core.records.actor import actor
from ums_core.records.lifecycle import Action, Change
from ums_core.storage.database import Database
from ums_core.storage.history import entry_of

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
N = ("n",)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    with opened(tmp_path) as made:
        yield made


def database(store: LocalStore) -> Database:
    return store._database  # what is behind the verbs


def draft(id_: str = "a", text: str = "The boat sails at nine.", **fields: object) -> Draft:
    return Draft(id=id_, text=text, namespace=N, **fields)  # type: ignore[arg-type]  # of a draft


def actions(changes: list[Change]) -> list[Action]:
    return [change.action for change in changes]


def test_whoever_acts_is_named(store: LocalStore) -> None:
    store.add([draft()])
    with acting_as("token:1"), acting_as("token:2"):
        store.update([Patch(id="a", namespace=N, changes={"text": "At ten."})])
    with acting_as("token:3"):
        store.delete(["a"], namespace=N)
    first, second, third = store.history("a", namespace=N)
    assert first.actor == actor()
    assert first.actor.endswith(f":{os.getpid()}")
    assert (second.actor, third.actor) == ("token:2", "token:3")


@pytest.mark.parametrize("name", ["", "a" * 201, "a\0b", 7])
def test_what_is_no_name_is_refused(name: object) -> None:
    with pytest.raises(InvalidField), acting_as(name):  # type: ignore[arg-type]  # that is the point
        pass


def test_a_process_is_named_by_its_program(monkeypatch: pytest.MonkeyPatch) -> None:
    said = []
    for argv in (["/usr/bin/ums", "add"], ["/x/ums_core/cli/__main__.py"], ["-c"], [""], []):
        monkeypatch.setattr(sys, "argv", argv)
        said.append(actor().partition(":")[0])
    assert said == ["ums", "cli", "python", "python", "python"]


def test_threads_that_share_a_commit_keep_their_names(store: LocalStore) -> None:
    together = Barrier(8)

    def write(number: int) -> None:
        with acting_as(f"thread {number}"):
            together.wait()
            for turn in range(5):
                store.add([draft(f"{number}-{turn}")])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    for number in range(8):
        (change,) = store.history(f"{number}-4", namespace=N)
        assert change.actor == f"thread {number}"


def test_the_door_takes_its_callers_name_along(store: LocalStore) -> None:
    async def add(number: int) -> None:
        with acting_as(f"task {number}"):
            await door.add([draft(str(number))])

    async def work() -> list[str]:
        await asyncio.gather(*(add(number) for number in range(4)))
        return [(await door.history(str(number), namespace=N))[0].actor for number in range(4)]

    door = EnhancedMemoryStore(store)
    assert asyncio.run(work()) == [f"task {number}" for number in range(4)]


def test_every_way_to_change_a_memory_is_told(tmp_path: Path) -> None:
    now = NOW
    with opened(tmp_path, lambda: now) as store:
        store.add([draft("a", importance=0.0), draft("short", ttl_s=60), draft("old"), draft("twin", "It rained.")])
        store.add([draft("twin2", "It rained.")])
        store.supersede("old", draft("new", "The boat sails at ten."), namespace=N)
        merged = store.consolidate(threshold=0.99, namespace=N)
        assert merged.batch is not None
        (summary,) = merged.clusters
        done = store.forget(retain_fraction=0, namespace=N, where={"importance": {"$lt": 0.1}})
        now += timedelta(days=60)
        assert store.sweep() == 1
        assert store.purge() == 1
        store.undo(merged.batch)
        store.erase(["twin"], namespace=N)
        told = {id_: actions(store.history(id_, namespace=N)) for id_ in ("a", "short", "old", "new", "twin", "twin2")}
        assert told == {
            "a": ["added", "forgotten", "purged"],
            "short": ["added", "expired"],
            "old": ["added", "superseded"],
            "new": ["added"],
            "twin": ["added", "consolidated", "restored", "erased"],
            "twin2": ["added", "consolidated", "restored"],
        }
        assert actions(store.history(summary.summary_id or "", namespace=N)) == ["added", "deleted"]
        assert store.history("a", namespace=N)[1].batch == done.batch
        assert store.history("twin", namespace=N)[2].batch == merged.batch
        assert [change.at for change in store.history("a", namespace=N)] == [NOW, NOW, now]


def test_a_memory_that_comes_again_under_its_id_has_one_history(store: LocalStore) -> None:
    store.add([draft("b"), draft()])
    store.delete(["a"], namespace=N)
    store.add([draft()])
    store.add([draft(text="Other.")])
    store.delete(["b"], namespace=N)
    first, deleted, second, replaced = store.history("a", namespace=N)
    assert actions([first, deleted, second, replaced]) == ["added", "deleted", "added", "replaced"]
    assert first.after == deleted.before
    assert second.after == replaced.before
    # The same text a second time is another hash: each row has its salt.
    assert first.after != second.after
    assert actions(store.history("b", namespace=N)) == ["added", "deleted"]


def test_what_was_erased_cannot_be_confirmed(store: LocalStore) -> None:
    store.add([draft(text="The secret is 1234."), draft("b")])
    store.update([Patch(id="a", namespace=N, changes={"text": "The secret is 5678."})])
    store.update([Patch(id="a", namespace=N, changes={"text": "The secret is 9012."})])
    rids = [row[0] for row in rows(store, "SELECT rid FROM memories WHERE id = 'a'")] + [1, 3]
    with database(store).reader() as connection:
        entry = entry_of(connection, 1)
    assert entry is not None
    assert entry.salt(1) is not None
    receipt = store.erase(["a"], namespace=N)
    assert actions(store.history("a", namespace=N)) == ["added", "updated", "updated", "erased"]
    with database(store).reader() as connection:
        held = [entry_of(connection, rid) for rid in rids]
        assert [entry and entry.salt(rid) for entry, rid in zip(held, rids, strict=True)] == [None] * 3
        neighbour = entry_of(connection, 2)
    assert neighbour is not None
    assert neighbour.salt(2) is not None
    assert store.verify_erased(receipt) == []
    # What comes again later is not what was erased.
    store.add([draft()])
    assert store.verify_erased(receipt) == []
    # A control: with its salt the history could tell.
    database(store).write(lambda tx: tx.connection.execute("UPDATE journal SET salts = ? WHERE lo = 1", (entry.salts,)))
    assert store.verify_erased(receipt) == ["the history can still confirm a guess of 1 texts that were erased"]


def test_a_history_begins_where_the_database_got_one(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add([draft()])
    taken_back(tmp_path / "memory.db", 4)
    with opened(tmp_path) as store:
        assert store.history("a", namespace=N) == []
        store.add([draft("b")])
        store.update([Patch(id="a", namespace=N, changes={"text": "At ten."})])
        (change,) = store.history("a", namespace=N)
        assert (change.action, change.before) == ("updated", None)
        assert change.after is not None
        assert actions(store.history("b", namespace=N)) == ["added"]
        store.erase(["a"], namespace=N)
        with pytest.raises(MemoryNotFound):
            store.history("c", namespace=N)
        with pytest.raises(MemoryNotFound):
            store.history("a", namespace=("nowhere",))


def test_no_row_was_brought_by_an_empty_journal(store: LocalStore) -> None:
    with database(store).reader() as connection:
        assert entry_of(connection, 1) is None


def rows(store: LocalStore, sql: str) -> list[tuple[int, ...]]:
    with database(store).reader() as connection:
        return connection.execute(sql).fetchall()


# What somebody does to the file who is not asked, and what is then said.
TAMPERED = {
    "an actor": ("UPDATE actors SET name = 'somebody else' WHERE name = 'me'", "change 1 is not what was written"),
    "a time": ("UPDATE journal SET at = at - 1 WHERE seq = 3", "change 3 is not what was written"),
    "a digest": ("UPDATE journal SET digests = zeroblob(32) WHERE seq = 2", "change 2 is not what was written"),
    "an action": ("UPDATE history SET action = 'expired' WHERE seq = 4", "change 4 is not what was written"),
    "an entry": ("DELETE FROM history WHERE seq = 4", "change 4 is not what was written"),
    "an entry that is none": (
        "INSERT INTO history SELECT 99, 0, who, action, birth, before, after, batch FROM history WHERE seq = 4",
        "the history tells of change 99, which is none",
    ),
    "an entry between": (
        "INSERT INTO history SELECT 0, 0, who, action, birth, before, after, batch FROM history WHERE seq = 4",
        "the history tells of change 0, which is none",
    ),
    "a link": ("UPDATE journal SET link = NULL WHERE seq = 2", "change 2 has no entry in the history"),
    "a change": ("DELETE FROM journal WHERE seq = 2", "of the changes, 2 to 2 are missing"),
    "the order": (
        "UPDATE journal SET link = (SELECT j.link FROM journal j WHERE j.seq = 5 - journal.seq) WHERE seq IN (2, 3)",
        "change 2 is not what was written",
    ),
    "a kind in the journal": (
        "UPDATE journal SET at = x'00' WHERE seq = 2",
        "a row holds what was never written there",
    ),
    "the end": ("DELETE FROM journal WHERE seq > 4", "row 5 is there, and no change brought it"),
    "a memory": (
        "UPDATE memories SET text = 'The boat sails at three.' WHERE id = 'c'",
        "memory 'c' (row 3 of memories) does not say what was written",
    ),
    "a kind": ("UPDATE memories SET importance = 'x' WHERE id = 'c'", "memory 'c' (row 3 of memories) does not say"),
    "an archived memory": (
        "UPDATE archived SET text = 'The boat sails at three.'",
        "memory 'b' (row 2 of archived) does not say what was written",
    ),
    "a memory that goes": ("DELETE FROM memories WHERE id = 'c'", "row 3 is gone, and no change took it"),
    "one that goes from the archive": ("DELETE FROM archived", "row 2 is gone from the archive, and no change took it"),
    "one that is put there": (
        "UPDATE archived SET rid = 3",
        "row 3 is in the archive, and no change put it there",
    ),
    "a number of rows beyond all memory": (
        "UPDATE journal SET hi = 1000000000000 WHERE seq = (SELECT max(seq) FROM journal)",
        "row 6 is gone, and no change took it",
    ),
    "the largest number of rows": (
        f"UPDATE journal SET hi = {2**63 - 1} WHERE seq = (SELECT max(seq) FROM journal)",
        "row 6 is gone, and no change took it",
    ),
}


def written(store: LocalStore) -> None:
    with acting_as("me"):
        store.add([draft("a", importance=0.9)])
    store.add([draft("b", importance=0.0), draft("c", valence=-0.0, tags=("x",), speaker="Ana", metadata={"k": 1})])
    store.update([Patch(id="a", namespace=N, changes={"text": "At ten."})])
    store.forget(retain_fraction=0, namespace=N, where={"importance": {"$lt": 0.1}})
    store.add([draft("d")])


def test_a_damaged_row_is_told(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        written(store)
    with closing(sqlite3.connect(tmp_path / "memory.db")) as connection:
        connection.execute("UPDATE journal SET at = 'x' WHERE seq = 1")
        connection.commit()
    with opened(tmp_path) as store, pytest.raises(NotADatabase):
        store.history("a", namespace=N)


@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_done_to_the_file_shows(tmp_path: Path, what: str) -> None:
    with opened(tmp_path) as store:
        written(store)
        assert store.verify_history() == []
    sql, expected = TAMPERED[what]
    with closing(sqlite3.connect(tmp_path / "memory.db")) as connection:
        connection.execute(sql)
        connection.commit()
    with opened(tmp_path) as store:
        said = store.verify_history()
    assert any(line.startswith(expected) for line in said), said


def test_verifying_tells_how_far_it_is(store: LocalStore) -> None:
    told: list[tuple[int, int]] = []
    assert store.verify_history(progress=lambda done, total: told.append((done, total))) == []
    assert told == []
    store.add([draft(f"{number}") for number in range(1200)])
    store.forget(retain_fraction=0.5, namespace=N)
    assert store.verify_history(progress=lambda done, total: told.append((done, total))) == []
    assert told == [(600, 1200), (1200, 1200)]
    store.undo(store.history("0", namespace=N)[-1].batch or "")
    told.clear()
    assert store.verify_history(progress=lambda done, total: told.append((done, total))) == []
    assert told == [(1000, 1200), (1200, 1200)]
    with pytest.raises(InvalidInput):
        store.verify_history(progress=7)  # type: ignore[arg-type]  # that is the point


def test_a_mark_that_was_kept_shows_what_was_cut_or_went_its_own_way(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        assert store.verify_history(reached=store.history_mark()) == []
        store.add([draft("a")])
        earlier = store.history_mark()
        store.backup(tmp_path / "copy" / "memory.db")
        store.delete(["a"], namespace=N)
        mark = store.history_mark()
        assert store.verify_history(reached=mark) == store.verify_history(reached=earlier) == []
        store.add([draft("b")])
        assert store.verify_history(reached=mark) == []
        assert store.prune_history(NOW + timedelta(days=10_000)) == 2
        assert store.verify_history(reached=mark) == []
        (said,) = store.verify_history(reached=earlier)
        assert said.startswith("change 1, which was reached, is pruned")
    with opened(tmp_path / "copy") as store:
        assert store.verify_history(reached=earlier) == []
        (said,) = store.verify_history(reached=mark)
        assert said == "the history ends with change 1, and had reached 2: its end is missing"
        # The same change, made a second time, is another one.
        store.delete(["a"], namespace=N)
        (said,) = store.verify_history(reached=mark)
        assert said.startswith("change 2 is another one than was reached")
        for wrong in ("", "2", mark[:-1], mark.upper(), f" {mark}", 7):
            with pytest.raises(InvalidInput):
                store.verify_history(reached=wrong)  # type: ignore[arg-type]  # that is the point


def test_uses_and_new_vectors_leave_a_memory_what_it_is(store: LocalStore) -> None:
    written(store)
    store.reinforce(["a", "c"], namespace=N)
    store.consolidate(threshold=0.99)
    store.reembed("hashing:32")
    assert store.verify_history() == []


def test_a_database_that_got_a_history_late_verifies_from_there(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        written(store)
    taken_back(tmp_path / "memory.db", 4)
    with closing(sqlite3.connect(tmp_path / "memory.db")) as connection:
        connection.execute("DELETE FROM secrets")
        connection.commit()
    with opened(tmp_path) as store:
        assert store.verify_history() == []
        store.add([draft("e")])
        store.delete(["a"], namespace=N)
    with opened(tmp_path) as store:
        assert store.verify_history() == []
    # Nobody can say that it began later than it did.
    with closing(sqlite3.connect(tmp_path / "memory.db")) as connection:
        connection.execute("DELETE FROM secrets")
        connection.commit()
    with opened(tmp_path) as store:
        assert store.verify_history() != []


def test_a_pruned_history_verifies_from_where_it_begins(tmp_path: Path) -> None:
    now = NOW
    with opened(tmp_path, lambda: now) as store:
        with acting_as("long gone"):
            store.add([draft("a"), draft("b"), draft("c")])
            store.update([Patch(id="a", namespace=N, changes={"text": "At ten."})])
            store.delete(["b"], namespace=N)
        now += timedelta(days=10)
        store.update([Patch(id="a", namespace=N, changes={"text": "At eleven."})])
        store.delete(["c"], namespace=N)
        whole = {id_: store.history(id_, namespace=N) for id_ in "abc"}
        assert store.prune_history(NOW) == 0
        assert store.prune_history(now, limit=2) == 2
        assert store.prune_history(now, limit=2) == 1
        assert store.prune_history(now, limit=2) == 0
        assert store.verify_history() == []
        # Of those that were there, it is still known what they said.
        assert store.history("a", namespace=N) == whole["a"][2:]
        assert store.history("c", namespace=N) == whole["c"][1:]
        assert whole["c"][1].before is not None
        with pytest.raises(MemoryNotFound):
            store.history("b", namespace=N)
        assert rows(store, "SELECT count(*) FROM actors WHERE name = 'long gone'") == [(0,)]
        # The newest stays, whatever is asked.
        assert store.prune_history(now + timedelta(days=1)) == 1
        assert store.prune_history(now + timedelta(days=1)) == 0
        assert actions(store.history("c", namespace=N)) == ["deleted"]
        assert store.history("a", namespace=N) == []
        store.add([draft("d")])
        assert store.verify_history() == []
        store.erase(["a", "d"], namespace=N)
        assert store.verify_history() == []
        with pytest.raises(InvalidField):
            store.prune_history(NOW.replace(tzinfo=None))
    with closing(sqlite3.connect(tmp_path / "memory.db")) as connection:
        connection.execute("UPDATE journal SET link = zeroblob(32) WHERE seq = 5")
        connection.commit()
    with opened(tmp_path, lambda: now) as store:
        assert store.verify_history()[0] == "change 5 is not what was written, or does not follow the one before it"


def test_maintenance_prunes_what_is_old_enough(tmp_path: Path) -> None:
    now = NOW
    with opened(tmp_path, lambda: now) as store:
        store.add([draft("a")])
        store.add([draft("b")])
        now += timedelta(days=40)
        store.add([draft("c")])
        plan, done = store.maintain(steps=["prune"], dry_run=True), store.maintain(steps=["prune"])
        assert (plan.pruned, done.pruned) == (0, 0)
    with opened(tmp_path, lambda: now, lifetime={"history_days": 30}) as store:
        assert store.maintain(steps=["prune"], dry_run=True).pruned == 2
        done = store.maintain(steps=["prune"])
        assert (done.pruned, done.steps) == (2, ("prune",))
        assert store.maintain(steps=["prune"]).pruned == 0
        assert store.verify_history() == []


def test_a_batch_that_takes_the_last_that_is_old_takes_the_names_as_well(store: LocalStore) -> None:
    with acting_as("long gone"):
        store.add([draft("a")])
        store.delete(["a"], namespace=N)
    store.add([draft("b")])
    assert store.prune_history(NOW + timedelta(days=10_000), limit=2) == 2
    assert rows(store, "SELECT count(*) FROM actors WHERE name = 'long gone'") == [(0,)]


def test_a_plan_of_pruning_ends_where_a_clock_was_ahead_as_pruning_does(tmp_path: Path) -> None:
    now = NOW
    with opened(tmp_path, lambda: now, lifetime={"history_days": 30}) as store:
        for day in (0, 1, 5000, 2, 3):
            now = NOW + timedelta(days=day)
            store.add([draft(f"{day}")])
        now = NOW + timedelta(days=100)
        plan, done = store.maintain(steps=["prune"], dry_run=True), store.maintain(steps=["prune"])
        assert (plan.pruned, done.pruned) == (2, 2)


def test_the_change_that_a_row_came_with_is_found_without_a_pass_over_all(store: LocalStore) -> None:
    def steps(rid: int) -> int:
        counted = []
        with database(store).reader() as connection:
            connection.set_progress_handler(lambda: counted.append(rid), 1)
            try:
                found = entry_of(connection, rid)
            finally:
                connection.set_progress_handler(None, 0)
        assert found is not None
        assert found.lo == rid
        return len(counted)

    for number in range(64):
        store.add([Draft(id=f"{number}", metadata={"a": 1}, namespace=N)])
    few = steps(32)
    prepared = store._ingest.prepare([Draft(id="z", metadata={"a": 1}, namespace=N)])
    database(store)._transact([lambda tx: tx.add(prepared.rows)] * 960)
    # Sixteen times as many changes are four more halvings.
    assert steps(512) < 3 * few


def test_the_door_verifies_and_prunes(store: LocalStore) -> None:
    written(store)

    async def work() -> tuple[list[str], int]:
        return await door.verify_history(reached=await door.history_mark()), await door.prune_history(NOW)

    door = EnhancedMemoryStore(store)
    assert asyncio.run(work()) == ([], 0)
