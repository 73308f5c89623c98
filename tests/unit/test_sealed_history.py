"""A sealed store's history says nothing on the disk, and comes along through every change of keys and of kind."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ums_core import Draft, LocalStore, Patch, UnifiedSettings, acting_as, open_store, restore_store
from ums_core.channels.care import decrypt_store, encrypt_store
from ums_core.records.lifecycle import Change
from ums_core.settings.database import url_of
from ums_core.testing.sealed import SEALED, SEALED_FIELDS

pytestmark = pytest.mark.needs_sqlcipher

KINDS = {"pages": SEALED, "fields": SEALED_FIELDS, "plain": {}}
SEALED_KINDS = ["pages", "fields"]
ACTOR, TEXT = "Quirinus of accounting", "the zebra crosses at dawn"


def settings(place: Path, kind: str) -> UnifiedSettings:
    return UnifiedSettings.for_testing(
        database={"url": url_of(place / "memory.db"), "backend": "exact"},
        model={"embedder": "hashing:16", "vector_dim": 16},
        security=KINDS[kind],
    )


def opened(place: Path, kind: str) -> LocalStore:
    return open_store(settings(place, kind))


def told(store: LocalStore) -> dict[str, list[Change]]:
    return {id_: store.history(id_) for id_ in "abc"}


def filled(place: Path, kind: str) -> dict[str, list[Change]]:
    """A store whose memories have a past, and that past."""
    with opened(place, kind) as store, acting_as(ACTOR):
        store.add([Draft(id=id_, text=f"{TEXT}, {id_}", importance=ord(id_) / 128) for id_ in "abc"])
        store.update([Patch(id="a", changes={"text": f"{TEXT}, again"})])
        store.delete(["b"])
        store.forget(retain_fraction=0.5)
        assert store.verify_history() == []
        return told(store)


@pytest.mark.parametrize("kind", KINDS)
def test_who_acts_is_readable_in_a_plain_file_alone(tmp_path: Path, kind: str) -> None:
    filled(tmp_path, kind)
    with opened(tmp_path, kind) as store, acting_as(ACTOR):
        store.erase(["c"])
        store.add([Draft(id="d", text=TEXT)])
        assert [needle.encode() in content(tmp_path) for needle in (ACTOR, TEXT)] == [kind == "plain"] * 2
    assert [needle.encode() in content(tmp_path) for needle in (ACTOR, TEXT)] == [kind == "plain"] * 2


def content(place: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in sorted(place.iterdir()) if path.is_file())


@pytest.mark.parametrize("kind", SEALED_KINDS)
def test_a_history_outlives_the_keys(tmp_path: Path, kind: str) -> None:
    past = filled(tmp_path, kind)
    with opened(tmp_path, kind) as store:
        for _ in range(2):
            store.rotate()
            assert (told(store), store.verify_history()) == (past, [])
        store.add([Draft(id="d", text=TEXT)])
    with opened(tmp_path, kind) as store:
        assert (told(store), store.verify_history()) == (past, [])
        assert len(store.history("d")) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_history_is_in_the_backup(tmp_path: Path, kind: str) -> None:
    past = filled(tmp_path, kind)
    with opened(tmp_path, kind) as store:
        store.backup(tmp_path / "kept" / "memory.backup")
        store.delete(["a"])
    restore_store(tmp_path / "kept" / "memory.backup", settings(tmp_path, kind), replace=True)
    with opened(tmp_path, kind) as store:
        assert (told(store), store.verify_history()) == (past, [])
        store.delete(["a"])
        assert store.verify_history() == []


@pytest.mark.parametrize("kind", SEALED_KINDS)
def test_a_history_comes_along_when_a_database_is_sealed_and_opened_again(tmp_path: Path, kind: str) -> None:
    past = filled(tmp_path, "plain")
    encrypt_store(settings(tmp_path, kind))
    with opened(tmp_path, kind) as store:
        assert (told(store), store.verify_history()) == (past, [])
        with acting_as(ACTOR):
            store.update([Patch(id="c", changes={"text": "at noon"})])
        past = told(store)
    decrypt_store(settings(tmp_path, kind))
    with opened(tmp_path, "plain") as store:
        assert (told(store), store.verify_history()) == (past, [])


# What somebody does to a file whose fields are sealed, who has no key.
FORGED = {
    "a time": ("UPDATE journal SET at = at - 1 WHERE seq = 2", "change 2 is not what was written"),
    "a name": ("UPDATE actors SET aid = aid + 1", "the actor.name of"),
    "a deletion": ("DELETE FROM history WHERE seq = 3", "change 3 is not what was written"),
    "a memory": ("DELETE FROM memories WHERE id = 'c'", "row 3 is gone, and no change took it"),
    "the end": ("DELETE FROM journal WHERE seq > 2", "the history ends with change 2, and had reached 4"),
    "all of it": (
        "UPDATE journal SET link = NULL, actor = NULL, digests = NULL, salts = NULL",
        "change 1 has no entry in the history",
    ),
}


@pytest.mark.parametrize("what", FORGED)
def test_whoever_has_no_key_changes_nothing_unnoticed(tmp_path: Path, what: str) -> None:
    filled(tmp_path, "fields")
    sql, expected = FORGED[what]
    with closing(sqlite3.connect(tmp_path / "memory.db")) as connection:
        connection.execute(sql)
        connection.commit()
    with opened(tmp_path, "fields") as store:
        said = store.verify_history()
        assert store.health().status == "degraded"
    assert any(expected in line for line in said), said


def test_a_field_that_does_not_open_is_told(tmp_path: Path) -> None:
    filled(tmp_path, "fields")
    with closing(sqlite3.connect(tmp_path / "memory.db")) as connection:
        connection.execute("UPDATE memories SET text = substr(text, 1, 40) || 'x'")
        connection.commit()
    with opened(tmp_path, "fields") as store:
        (said,) = store.verify_history()
    assert "does not open" in said
