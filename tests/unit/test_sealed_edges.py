"""What hardly ever happens to a sealed store: others that hold it, files that lie, and steps that come too late."""

import fcntl
import os
import random
import sys
import threading
import time
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from traceback import extract_stack
from typing import Any

import pytest
from filelock import FileLock

from ums_core import Draft, LocalStore, Query, UnifiedSettings, open_store
from ums_core.channels.upkeep import ring_of
from ums_core.crypto import DataKey, Fields, Files, envelope_path
from ums_core.errors import DatabaseBusy, InvalidInput, NotADatabase, SealBroken, StorageError, WrongKey
from ums_core.index.snapshot import Section, read, write
from ums_core.ports.sealed import Sealing
from ums_core.settings.database import url_of
from ums_core.storage.anchor import Reached, digest_of_file, digest_of_pages, former_digest_of_file
from ums_core.storage.connect import load_driver
from ums_core.storage.copies import checked, connector_of
from ums_core.storage.exclusive import alone, check_alone, check_pages, rekey
from ums_core.storage.files import copy_path, temporary
from ums_core.testing.sealed import SEALED, SEALED_FIELDS

pytestmark = pytest.mark.needs_sqlcipher

SEAL = Files(DataKey(bytes(range(32)), database_id="d" * 32, key_id="e" * 16))


def settings(place: Path, security: dict[str, object] = SEALED) -> UnifiedSettings:
    return UnifiedSettings.for_testing(
        database={"url": url_of(place / "memory.db"), "backend": "exact"},
        model={"embedder": "hashing:16", "vector_dim": 16},
        security=security,
    )


def test_a_journal_left_beside_a_sealed_database_is_taken_back(tmp_path: Path) -> None:
    with open_store(settings(tmp_path)) as store:
        store.add([Draft(text="kept")])
    (tmp_path / "memory.db-journal").write_bytes(b"no journal at all" * 100)
    with open_store(settings(tmp_path)) as store:
        assert (store.health().status, store.count()) == ("ok", 1)


def test_a_reader_waits_while_no_connection_may_be_open(tmp_path: Path) -> None:
    with open_store(settings(tmp_path)) as store:
        store.add([Draft(text="kept")])
        counted: list[int] = []
        reader = threading.Thread(target=lambda: counted.append(store.count()))
        with store._database.let_go():
            reader.start()
            reader.join(0.1)
            assert (reader.is_alive(), counted) == (True, [])
        reader.join(10)
        assert counted == [1]


def test_a_reader_that_cannot_be_opened_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_store(settings(tmp_path)) as store:
        connector = store._database._connector
        with connector.paused():
            pass
        with monkeypatch.context() as broken:
            broken.setattr(connector, "setup", lambda _: Path("/nowhere").stat())
            with pytest.raises(FileNotFoundError):
                store.count()
        with connector.paused():
            pass
        assert store.count() == 0


def test_a_lock_that_somebody_holds_is_waited_for_and_then_said(tmp_path: Path) -> None:
    with FileLock(tmp_path / "memory.db.lock"):
        with pytest.raises(DatabaseBusy, match="another process"), alone(tmp_path / "memory.db", 0.05, certainly=True):
            pass
        with alone(tmp_path / "memory.db", 0.05):
            pass
    with pytest.raises(DatabaseBusy):
        check_alone("wal", tmp_path / "memory.db")


def test_a_file_without_tables_is_no_backup(tmp_path: Path) -> None:
    connection = load_driver().connect(str(tmp_path / "empty.db"))
    connection.execute("PRAGMA user_version=1")
    connection.close()
    with pytest.raises(NotADatabase, match="empty"):
        checked(tmp_path / "empty.db", None)


def test_rows_that_break_their_table_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "odd.db"
    connection = load_driver().connect(str(path), isolation_level=None)
    connection.execute("CREATE TABLE t (x)")
    connection.execute("INSERT INTO t VALUES (NULL)")
    connection.execute("PRAGMA writable_schema=ON")
    connection.execute("UPDATE sqlite_master SET sql = 'CREATE TABLE t (x NOT NULL)'")
    connection.close()
    connector_of(path, None).peek(_whole)
    with pytest.raises(NotADatabase, match="NULL value in"):
        connector_of(path, None).peek(lambda connection: check_pages(connection, path))


