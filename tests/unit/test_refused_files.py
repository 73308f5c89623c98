"""What is no database, or none for this version, is refused and left as it is."""

import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ums_core.errors import DatabaseTooNew, DirectoryNotWritable, NotADatabase
from ums_core.testing.workload import Place


def test_a_directory_below_a_file_is_not_writable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    for path in (tmp_path / "file" / "memory.db", tmp_path / "file" / "deeper" / "memory.db"):
        with pytest.raises(DirectoryNotWritable, match="AI_DATABASE__URL"):
            Place(str(path)).open()
    assert isinstance(DirectoryNotWritable("x"), PermissionError)


def test_a_directory_in_the_place_of_the_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "memory.db").mkdir()
    with pytest.raises(DirectoryNotWritable, match="name a file"):
        Place(str(tmp_path / "memory.db")).open()


@pytest.mark.parametrize("wholly", [True, False])
def test_a_directory_without_permission_is_not_writable(*, wholly: bool) -> None:
    """Permissions do not bind root, so as root it is somebody else who tries, or root in the guise of somebody else."""
    with TemporaryDirectory() as above:
        Path(above).chmod(0o755)
        closed = Path(above) / "closed"
        closed.mkdir(mode=0o500)
        mine, nobody = os.geteuid(), 65_534
        if not mine:
            os.chown(closed, nobody, nobody)
            os.setresuid(nobody if wholly else mine, nobody, mine)
        try:
            with pytest.raises(DirectoryNotWritable):
                Place(str(closed / "memory.db")).open()
        finally:
            os.setresuid(mine, mine, mine)


def _garbage(path: Path) -> None:
    path.write_bytes(random.Random(0).randbytes(20_000))


def _prose(path: Path) -> None:
    path.write_text("Dear diary, this is not a database.")


def _other_program(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE memories (rid INTEGER PRIMARY KEY, text TEXT)")
    connection.execute("INSERT INTO memories VALUES (1, 'mine')")
    connection.commit()
    connection.close()


def _other_program_in_wal_mode(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    _other_program(path)


@pytest.mark.parametrize("make", [_garbage, _prose, _other_program, _other_program_in_wal_mode])
def test_a_file_of_another_program_is_refused_and_left_as_it_is(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "memory.db"
    make(path)
    before = _bytes_in(tmp_path)
    with pytest.raises(NotADatabase, match=r"memory\.db"):
        Place(str(path)).open()
    assert _bytes_in(tmp_path) == before


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "killed"])
def test_a_database_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path: Path, *, closed: bool) -> None:
    place = Place(str(tmp_path / "work" / "memory.db"), checkpoint_writes=100_000)
    with place.open() as store:
        store.add([place.draft(f"a-{number}", 0) for number in range(20)])
    connection = sqlite3.connect(place.path)
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute("PRAGMA user_version=99")
    left = tmp_path / "left"
    if closed:
        connection.close()
    shutil.copytree(tmp_path / "work", left, ignore=shutil.ignore_patterns("*-shm"))
    connection.close()
    before = _bytes_in(left)
    with pytest.raises(DatabaseTooNew, match="99"):
        replace(place, path=str(left / "memory.db")).open()
    assert {name: data for name, data in _bytes_in(left).items() if not name.endswith("-shm")} == before


def _bytes_in(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}
