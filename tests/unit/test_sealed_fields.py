"""Field mode: what is sealed and bound to its place, and what stays right."""

import shutil
import sqlite3
from base64 import urlsafe_b64encode
from pathlib import Path

import numpy as np
import pytest
from sealed_samples import (
    SECRET,
    WORDS,
    assert_silent,
    assert_whole,
    bare,
    draft,
    envelope_of,
    filled,
    opened,
    settings,
)

from ums_core import Patch, Query, open_store, restore_store
from ums_core.channels.care import decrypt_store, encrypt_store
from ums_core.crypto import DataKey, Fields
from ums_core.errors import (
    DatabaseEncrypted,
    DatabaseNotEncrypted,
    InvalidInput,
    KeyMissing,
    SealBroken,
    StorageError,
    TamperSuspected,
    UMSError,
)
from ums_core.storage.complaint import explain
from ums_core.storage.sealed_columns import READABLE, SEALED
from ums_core.testing.sealed import SEALED as PAGES
from ums_core.testing.sealed import SEALED_FIELDS

pytestmark = pytest.mark.needs_sqlcipher


def test_everything_is_found_and_nothing_is_readable(tmp_path: Path) -> None:
    filled(tmp_path)
    with opened(tmp_path) as store:
        assert_whole(store)
        assert (store.health().encryption, store.key_state().mode) == ("fields", "fields")
        store.update([Patch(id="3", namespace=("u", "1"), changes={"text": "no longer"})])
        store.delete(["5"], namespace=("u", "1"))
        assert store.search(Query(text="longer", mode="keyword"))[0].memory.id == "3"
        assert len(store.search(Query(text="zebra", mode="keyword", k=100))) == 10
        assert store.kv_delete("c", ["k", "none"]) == 1
        receipt = store.erase(["7"], namespace=("u", "1"))
        assert store.verify_erased(receipt) == []
    assert_silent(tmp_path)


def test_a_plain_store_gives_the_same_words_away(tmp_path: Path) -> None:
    """Control of what the test above looks for."""
    filled(tmp_path, {})
    content = (tmp_path / "memory.db").read_bytes()
    assert all(word in content for word in SECRET)


def test_a_text_is_a_fernet_token_that_holds_its_place(tmp_path: Path) -> None:
    from cryptography.fernet import Fernet  # noqa: PLC0415  # optional

    filled(tmp_path)
    key = envelope_of(tmp_path).active
    with bare(tmp_path) as connection:
        (value,) = connection.execute("SELECT text FROM memories WHERE id = '7'").fetchone()
    assert (value[:1], value[1:9].hex()) == (b"F", key.key_id)
    content = Fernet(urlsafe_b64encode(key.derive("texts"))).decrypt(value[9:])
    assert content[32:] == f"{WORDS} 7".encode()


def test_every_column_that_may_hold_words_is_sealed_or_said_to_be_readable(tmp_path: Path) -> None:
    filled(tmp_path)
    with bare(tmp_path) as connection:
        tables = connection.execute(
            "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT GLOB 'sqlite_*'"
        ).fetchall()
        columns = {
            f"{table}.{row[1]}": row[2]
            for (table,) in tables
            for row in connection.execute(f"PRAGMA table_info({table})")
        }
        sealed = {f"{table.name}.{column}" for table in SEALED for column in table.columns}
        wordy = {name for name, kind in columns.items() if kind not in {"INTEGER", "REAL"}}
        assert wordy == sealed | set(READABLE)
        assert not sealed & set(READABLE)
        for table in SEALED:
            rows = connection.execute(f"SELECT {', '.join(table.columns)} FROM {table.name}").fetchall()
            assert {value[:1] for row in rows for value in row if value is not None} <= {b"F", b"G"}


# What somebody may do to a file with sealed fields, and what reads it afterwards.
MOVES = {
    "a text of another memory": "UPDATE memories SET text = (SELECT text FROM memories WHERE id = '2') WHERE id = '4'",
    "a speaker as metadata": "UPDATE memories SET metadata = speaker WHERE id = '4'",
    "plain text": "UPDATE memories SET text = 'Yes, do it' WHERE id = '4'",
    "plain bytes": "UPDATE memories SET text = CAST('Yes, do it' AS BLOB) WHERE id = '4'",
    "nothing": "UPDATE memories SET text = x'' WHERE id = '4'",
    "cut": "UPDATE memories SET speaker = substr(speaker, 1, 12) WHERE id = '4'",
    "another id": "UPDATE memories SET id = '44' WHERE id = '4'",
    "another namespace": "UPDATE namespaces SET path = 'other/' WHERE path = 'u/0/'",
    "another row": "UPDATE memories SET rid = 99, birth = 99 WHERE id = '4'",
    "no such key": "UPDATE memories SET text = (SELECT replace(text, substr(text, 2, 8), 'no-a-key')) WHERE id = '4'",
}


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_a_value_opens_in_its_own_place_alone(tmp_path: Path, move: str) -> None:
    filled(tmp_path)
    with bare(tmp_path) as connection:
        connection.execute(move)
    with opened(tmp_path) as store:
        assert "changed while nobody had it open" in store.health().detail[0]
        with pytest.raises((SealBroken, KeyMissing)) as raised:
            store.scan(limit=100)
        assert raised.value.code in {"seal_broken", "key_missing"}
        with pytest.raises(TamperSuspected):
            store.add([draft(100)])
        store.accept_state()
        assert any("does not open" in said or "which is not among" in said for said in store.verify())


