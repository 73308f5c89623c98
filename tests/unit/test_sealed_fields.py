"""Field mode: what is sealed and bound to its place, what stays right, and how its key is exchanged row by row."""

import shutil
import sqlite3
import threading
from base64 import urlsafe_b64encode
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from ums_core import Draft, LocalStore, Patch, Query, UnifiedSettings, open_store, restore_store
from ums_core.channels.care import decrypt_store, encrypt_store
from ums_core.channels.keys import key_source
from ums_core.channels.upkeep import ring_of
from ums_core.crypto import DataKey, Envelope, Fields, envelope_path
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
from ums_core.settings.database import url_of
from ums_core.storage.complaint import explain
from ums_core.storage.connect import Connection, load_driver
from ums_core.storage.rotation import rotate_fields, share_under
from ums_core.storage.sealed_columns import READABLE, SEALED, rows_in
from ums_core.testing.sealed import SEALED as PAGES
from ums_core.testing.sealed import SEALED_FIELDS

pytestmark = pytest.mark.needs_sqlcipher

WORDS = "the zebra crosses at dawn"
# As they stand in JSON, where a word is so short that a token may hold it by chance.
SECRET = (b"zebra", b"Quillemont", b'"wild"', b'"odd"', b"ostrich", b"user", b"talk-9")


def settings(place: Path, security: dict[str, object] = SEALED_FIELDS) -> UnifiedSettings:
    return UnifiedSettings.for_testing(
        database={"url": url_of(place / "memory.db"), "backend": "exact"},
        model={"embedder": "hashing:16", "vector_dim": 16},
        security=security,
    )


def opened(place: Path, security: dict[str, object] = SEALED_FIELDS) -> LocalStore:
    return open_store(settings(place, security))


def draft(n: int) -> Draft:
    return Draft(
        id=f"{n}",
        text=f"{WORDS} {n}",
        namespace=("u", f"{n % 2}"),
        role="user" if n % 2 else None,
        tags=("wild",) if n % 3 else (),
        metadata={"n": n, "deep": {"kind": "odd" if n % 2 else "even"}},
        speaker="Quillemont",
        session="talk-9",
        caption=f"a barnacle on rock {n}",
    )


def filled(place: Path, security: dict[str, object] = SEALED_FIELDS, count: int = 12) -> None:
    with opened(place, security) as store:
        store.add([draft(n) for n in range(count)], idempotency_key="first")
        store.kv_put("c", {"k": {"said": "ostrich"}, "b": b"bytes"})


def assert_whole(store: LocalStore, count: int = 12) -> None:
    assert (store.health().status, store.count()) == ("ok", count)
    assert store.search(Query(text=f"{WORDS} 7", mode="vector", k=1))[0].memory.id == "7"
    found = store.search(Query(text="crossing zebras", mode="keyword", k=100))
    assert {hit.memory.id for hit in found} == {f"{n}" for n in range(count)}
    assert [hit.memory.id for hit in store.search(Query(text="7", mode="keyword", k=100))] == ["7"]
    assert len(store.search(Query(text="barnacles", mode="keyword", k=100))) == count
    assert store.count(filter={"caption": "a barnacle on rock 3"}) == 1
    assert store.count(filter={"deep.kind": "odd"}) == count // 2
    assert store.count(filter={"tags": {"$contains": "wild"}, "role": "user"}) == count // 3
    assert store.count(filter={"session": "talk-9"}) == count
    assert store.get(["5"], namespace=("u", "1"))[0] is not None
    assert store.kv_get("c", ["k", "b"]) == [{"said": "ostrich"}, b"bytes"]
    assert store.verify() == []
    assert store.verify_history() == []


def bare(place: Path) -> "closing[Connection]":
    """The tables as somebody sees them who has no key; through one library, as two would drop each other's locks."""
    return closing(load_driver().connect(str(place / "memory.db"), isolation_level=None))


def envelope_of(place: Path) -> Envelope:
    chosen = settings(place)
    return Envelope.open(envelope_path(chosen.database.path), key_source(chosen.security))


