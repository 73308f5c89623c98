"""Backups, restores, encryption of a plain database and back: in the library and on the command line."""

import fcntl
import json
import shutil
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ums_core import Draft, LocalStore, Query, UnifiedSettings, open_store, restore_store
from ums_core.channels.care import decrypt_store, encrypt_store
from ums_core.cli.app import app
from ums_core.errors import (
    DatabaseBusy,
    DatabaseEncrypted,
    DatabaseNotEncrypted,
    InvalidInput,
    NotADatabase,
    SealBroken,
    TamperSuspected,
)
from ums_core.settings import SecuritySettings
from ums_core.settings.database import url_of
from ums_core.storage.copies import checked, connector_of, database_id_of
from ums_core.storage.exclusive import check_rows
from ums_core.storage.plain import is_plain
from ums_core.testing.sealed import SEALED, SEALED_FIELDS, TEST_KEY

pytestmark = pytest.mark.needs_sqlcipher

WORDS = "the zebra crosses at dawn"


def settings(path: Path, *, sealed: bool) -> UnifiedSettings:
    return UnifiedSettings.for_testing(
        database={"url": url_of(path), "backend": "exact"},
        model={"embedder": "hashing:16", "vector_dim": 16},
        security=SEALED if sealed else {},
    )


def filled(path: Path, *, sealed: bool) -> UnifiedSettings:
    chosen = settings(path, sealed=sealed)
    with open_store(chosen) as store:
        store.add([Draft(id=f"{n}", text=f"{WORDS} {n}") for n in range(20)])
        store.delete(["19"])
        store.kv_put("c", {"k": "v"})
    return chosen


def assert_whole(store: LocalStore, count: int = 19) -> None:
    assert (store.health().status, store.count()) == ("ok", count)
    assert store.search(Query(text=f"{WORDS} 7", mode="vector", k=1))[0].memory.id == "7"
    assert store.search(Query(text="zebra", mode="keyword"))
    assert store.kv_get("c", ["k"]) == ["v"]
    assert store.verify() == []


@pytest.fixture(params=[True, False], ids=["sealed", "plain"])
def sealed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_a_backup_of_an_open_store_is_restored_elsewhere(tmp_path: Path, *, sealed: bool) -> None:
    chosen = filled(tmp_path / "here/memory.db", sealed=sealed)
    with open_store(chosen) as store:
        made = store.backup(tmp_path / "kept/backup")
        assert (made.memories, made.seq, made.sealed) == (19, store.health().seq, sealed)
        store.add([Draft(text="after the backup")])
        again = store.backup(tmp_path / "kept/backup")
        assert again.memories == 20
        store.delete([store.scan(limit=100).memories[-1].id])
        made = store.backup(tmp_path / "kept/backup")
    kept = (tmp_path / "kept/backup").read_bytes()
    assert (b"zebra" in kept) is not sealed
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {"backup"} | (
        {"backup.keys.json"} if sealed else set()
    )
    shutil.rmtree(tmp_path / "here")
    target = settings(tmp_path / "there/memory.db", sealed=sealed)
    assert restore_store(tmp_path / "kept/backup", target).memories == 19
    with open_store(target) as store:
        assert_whole(store)
        store.add([Draft(text="goes on")])


def test_a_restore_overwrites_only_when_told_to(tmp_path: Path, *, sealed: bool) -> None:
    chosen = filled(tmp_path / "memory.db", sealed=sealed)
    with open_store(chosen) as store:
        store.backup(tmp_path / "backup")
        store.add([Draft(id="later", text="after the backup")])
        with pytest.raises(InvalidInput, match="the database itself"):
            store.backup(tmp_path / "memory.db")
    with pytest.raises(InvalidInput, match="replace"):
        restore_store(tmp_path / "backup", chosen)
    with pytest.raises(InvalidInput, match="no backup"):
        restore_store(tmp_path / "none", chosen, replace=True)
    restore_store(tmp_path / "backup", chosen, replace=True)
    with open_store(chosen) as store:
        assert_whole(store)
    # Also over something that is no database any more.
    (tmp_path / "memory.db").write_bytes(b"\1" * 5000)
    restore_store(tmp_path / "backup", chosen, replace=True)
    with open_store(chosen) as store:
        assert_whole(store)