def test_a_look_at_a_file_that_is_written_to_meanwhile_is_taken_again(tmp_path: Path) -> None:
    path, plain = tmp_path / "memory.db", settings(tmp_path, {})
    with open_store(plain) as store:
        store.add([Draft(id=f"{n}", text=f"zebra {n}") for n in range(100)])
    writing = open_store(plain)
    found: list[str] = []

    def look(connection: Any) -> None:  # noqa: ANN401  # of either driver
        connection.execute("BEGIN")
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if not writing.closed:
            writing.delete([f"{n}" for n in range(100)])
            writing.add([Draft(text=f"crane {n} " * 50) for n in range(200)])
            # Folds all that into the file, and no lock keeps it from that.
            writing.close()
        try:
            check_pages(connection, path)
        except load_driver().DatabaseError:
            found.append("torn")
            raise
        found.append("whole")

    connector_of(path, None).peek(look)
    assert found == ["torn", "whole"]


def test_a_look_at_what_never_rests_ends_with_what_it_saw(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    open_store(settings(tmp_path, {})).close()
    connector = connector_of(path, None)
    connector.wait_s = 0.1
    looks: list[object] = []

    def look(connection: object) -> None:
        looks.append(connection)
        os.utime(path, ns=(len(looks), len(looks)))
        raise StorageError("torn")

    with pytest.raises(StorageError, match="torn"):
        connector.peek(look)
    assert len(looks) > 1


def _whole(connection: object) -> None:
    assert connection is not None


def test_keys_that_somebody_else_made_first_are_taken(tmp_path: Path) -> None:
    opened: list[LocalStore] = []
    threads = [threading.Thread(target=lambda: opened.append(open_store(settings(tmp_path)))) for _ in range(2)]

    def waiting() -> int:
        stacks = [sys._current_frames().get(thread.ident or 0) for thread in threads]
        return sum(any(frame.name == "locked" for frame in extract_stack(stack)) for stack in stacks if stack)

    # Both found no keys, and both are about to make some.
    with FileLock(f"{envelope_path(tmp_path / 'memory.db')}.lock"):
        for thread in threads:
            thread.start()
        while waiting() < 2:
            time.sleep(0.001)
    for thread in threads:
        thread.join()
    first, second = opened
    with first, second:
        first.add([Draft(id="a", text="kept")])
        assert second.count() == 1
        assert first.key_state().active == second.key_state().active


def test_a_guard_without_an_anchor_has_nothing_to_write(tmp_path: Path) -> None:
    with open_store(settings(tmp_path, {})) as store:
        store._database.guard.rekeyed(Sealing(database_id="d" * 32))
        store._database.guard.disturbed()
        assert store._database.guard.newer_key() is None
        store.accept_state()
        assert store.health().status == "ok"
    assert not list(tmp_path.glob("*.anchor"))


def test_a_backup_that_reads_back_otherwise_replaces_no_older_one(tmp_path: Path) -> None:
    kept = tmp_path / "kept"

    def disturb(_done: int, _total: int) -> None:
        # Somebody changes the copy that was just sealed.
        copy = copy_path(kept / "backup")
        copy.write_bytes(bytes(copy.stat().st_size))

    with open_store(settings(tmp_path)) as store:
        store.backup(kept / "backup")
        before = (kept / "backup").read_bytes()
        with pytest.raises(SealBroken, match="nothing was replaced"):
            store.backup(kept / "backup", progress=disturb)
    assert (kept / "backup").read_bytes() == before
    assert {path.name for path in kept.iterdir()} == {"backup", "backup.keys.json"}


def test_a_sealed_snapshot_of_other_sizes_than_it_says_is_not_written_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "index"
    short = Section("vectors", 9, lambda sink: sink(b"12345678"))
    with pytest.raises(ValueError, match="9 bytes were announced"):
        write(path, {"dim": 2}, [short], SEAL)
    assert list(tmp_path.iterdir()) == []
    for size in (7, 9):
        with path.open("wb") as file:
            writer = SEAL.writer(file, {"dim": 2, "sections": [["vectors", size]]})
            writer.write(b"12345678")
            writer.close()
        assert read(path, {"dim": 2}, SEAL) is None
    write(path, {"dim": 2}, [Section("vectors", 8, lambda sink: sink(b"12345678"))], SEAL)
    snapshot = read(path, {"dim": 2}, SEAL)
    assert snapshot is not None
    assert bytes(snapshot.sections["vectors"]) == b"12345678"
    assert read(path, {"dim": 3}, SEAL) is None
    # Nor is one kind ever read as the other.
    assert read(path, {"dim": 2}) is None
    write(path, {"dim": 2}, [Section("vectors", 8, lambda sink: sink(b"12345678"))])
    assert read(path, {"dim": 2}, SEAL) is None


def fields() -> Fields:
    return Fields("d" * 32, lambda: [DataKey(bytes(range(32)), database_id="d" * 32, key_id="e" * 16)])


@pytest.mark.parametrize("size", [0, 1, 512 << 10, (5 << 20) + 7])
def test_the_digest_of_a_file_tells_of_every_byte_and_needs_the_key(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    content = bytearray(random.Random(size).randbytes(size))
    path.write_bytes(content)
    hasher = fields().hasher
    digest = digest_of_file(path, b"k" * 32, hasher)
    assert digest == digest_of_file(path, b"k" * 32, fields().hasher)
    others = {digest, digest_of_file(path, b"l" * 32, hasher)}
    for place in {place for place in (0, size // 2, size - 1) if 0 <= place < size}:
        content[place] ^= 1
        path.write_bytes(content)
        others.add(digest_of_file(path, b"k" * 32, hasher))
        content[place] ^= 1
    path.write_bytes(content + b"\0")
    others.add(digest_of_file(path, b"k" * 32, hasher))
    assert len(others) == min(size, 3) + 3


def test_an_anchor_from_before_digests_were_keyed_still_tells_the_truth(tmp_path: Path) -> None:
    with open_store(settings(tmp_path, SEALED_FIELDS)) as store:
        store.add([Draft(id="a", text="kept")])
    path = tmp_path / "memory.db"
    with open_store(settings(tmp_path, SEALED_FIELDS)) as store:
        anchor = store._database.guard.anchor
    assert anchor is not None
    kept = anchor.read()
    assert kept is not None
    for digest, detail in ((former_digest_of_file(path), ()), (b"x" * 32, ("was changed while nobody had it open",))):
        anchor.note(Reached(kept.seq, kept.mark, digest))
        with open_store(settings(tmp_path, SEALED_FIELDS)) as store:
            assert store.health().detail == detail


def test_rows_that_a_search_opens_are_right_whether_remembered_or_not(tmp_path: Path) -> None:
    with open_store(settings(tmp_path, SEALED_FIELDS)) as store:
        long = "word " * 2000
        store.add([Draft(id="short", text="zebra"), Draft(id="long", text=f"zebra {long}", tags=("t",), speaker="Ana")])
        for _ in range(2):
            hits = {hit.memory.id: hit.memory for hit in store.search(Query(text="zebra"))}
            assert (hits["short"].text, hits["short"].speaker) == ("zebra", None)
            assert (hits["long"].text, hits["long"].tags, hits["long"].speaker) == (f"zebra {long}", ("t",), "Ana")
        store.add([Draft(id="short", text="zebra crossing")])
        assert {hit.memory.text[:14] for hit in store.search(Query(text="zebra"))} == {
            "zebra crossing",
            "zebra word wor",
        }
        for put in (
            "text = (SELECT text FROM memories WHERE id = 'long')",
            "text = 'zebra'",
            "speaker = 7",
            "id = CAST('other' AS BLOB)",
        ):
            with closing(load_driver().connect(str(tmp_path / "memory.db"))) as other, other:
                other.execute("CREATE TEMP TABLE kept AS SELECT * FROM memories")
                other.execute(f"UPDATE memories SET {put} WHERE id = 'short'")
                other.commit()
                with pytest.raises(SealBroken, match="does not open"):
                    store.search(Query(text="zebra"))
                other.execute("DELETE FROM memories")
                other.execute("INSERT INTO memories SELECT * FROM kept")
        assert len(store.search(Query(text="zebra"))) == 2


@pytest.mark.parametrize(("security", "rows"), [(SEALED_FIELDS, 1200), (SEALED, 0), ({}, 0)])
def test_verifying_tells_how_far_it_is(tmp_path: Path, security: dict[str, object], rows: int) -> None:
    told: list[tuple[int, int]] = []
    with open_store(settings(tmp_path, security)) as store:
        store.add([Draft(text=f"number {number}") for number in range(600)])
        assert store.verify(progress=lambda done, total: told.append((done, total))) == []
        with pytest.raises(InvalidInput):
            store.verify(progress="loudly")  # type: ignore[arg-type]  # what is no callback
    # A row and a passage for each memory, what the database keeps for itself, and the comparison of the indexes.
    (total,) = {total for _, total in told}
    assert total > rows if rows else total == 1
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert (told[0][0], told[-1][0]) == (1, total)


@pytest.mark.parametrize("size", [4096, (5 << 20) + 4096 + 7])
def test_the_digest_of_pages_is_that_of_their_ends(tmp_path: Path, size: int) -> None:
    content = random.Random(size).randbytes(size)
    (tmp_path / "file").write_bytes(content)
    ends = b"".join(content[end - 64 : end] for end in range(4096, size + 1, 4096))
    assert digest_of_pages(tmp_path / "file") == sha256(ends + content[:16] + size.to_bytes(8, "little")).digest()


def test_a_store_finds_the_key_that_was_exchanged_while_it_had_let_go(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    with open_store(chosen) as store, open_store(chosen) as other:
        store.add([Draft(id="a", text="kept")])
        with other._database.let_go():
            key = store.rotate().active
        # Nobody has promoted that key in vain, nor does anybody promote it again.
        ring_of(other._database).promote("f" * 16)  # type: ignore[union-attr]  # sealed
        other.add([Draft(id="b", text="more")])
        for each in (store, other):
            assert (each.count(), each.health().status) == (2, "ok")
        assert (other.key_state().active, other.key_state().pending) == (key, None)
    with open_store(chosen) as store:
        assert (store.count(), store.health().status) == (2, "ok")


def test_a_rotation_leaves_a_file_alone_whose_key_another_process_exchanges(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    with open_store(chosen) as store:
        store.add([Draft(id="a", text="kept")])
        database = store._database
        with database.let_go() as connector, pytest.raises(DatabaseBusy, match="another process exchanged"):
            rekey(connector, bytes(32), lambda: False)
        own, connector._page_key = connector._page_key, bytes(32)
        with pytest.raises(DatabaseBusy, match="another process exchanges"):
            store.rotate()
        # As long as no key fits, nothing is written; then the same store goes on.
        with pytest.raises(WrongKey):
            store.add([Draft(id="b", text="more")])
        connector._page_key = own
        store.add([Draft(id="b", text="more")])
        assert store.rotate().former == ()
        # Closed, though the connection that writes could not be opened again.
        own, connector._page_key = connector._page_key, bytes(32)
        with database.let_go():
            pass
        connector._page_key = own
    with open_store(chosen) as store:
        assert store.count() == 2


def test_a_copy_that_was_taken_for_a_left_over_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "memory.db"

    def late(descriptor: int, how: int) -> None:
        copy_path(path).unlink()
        lock(descriptor, how)

    lock = fcntl.flock
    monkeypatch.setattr("ums_core.storage.files.fcntl.flock", late)
    with pytest.raises(DatabaseBusy, match="left-over"), temporary(path):
        pass
    monkeypatch.undo()
    with temporary(path) as copy:
        assert copy.exists()
    assert not copy.exists()