def test_a_vector_opens_in_its_own_place_alone(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / "memory.db.text.index").unlink()
    with bare(tmp_path) as connection:
        connection.execute("UPDATE passages SET vector = (SELECT vector FROM passages LIMIT 1)")
    with pytest.raises(SealBroken, match="passage"), opened(tmp_path):
        pass


def test_a_kind_is_never_opened_as_another(tmp_path: Path) -> None:
    for name, security in {"fields": SEALED_FIELDS, "pages": PAGES, "plain": {}}.items():
        filled(tmp_path / name, security)
    for name, security, error in (
        ("fields", {}, DatabaseEncrypted),
        ("fields", PAGES, DatabaseNotEncrypted),
        ("pages", SEALED_FIELDS, DatabaseEncrypted),
        ("plain", SEALED_FIELDS, DatabaseNotEncrypted),
    ):
        with pytest.raises(error):
            opened(tmp_path / name, security)
    shutil.copy(tmp_path / "fields/memory.db.keys.json", tmp_path / "plain")
    with pytest.raises(UMSError):
        opened(tmp_path / "plain")
    (tmp_path / "fields/memory.db.keys.json").unlink()
    with pytest.raises(KeyMissing):
        opened(tmp_path / "fields")
    with pytest.raises(DatabaseEncrypted, match="field by field"):
        opened(tmp_path / "fields", {})


def test_an_older_copy_and_a_lost_anchor_are_noticed(tmp_path: Path) -> None:
    filled(tmp_path / "now")
    shutil.copytree(tmp_path / "now", tmp_path / "then")
    with opened(tmp_path / "now") as store:
        store.add([draft(20)])
    shutil.copy(tmp_path / "then/memory.db", tmp_path / "now")
    with opened(tmp_path / "now") as store:
        assert "older copy" in store.health().detail[0]
        store.accept_state()
        store.add([draft(21)])
    (tmp_path / "now/memory.db.anchor").unlink()
    with bare(tmp_path / "now") as connection:
        connection.execute("DELETE FROM meta WHERE key = 'anchored'")
    with opened(tmp_path / "now") as store:
        assert "lost its anchor" in store.health().detail[0]


def test_a_plain_database_is_sealed_field_by_field_and_back(tmp_path: Path) -> None:
    filled(tmp_path, {})
    with (tmp_path / "memory.db").open("rb") as before:
        assert encrypt_store(settings(tmp_path))[1] == 12
        assert set(before.read()) == {0}
    assert_silent(tmp_path)
    with pytest.raises(InvalidInput, match="no plain database"):
        encrypt_store(settings(tmp_path))
    with opened(tmp_path) as store:
        assert_whole(store)
        store.add([draft(12)])
        store.delete(["12"], namespace=("u", "0"))
    assert decrypt_store(settings(tmp_path))[1] == 12
    assert {path.name for path in tmp_path.iterdir()} == {"memory.db", "memory.db.lock", "memory.db.keys.json.lock"}
    with opened(tmp_path, {}) as store:
        assert_whole(store)


def test_a_sealing_that_was_cut_off_leaves_the_plain_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path, {})
    with monkeypatch.context() as patched:
        patched.setattr("ums_core.storage.refit.fill_terms", _interrupted)
        with pytest.raises(InterruptedError):
            encrypt_store(settings(tmp_path))
        patched.setattr("ums_core.storage.refit._copying", _interrupted)
        with pytest.raises(InterruptedError):
            encrypt_store(settings(tmp_path))
    assert not list(tmp_path.glob(".*"))
    assert encrypt_store(settings(tmp_path))[1] == 12


def _interrupted(*_: object, **__: object) -> str:
    raise InterruptedError


def test_a_backup_is_sealed_and_restored(tmp_path: Path) -> None:
    filled(tmp_path / "here")
    with opened(tmp_path / "here") as store:
        assert store.backup(tmp_path / "kept" / "backup").sealed
        store.rotate()
    assert_silent(tmp_path / "kept")
    chosen = settings(tmp_path / "there")
    assert restore_store(tmp_path / "kept/backup", chosen).memories == 12
    with open_store(chosen) as store:
        assert_whole(store)


@pytest.fixture
def fields() -> Fields:
    key = DataKey(bytes(range(32)), database_id="ab" * 16, key_id="cd" * 8)
    return Fields("ab" * 16, lambda: [key])


