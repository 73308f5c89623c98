"""What a damaged page, a reader that stays and another process do to a database: what is said of it, or waited for."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock

from ums_core import Draft, EnhancedMemoryStore, Query, UnifiedSettings, open_store
from ums_core.errors import NotADatabase


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
    with open_store(chosen(path)) as store, pytest.raises(NotADatabase, match="damaged"):
        store.get(["a"])


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
