"""The bytes of a file are read without a descriptor being closed while SQLite may hold locks on it."""

import os
from pathlib import Path

from ums_core.storage import raw


class Owner:
    """Somebody who has the database open."""


def open_files(path: Path) -> int:
    """How many descriptors this process has of a file."""
    mine = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
    return mine.count(str(path))


def test_a_file_is_read_in_blocks_and_closed_where_nobody_has_it_open(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    assert list(raw.blocks(path, 4)) == []
    path.write_bytes(b"0123456789")
    assert list(raw.blocks(path, 4)) == [b"0123", b"4567", b"89"]
    assert open_files(path) == 0


def test_while_a_database_is_open_its_files_stay_open_once_each_and_go_with_the_last_owner(tmp_path: Path) -> None:
    path, log, other = (tmp_path / name for name in ("memory.db", "memory.db-wal", "memory.db.txt"))
    for file in (path, log, other):
        file.write_bytes(b"0123")
    first, second = Owner(), Owner()
    let_go = raw.hold(first, path)
    raw.hold(second, tmp_path / "." / "memory.db")
    for _ in range(3):
        assert [list(raw.blocks(file, 9)) for file in (path, log, other)] == [[b"0123"]] * 3
    assert [open_files(file) for file in (path, log, other)] == [1, 1, 0]
    let_go()
    let_go()
    assert open_files(path) == 1
    del second
    assert [open_files(file) for file in (path, log)] == [0, 0]


def test_a_file_that_was_replaced_is_read_anew_and_one_that_lost_its_name_is_closed(tmp_path: Path) -> None:
    path, owner = tmp_path / "memory.db", Owner()
    path.write_bytes(b"old")
    let_go = raw.hold(owner, path)
    assert list(raw.blocks(path, 9)) == [b"old"]
    reading = raw.blocks(path, 1)
    assert next(reading) == b"o"
    path.unlink()
    path.write_bytes(b"new")
    assert list(reading) == [b"l", b"d"]
    assert list(raw.blocks(path, 9)) == [b"new"]
    let_go()
    assert open_files(path) == 0


def test_an_owner_may_be_collected_at_any_moment(tmp_path: Path) -> None:
    path, owner = tmp_path / "memory.db", Owner()
    path.write_bytes(b"0123")
    raw.hold(owner, path)
    assert list(raw.blocks(path, 9)) == [b"0123"]
    # As when the garbage collector runs in the thread that looks after the files.
    with raw._guard:
        del owner
    assert open_files(path) == 1
    assert list(raw.blocks(path, 9)) == [b"0123"]
    assert open_files(path) == 0