def assert_silent(place: Path) -> None:
    for path in place.iterdir():
        content = path.read_bytes()
        assert [word for word in SECRET if word in content] == [], path


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


def under(place: Path) -> set[str]:
    """The ids of all keys that anything in the tables is under."""
    with bare(place) as connection:
        return {
            value[1:9].hex()
            for table in SEALED
            for row in connection.execute(f"SELECT {', '.join(table.columns)} FROM {table.name}")
            for value in row
            if value is not None
        }


def test_a_rotation_that_another_one_overtook_ends_and_destroys_no_key_in_use(tmp_path: Path) -> None:
    filled(tmp_path)
    with opened(tmp_path) as store, opened(tmp_path) as other:
        keys: list[str] = []

        def overtake(_done: int, _total: int) -> None:
            # Once this one is under way: the other one finishes it, and then does a rotation of its own.
            if not keys:
                keys.append(other.rotate().active)
                keys.append(other.rotate().active)

        state = store.rotate(progress=overtake)
        assert len(set(keys)) == 2
        assert (state.active, state.pending, state.former) == (keys[1], None, ())
        assert under(tmp_path) == {keys[1]}
        for each in (store, other):
            each.add([draft(12)])
            assert_whole(each, 13)
        assert under(tmp_path) == {keys[1]}
    with opened(tmp_path) as store:
        assert_whole(store, 13)
        assert store.verify() == []


def test_a_rotation_takes_every_value_and_every_word_along(tmp_path: Path) -> None:
    filled(tmp_path)
    (former,) = under(tmp_path)
    told: list[tuple[int, int]] = []
    with opened(tmp_path) as store:
        with bare(tmp_path) as connection:
            words = {row[0] for row in _words(connection)}
        state = store.rotate(progress=lambda done, total: told.append((done, total)))
        assert (state.pending, state.former, state.done) == (None, (), 1.0)
        assert under(tmp_path) == {state.active} != {former}
        assert told[-1][0] == told[-1][1] == 31
        with bare(tmp_path) as connection:
            shared = words & {row[0] for row in _words(connection)}
        assert {word for word in shared if not word.startswith("ns")} == set()
        assert_whole(store)
    with opened(tmp_path) as store:
        assert_whole(store)
    assert former not in {key.key_id for key in envelope_of(tmp_path).keys}


def _words(connection: Connection) -> list[tuple[str]]:
    connection.execute("CREATE VIRTUAL TABLE temp.held USING fts5vocab(main, terms, row)")
    return list(connection.execute("SELECT term FROM temp.held"))


