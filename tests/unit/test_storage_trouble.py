"""What a damaged page, a reader that stays and another process do to a database: what is said of it, or waited for."""

import asyncio
import fcntl
import os
import sqlite3
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from pathlib import Path
from threading import Event, Thread

import pytest
from filelock import FileLock

from ums_core import Draft, EnhancedMemoryStore, Query, UnifiedSettings, open_store
from ums_core.errors import NotADatabase, StorageError, StoreClosed
from ums_core.index.snapshot import _new_beside
from ums_core.storage import forks
from ums_core.storage.anchor import Anchor, Reached


def chosen(path: Path, **database: object) -> UnifiedSettings:
    return UnifiedSettings.for_testing(database={"url": f"sqlite:///{path}", **database}, model={"embedder": "none"})


def spoil(path: Path, change: str) -> None:
    with open_store(chosen(path)) as store:
        store.add([Draft(id="a", text="tea and bread", tags=["x"], session="s", position=1)])
    connection = sqlite3.connect(path)
    connection.execute(change)
    connection.commit()
    connection.close()


@pytest.mark.parametrize("change", ["tags = '{'", "created_at = 'then'", "created_at = 9223372036854775807"])
def test_a_row_that_nobody_wrote_is_no_memory(tmp_path: Path, change: str) -> None:
    path = tmp_path / "memory.db"
    spoil(path, f"UPDATE memories SET {change}")
    with open_store(chosen(path)) as store:
        with pytest.raises(NotADatabase, match="damaged"):
            store.get(["a"])
        with pytest.raises(NotADatabase, match="damaged"):
            store.search(Query(text="bread", mode="keyword"))


@pytest.mark.parametrize("change", ["telling = 'many'", "asks = 'some'", "occurred_at = 'then'", "position = 'first'"])
def test_a_turn_that_nobody_wrote_stands_in_no_conversation(tmp_path: Path, change: str) -> None:
    path = tmp_path / "memory.db"
    spoil(path, f"UPDATE memories SET {change}")
    with open_store(chosen(path)) as store, pytest.raises(NotADatabase, match="damaged"):
        store.search(Query(text="bread"))


def test_a_log_that_a_reader_holds_is_not_folded_for_as_long(tmp_path: Path) -> None:
    with open_store(chosen(tmp_path / "memory.db", busy_timeout=0.1)) as store, ThreadPoolExecutor(1) as elsewhere:
        store.add([Draft(text="tea")])
        with store._database.snapshot():
            elsewhere.submit(store.add, [Draft(text="bread")]).result()
            assert not elsewhere.submit(store._database.fold).result()
        assert store._database.fold()


def test_a_log_that_another_process_folds_is_waited_for(tmp_path: Path) -> None:
    with open_store(chosen(tmp_path / "memory.db", busy_timeout=0.1)) as store:
        store.add([Draft(text="tea")])
        with FileLock(f"{store._database.path}.lock"):
            assert not store._database.fold()
        assert store._database.fold()


async def test_the_door_follows_a_store_on_the_device(tmp_path: Path) -> None:
    async with EnhancedMemoryStore(chosen(tmp_path / "memory.db")) as store:
        await store.add([Draft(id="a", text="tea")])
        assert await store.seq() == 1
        assert [event.seq for event in await store.events(0)] == [1]


def in_a_child(work: Callable[[], int]) -> int:
    with warnings.catch_warnings():
        # Threads stay with the parent, and the child needs none of them.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        # Nothing of the tests is torn down here.
        code = 99
        try:
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def refused(*calls: Callable[[], object]) -> int:
    """How many of the calls are told that the process was forked."""
    found = 0
    for call in calls:
        try:
            call()
        except StoreClosed as error:
            found += "forked" in str(error)
    return found


def test_a_forked_child_leaves_the_store_to_its_parent_and_may_open_its_own(tmp_path: Path) -> None:
    settings = chosen(tmp_path / "memory.db")
    draft = Draft(id="a", text="tea")
    with open_store(settings) as store:
        store.add([draft])

        def child() -> int:
            search = Query(text="tea")
            found = refused(store.count, lambda: store.add([draft]), lambda: store.search(search), store.settle)
            store.close()
            with open_store(settings) as own:
                own.add([Draft(id="b", text="bread")])
                return found * 10 + own.count()

        assert in_a_child(child) == 42
        assert [memory.id for memory in store.scan().memories] == ["a", "b"]
        store.add([Draft(id="c", text="milk")])
    with open_store(settings) as store:
        assert store.count() == 3
        assert store.verify() == []


async def test_a_forked_child_makes_a_door_of_its_own(tmp_path: Path) -> None:
    settings = chosen(tmp_path / "memory.db")
    async with EnhancedMemoryStore(settings) as store:
        await store.count()

        def child() -> int:
            asyncio.events._set_running_loop(None)
            found = refused(lambda: asyncio.run(store.count()), store.sync.count)
            asyncio.run(store.close())
            return found

        assert in_a_child(child) == 2
        assert await store.count() == 0


def test_what_python_calls_in_a_child_disowns_all(tmp_path: Path) -> None:
    store, awaited = open_store(chosen(tmp_path / "memory.db")), EnhancedMemoryStore(UnifiedSettings.for_testing())
    forks.disown([store._database._connector, awaited])
    assert refused(store.count, lambda: awaited.sync) == 2
    store.close()


def test_an_anchor_that_is_reset_is_there_at_every_moment(tmp_path: Path) -> None:
    anchor = Anchor(tmp_path / "memory.db", "00" * 16, (b"k" * 32,))
    anchor.reset(Reached(7, 1))

    enough, resets, found = Event(), count(), set()

    def again() -> None:
        while not enough.is_set():
            anchor.reset(Reached(7 + next(resets) % 2, 1))

    resetting = Thread(target=again)
    resetting.start()
    try:
        # Each turn of it is seen, so that many are made while it is looked at.
        for number in (0, 1) * 25:
            while (read := anchor.read()) != Reached(7 + number, 1):
                found.add(read)
    finally:
        enough.set()
        resetting.join()
    assert found <= {Reached(7, 1), Reached(8, 1)}
    # What was noted further on is not believed any more.
    anchor.note(Reached(12, 5))
    anchor.reset(Reached(9, 3))
    assert anchor.read() == Reached(9, 3)
    assert not list(tmp_path.glob(".*"))


def test_an_anchor_that_cannot_be_written_says_what_is_in_its_place(tmp_path: Path) -> None:
    anchor = Anchor(tmp_path / "memory.db", "00" * 16, (b"k" * 32,))
    anchor.path.mkdir()
    for write in (anchor.note, anchor.reset):
        with pytest.raises(StorageError, match="move away what is in its place"):
            write(Reached(7, 1))


def test_a_new_file_that_is_taken_for_a_left_over_is_made_again(tmp_path: Path) -> None:
    taken: list[str] = []
    done = Event()

    def sweep() -> None:
        while not done.is_set():
            for left in tmp_path.iterdir():
                with suppress(OSError), left.open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    left.unlink()
                    taken.append(left.name)

    sweeping = Thread(target=sweep)
    sweeping.start()
    try:
        while not taken:
            path, descriptor = _new_beside(tmp_path / "index")
            assert path.exists()
            path.unlink()
            os.close(descriptor)
    finally:
        done.set()
        sweeping.join()