def test_nothing_is_restored_over_an_open_store(tmp_path: Path, *, sealed: bool) -> None:
    chosen = filled(tmp_path / "memory.db", sealed=sealed)
    chosen.database.busy_timeout = 0.05
    with open_store(chosen) as store:
        store.backup(tmp_path / "backup")
        store.add([Draft(id="later", text="after the backup")])
        with pytest.raises(DatabaseBusy):
            restore_store(tmp_path / "backup", chosen, replace=True)
        assert store.count() == 20


def test_a_damaged_backup_replaces_nothing(tmp_path: Path, *, sealed: bool) -> None:
    chosen = filled(tmp_path / "memory.db", sealed=sealed)
    with open_store(chosen) as store:
        store.backup(tmp_path / "backup")
    content = (tmp_path / "backup").read_bytes()
    changed = bytearray(content)
    changed[len(content) // 2 + 7] ^= 255
    before = (tmp_path / "memory.db").read_bytes()
    for damaged in (bytes(changed), content[: len(content) // 2 - 100], content[:50], b""):
        (tmp_path / "backup").write_bytes(damaged)
        if not sealed and damaged == bytes(changed):
            continue  # a plain page may hold a flipped bit and be sound: only a sealed one is proved
        with pytest.raises((SealBroken, NotADatabase)):
            restore_store(tmp_path / "backup", chosen, replace=True)
        assert (tmp_path / "memory.db").read_bytes() == before


def test_a_backup_of_the_other_kind_is_refused(tmp_path: Path) -> None:
    for name, sealed in (("s", True), ("p", False)):
        with open_store(filled(tmp_path / name / "memory.db", sealed=sealed)) as store:
            store.backup(tmp_path / name / "backup")
    with pytest.raises(DatabaseEncrypted):
        restore_store(tmp_path / "s/backup", settings(tmp_path / "new.db", sealed=False))
    with pytest.raises(DatabaseNotEncrypted):
        restore_store(tmp_path / "p/backup", settings(tmp_path / "new.db", sealed=True))
    assert not (tmp_path / "new.db").exists()


def test_a_backup_is_restored_by_the_keys_that_it_came_with(tmp_path: Path) -> None:
    """Also where those beside it are of a later backup, which was killed before it took the place of this one."""
    chosen = filled(tmp_path / "memory.db", sealed=True)
    with open_store(chosen) as store:
        store.backup(tmp_path / "backup")
        store.rotate()
        store.backup(tmp_path / "later")
    later, beside = (tmp_path / "later.keys.json").read_bytes(), tmp_path / "backup.keys.json"
    for left in (later, later[:100], None):
        if left is None:
            beside.unlink()
        else:
            beside.write_bytes(left)
        restore_store(tmp_path / "backup", chosen, replace=True)
        with open_store(chosen) as store:
            assert_whole(store)
    content = (tmp_path / "backup").read_bytes()
    (tmp_path / "backup").write_bytes(content.replace(b'"keys":"', b'"kept":"'))
    with pytest.raises(NotADatabase, match="no keys that it came with"):
        restore_store(tmp_path / "backup", chosen, replace=True)
    (tmp_path / "backup").write_bytes(content[:60] + b"}" * 100)
    with pytest.raises(SealBroken, match="header"):
        restore_store(tmp_path / "backup", chosen, replace=True)


def test_a_backup_is_named_by_a_string_too_and_by_nothing_else(tmp_path: Path) -> None:
    chosen = filled(tmp_path / "memory.db", sealed=False)
    with open_store(chosen) as store:
        assert store.backup(str(tmp_path / "backup")).path == tmp_path / "backup"
        for garbage in (None, 5, b"backup"):
            with pytest.raises(InvalidInput, match="named by a path"):
                store.backup(garbage)  # type: ignore[arg-type]  # on purpose
    assert restore_store(str(tmp_path / "backup"), chosen, replace=True).memories == 19


def test_a_backup_made_before_a_rotation_is_restored_after_it(tmp_path: Path) -> None:
    chosen = filled(tmp_path / "memory.db", sealed=True)
    with open_store(chosen) as store:
        store.backup(tmp_path / "backup")
        store.rotate()
    restore_store(tmp_path / "backup", chosen, replace=True)
    with open_store(chosen) as store:
        assert_whole(store)


def test_a_plain_database_is_encrypted_in_its_place_and_back(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    filled(path, sealed=False)
    identity = database_id_of(path)
    with path.open("rb") as before:
        seq, memories = encrypt_store(settings(path, sealed=True))
        # The inode that the plain file had holds nothing any more.
        assert set(before.read()) == {0}
    assert memories == 19
    assert not [file for file in tmp_path.iterdir() if b"zebra" in file.read_bytes()]
    with pytest.raises(DatabaseEncrypted):
        open_store(settings(path, sealed=False))
    with open_store(settings(path, sealed=True)) as store:
        assert_whole(store)
        assert store.health().seq == seq
        assert store._database.database_id == identity
        store.add([Draft(id="more", text="more")])
    with pytest.raises(InvalidInput, match="no plain database"):
        encrypt_store(settings(path, sealed=True))
    assert decrypt_store(settings(path, sealed=True))[1] == 20
    with open_store(settings(path, sealed=False)) as store:
        assert_whole(store, 20)
    with pytest.raises(InvalidInput, match="not sealed"):
        decrypt_store(settings(path, sealed=True))
    assert encrypt_store(settings(path, sealed=True))[1] == 20


def test_an_encryption_that_was_cut_off_is_done_by_the_next_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "memory.db"
    filled(path, sealed=False)

    def fail(*_: object) -> None:
        raise InterruptedError

    for step in ("replace_durably", "check_pages"):
        with monkeypatch.context() as patched:
            patched.setattr(f"ums_core.storage.exclusive.{step}", fail)
            with pytest.raises(InterruptedError):
                encrypt_store(settings(path, sealed=True))
        assert is_plain(path)
        assert not list(tmp_path.glob(".*"))
    encrypt_store(settings(path, sealed=True))
    with monkeypatch.context() as patched:
        patched.setattr("ums_core.crypto.envelope.Envelope.destroy", fail)
        with pytest.raises(InterruptedError):
            decrypt_store(settings(path, sealed=True))
    # The file is plain, as the settings ask for, though its former keys are still there.
    with open_store(settings(path, sealed=False)) as store:
        assert_whole(store)
    assert decrypt_store(settings(path, sealed=True))[1] == 19
    with open_store(settings(path, sealed=False)) as store:
        assert_whole(store)


def test_a_decryption_that_was_cut_off_leaves_what_it_was_and_no_suspicion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind, security in (("pages", SEALED), ("fields", SEALED_FIELDS)):
        path = tmp_path / kind / "memory.db"
        chosen = settings(path, sealed=True).model_copy(update={"security": SecuritySettings.model_validate(security)})
        with open_store(chosen) as store:
            store.add([Draft(text="zebra")])

        def killed(*_: object) -> None:
            raise InterruptedError

        with monkeypatch.context() as patched:
            patched.setattr("ums_core.storage.exclusive.check_rows", killed)
            with pytest.raises(InterruptedError):
                decrypt_store(chosen)
        # As a killed process leaves it: nobody holds it. What somebody holds stays.
        left, held = (path.with_name(f".memory.db.copy.tmp{suffix}") for suffix in ("", "-wal"))
        left.write_text("zebra")
        held.write_text("zebra")
        with left.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            with open_store(chosen) as store:
                assert (store.health().status, store.count()) == ("ok", 1)
            assert left.exists()
            with pytest.raises(DatabaseBusy):
                decrypt_store(chosen)
        with open_store(chosen) as store:
            assert store.health().status == "ok"
        assert not list(path.parent.glob(".*"))
        left.symlink_to(path)
        assert decrypt_store(chosen)[1] == 1
        assert path.stat().st_size


def test_a_database_that_is_not_the_one_that_was_left_is_not_decrypted(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    filled(path, sealed=True)
    former = path.read_bytes()
    with open_store(settings(path, sealed=True)) as store:
        store.add([Draft(text="more")])
    path.write_bytes(former)
    with pytest.raises(TamperSuspected):
        decrypt_store(settings(path, sealed=True))
    with open_store(settings(path, sealed=True)) as store:
        store.accept_state()
    assert decrypt_store(settings(path, sealed=True))[1] == 19


def test_a_copy_that_lost_a_row_is_noticed(tmp_path: Path) -> None:
    whole, less = tmp_path / "whole.db", tmp_path / "less.db"
    filled(whole, sealed=False)
    shutil.copy(whole, less)
    with (
        closing(connector_of(whole, None).open(writable=False)) as original,
        closing(connector_of(less, None).open(writable=True)) as copy,
    ):
        check_rows(original, copy, less)
        copy.execute("DELETE FROM kv")
        with pytest.raises(NotADatabase, match="kv"):
            check_rows(original, copy, less)


def test_what_cannot_be_encrypted_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no key"):
        encrypt_store(settings(tmp_path / "memory.db", sealed=False))
    with pytest.raises(InvalidInput, match="no database"):
        database_id_of(tmp_path / "memory.db")
    with pytest.raises(NotADatabase, match="empty"):
        checked(tmp_path / "memory.db", None)


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in {
        "AI_MODEL__EMBEDDER": "hashing:16", "AI_MODEL__VECTOR_DIM": "16", "AI_DATABASE__BACKEND": "exact",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    filled(tmp_path / "memory.db", sealed=False)
    return tmp_path / "memory.db"


def ums(path: Path, *arguments: str, key: bool = True) -> Result:
    given = {"AI_SECURITY__ENCRYPTION_KEY": TEST_KEY, "AI_SECURITY__ENCRYPT_AT_REST": "true"} if key else {}
    return CliRunner().invoke(app, ["--db", str(path), "db", *arguments], env=given)


def test_a_database_goes_through_its_life_on_the_command_line(line: Path) -> None:
    assert ums(line, "encrypt").exit_code == 0
    told = ums(line, "info", "--json")
    assert json.loads(told.stdout)["encryption"] == "pages"
    assert "active key" in ums(line, "info").stdout
    assert ums(line, "backup", "kept").exit_code == 0
    assert json.loads(ums(line, "erase", "7").stdout)["ids"] == ["7"]
    assert ums(line, "erase", "8", "9", "--receipt", "receipt.json").exit_code == 0
    assert ums(line, "verify", "--receipt", "receipt.json").exit_code == 0
    assert ums(line, "verify").exit_code == 0
    assert ums(line, "restore", "kept").exit_code == 2
    assert ums(line, "restore", "kept", "--replace").exit_code == 0
    told = ums(line, "verify", "--receipt", "receipt.json", "--json")
    assert told.exit_code == 1
    assert "still holds" in json.loads(told.stdout)[0]
    nowhere = ums(line, "erase", "6", "--receipt", "nowhere/receipt.json")
    assert (nowhere.exit_code, "cannot be written into nowhere" in nowhere.stderr) == (2, True)
    full = ums(line, "erase", "6", "--receipt", "/dev/full")
    assert (full.exit_code, json.loads(full.stdout)["ids"]) == (2, ["6"])
    (line.parent / "receipt.json").write_text("{")
    assert ums(line, "verify", "--receipt", "receipt.json").exit_code == 2
    assert ums(line, "decrypt").exit_code == 0
    assert "none" in ums(line, "info", key=False).stdout
    assert ums(line, "backup", "plain", key=False).exit_code == 0
    assert ums(line, "info", key=True).exit_code == 1