def _cut_off(place: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """A rotation that ends at a step, and what is true meanwhile."""
    calls = 0

    def stopped(*_: object, **__: object) -> None:
        nonlocal calls
        calls += 1
        if step != "ums_core.storage.rotation._reseal" or calls > 2:
            raise InterruptedError

    monkeypatch.setattr("ums_core.storage.rotation._BATCH", 3)
    with opened(place) as store, monkeypatch.context() as patched:
        if step == "batch":
            done = 0

            def enough(*_: int) -> None:
                nonlocal done
                done += 1
                if done == 2:
                    raise InterruptedError

            with pytest.raises(InterruptedError):
                store.rotate(progress=enough)
            state = store.key_state()
            assert 0 < state.done < 1
            assert state.pending is not None
        else:
            patched.setattr(step, stopped)
            with pytest.raises(InterruptedError):
                store.rotate()
        assert_whole(store)
        store.update([Patch(id="1", namespace=("u", "1"), changes={"text": f"{WORDS} 1"})])
        store.update([Patch(id="11", namespace=("u", "1"), changes={"text": f"{WORDS} 11"})])
        assert_whole(store)


@pytest.mark.parametrize(
    "step",
    [
        "ums_core.storage.rotation._turn",
        "batch",
        "ums_core.storage.rotation._left_over",
        "ums_core.channels.sealed.Keys.promote",
        "ums_core.pipeline.indexing.Indexes.save",
        "ums_core.channels.sealed.Keys.retire",
    ],
)
def test_a_rotation_cut_off_at_any_step_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    filled(tmp_path)
    (former,) = under(tmp_path)
    _cut_off(tmp_path, monkeypatch, step)
    with opened(tmp_path) as store:
        assert_whole(store)
        state = store.rotate()
        assert (state.pending, state.former) == (None, ())
        assert_whole(store)
    assert under(tmp_path) == {state.active}
    assert state.active != former


def test_another_store_on_the_file_goes_on_through_a_rotation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ums_core.storage.rotation._BATCH", 3)
    filled(tmp_path)
    with opened(tmp_path) as one, opened(tmp_path) as two:
        numbers = iter(range(100, 200))

        def meanwhile(*_: int) -> None:
            number = next(numbers)
            two.add([Draft(id=f"{number}", text=f"word{number}")])
            assert [hit.memory.id for hit in two.search(Query(text=f"word{number}", mode="keyword"))] == [f"{number}"]
            assert len(two.search(Query(text="zebra", mode="keyword", k=100))) == 12
            two.update([Patch(id="1", namespace=("u", "1"), changes={"text": f"{WORDS} 1"})])

        state = one.rotate(progress=meanwhile)
        two.add([Draft(id="last", text="last")])
        assert under(tmp_path) == {state.active}
        assert len(two.search(Query(text="zebra", mode="keyword", k=100))) == 12
        assert two.backup(tmp_path / "kept" / "backup").memories == two.count()
        assert (one.verify(), two.verify()) == ([], [])
    with opened(tmp_path) as store:
        assert store.health().status == "ok"
    restore_store(tmp_path / "kept/backup", settings(tmp_path), replace=True)


def test_searches_go_on_while_the_key_is_exchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ums_core.storage.rotation._BATCH", 2)
    filled(tmp_path)
    problems: list[object] = []
    with opened(tmp_path) as store:
        over = threading.Event()

        def ask() -> None:
            while not over.is_set():
                found = len(store.search(Query(text="zebra", mode="keyword", k=100)))
                if found != 12:
                    problems.append(found)

        asking = threading.Thread(target=ask)
        asking.start()
        for _ in range(3):
            store.rotate()
        over.set()
        asking.join()
    assert problems == []


def test_an_update_of_a_readable_column_leaves_a_row_under_its_key(tmp_path: Path) -> None:
    """A row goes under another key together with its terms, or not at all."""
    filled(tmp_path)
    (former,) = under(tmp_path)
    with opened(tmp_path) as store:
        database, codec = store._database, store._database.codec
        ring = ring_of(database)
        assert codec is not None
        assert ring is not None
        pending = ring.begin().key_id
        database.write(lambda tx: codec.turn_to(tx.connection, pending, former))
        database.write(lambda tx: tx.connection.execute("UPDATE memories SET spans = spans, level = 1 WHERE id = '4'"))
        store.add([draft(12)])
        assert under(tmp_path) == {former, pending}
        with database.reader() as connection:
            assert share_under(connection, codec) == pytest.approx(2 / rows_in(connection))
        assert store.get(["4"], namespace=("u", "0"))[0].level == 1  # type: ignore[union-attr]  # it is there
        store.delete(["4"], namespace=("u", "0"))
        assert len(store.search(Query(text="zebra", mode="keyword", k=100))) == 12
        rotate_fields(database, codec, ring)
        assert under(tmp_path) == {pending}
        assert store.verify() == []


def test_an_empty_database_is_under_its_key_as_a_whole(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        codec = store._database.codec
        assert codec is not None
        with store._database.reader() as connection:
            assert 0 <= share_under(connection, codec) <= 1
        assert store.search(Query(text="zebra", mode="keyword")) == []
        assert store.rotate().done == 1.0


def test_pages_tell_no_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path, PAGES) as store:
        monkeypatch.setattr("ums_core.channels.sealed.Keys.promote", _interrupted)
        with pytest.raises(InterruptedError):
            store.rotate()
        monkeypatch.undo()
        assert store.key_state().done == 0.0
        assert store.rotate().done == 1.0


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