@pytest.mark.parametrize("text", [True, False])
def test_no_byte_of_a_sealed_value_can_be_changed(fields: Fields, *, text: bool) -> None:
    sealed = fields.seal("cd" * 8, b"here", b"zebra", text=text)
    assert fields.open(b"here", sealed) == b"zebra"
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises((SealBroken, KeyMissing)):
            fields.open(b"here", bytes(changed))
        with pytest.raises((SealBroken, KeyMissing)):
            fields.open(b"here", sealed[:place])
    with pytest.raises(SealBroken):
        fields.open(b"elsewhere", sealed)


def test_a_value_of_another_database_does_not_open(fields: Fields) -> None:
    """Not even where it has the same key, as in a copy of the key file."""
    key = DataKey(bytes(range(32)), database_id="ab" * 16, key_id="cd" * 8)
    other = Fields("ef" * 16, lambda: [key])
    for text in (True, False):
        with pytest.raises(SealBroken):
            other.open(b"here", fields.seal("cd" * 8, b"here", b"zebra", text=text))


def test_a_key_that_another_process_made_is_looked_up_once(fields: Fields) -> None:
    keys: list[DataKey] = []
    made = DataKey(bytes(32), database_id="ab" * 16, key_id="ee" * 8)
    late = Fields("ab" * 16, lambda: keys, lambda: keys.append(made))
    assert late.open(b"p", late.seal("ee" * 8, b"p", b"v", text=False)) == b"v"
    assert keys == [made]
    with pytest.raises(KeyMissing, match="not among"):
        fields.hidden("ee" * 8, "word")
    assert fields.hidden("cd" * 8, "word") == fields.hidden("cd" * 8, "word") != late.hidden("ee" * 8, "word")


def test_filters_of_every_kind_agree_with_a_plain_store(tmp_path: Path) -> None:
    filters: list[dict[str, object]] = [
        {"text": {"$contains": "7"}},
        {"role": {"$exists": False}},
        {"tags": {"$is_empty": True}},
        {"n": {"$gte": 4, "$lt": 9}},
        {"deep": {"$exists": True}},
        {"session": {"$starts_with": "talk"}},
        {"speaker": {"$ne": "Quillemont"}},
        {"$or": [{"n": 3}, {"id": "4"}]},
    ]
    held: dict[str, list[object]] = {}
    for name, security in {"plain": {}, "fields": SEALED_FIELDS}.items():
        filled(tmp_path / name, security)
        with opened(tmp_path / name, security) as store:
            held[name] = [[memory.id for memory in store.scan(filter=each).memories] for each in filters]
            query = Query(text="zebra dawn 7 Quillemont", mode="keyword", k=5)
            held[name] += [(hit.memory.id, hit.score) for hit in store.search(query)]
            vectors = store.get(["7"], namespace=("u", "1"), vectors=True)[0]
            assert vectors is not None
            held[name].append(np.asarray(vectors.passages[0].vector).tobytes())
    assert held["plain"] == held["fields"]
    assert any(held["plain"][:8])


def test_what_a_driver_says_means_the_same_in_field_mode(tmp_path: Path) -> None:
    filled(tmp_path)
    with (
        opened(tmp_path) as store,
        store._database.reader() as connection,
        pytest.raises(StorageError),
        store._database._translated(),
    ):
        connection.execute("SELECT * FROM nothing_of_that_name")


def test_a_question_without_a_word_finds_nothing_by_words(tmp_path: Path) -> None:
    filled(tmp_path)
    with opened(tmp_path) as store:
        assert store.search(Query(text="\u2026", mode="keyword")) == []


def test_a_database_that_lost_a_table_says_so(tmp_path: Path) -> None:
    filled(tmp_path)
    with bare(tmp_path) as connection:
        connection.execute("DROP TABLE kv")
    with opened(tmp_path) as store, pytest.raises(StorageError, match="no such table"):
        store.kv_get("c", ["k"])


def test_a_file_without_a_table_becomes_a_database_of_either_kind(tmp_path: Path) -> None:
    for name, security in {"plain": {}, "fields": SEALED_FIELDS}.items():
        (tmp_path / name).mkdir()
        with bare(tmp_path / name) as connection:
            connection.execute("CREATE TABLE passing (a)")
            connection.execute("DROP TABLE passing")
        if security:
            with pytest.raises(DatabaseNotEncrypted):
                opened(tmp_path / name, security)
        else:
            filled(tmp_path / name, security)


def test_an_error_that_nobody_explains_is_told_as_it_is(tmp_path: Path) -> None:
    error = explain(sqlite3.OperationalError("user-defined function raised exception"), tmp_path)
    assert (type(error), "user-defined" in str(error)) == (StorageError, True)


def test_a_backup_and_a_restore_tell_how_far_they_are(tmp_path: Path) -> None:
    filled(tmp_path)
    told: list[tuple[int, int]] = []
    with opened(tmp_path) as store:
        store.backup(tmp_path / "kept/backup", progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] > 0
    told.clear()
    restore_store(
        tmp_path / "kept/backup",
        settings(tmp_path),
        replace=True,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told[-1][0] == told[-1][1] == (tmp_path / "kept/backup").stat().st_size
