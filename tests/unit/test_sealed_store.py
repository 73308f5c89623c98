"""A store under a key: opened, refused, rotated, accepted, destroyed."""

import os
import shutil
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

from ums_core import Draft, LocalStore, Query, UnifiedSettings, open_store
from ums_core.errors import (
    DatabaseBusy,
    DatabaseEncrypted,
    DatabaseNotEncrypted,
    KeyCorrupt,
    KeyMissing,
    SettingsError,
    TamperSuspected,
    WrongKey,
)
from ums_core.settings.database import url_of
from ums_core.testing.sealed import SEALED, TEST_KEY

pytestmark = pytest.mark.needs_sqlcipher

WORDS = "the zebra crosses at dawn"


def settings(place: Path, *, sealed: bool = True, **more: object) -> UnifiedSettings:
    return UnifiedSettings.for_testing(
        database={"url": url_of(place / "memory.db"), "backend": "exact"},
        model={"embedder": "hashing:16", "vector_dim": 16},
        **({"security": SEALED} if sealed else {}) | more,
    )


def opened(place: Path, *, sealed: bool = True) -> LocalStore:
    return open_store(settings(place, sealed=sealed))


def filled(place: Path) -> None:
    with opened(place) as store:
        store.add([Draft(id="a", text=WORDS), Draft(id="b", text="another one")])


def test_a_sealed_store_keeps_what_it_is_told(tmp_path: Path) -> None:
    filled(tmp_path)
    with opened(tmp_path) as store:
        health = store.health()
        assert (health.status, health.encryption, health.memories, health.detail) == ("ok", "pages", 2, ())
        assert store.search(Query(text="zebra"))[0].memory.text == WORDS
        assert store.verify() == []
    assert {path.name for path in tmp_path.iterdir() if path.suffix != ".lock"} == {
        "memory.db", "memory.db.keys.json", "memory.db.anchor", "memory.db.text.index",
    }  # fmt: skip
    assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir() if path.suffix in {".json", ".anchor"}} == {0}


def test_the_url_alone_asks_for_encryption(tmp_path: Path) -> None:
    url = f"sqlite+sqlcipher:///{tmp_path}/memory.db"
    chosen = settings(tmp_path, security={"encryption_key": TEST_KEY})
    chosen.database.url = url
    assert chosen.database.path == tmp_path / "memory.db"
    with open_store(chosen) as store:
        assert store.health().encryption == "pages"
    chosen.security.encryption_key = ""
    with pytest.raises(SettingsError, match="there is no key"):
        open_store(chosen)


def test_a_sealed_store_does_not_open_as_a_plain_one_nor_the_reverse(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    filled(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(DatabaseEncrypted):
        opened(tmp_path, sealed=False)
    (tmp_path / "memory.db.keys.json").rename(tmp_path / "aside")
    with pytest.raises(DatabaseEncrypted):
        opened(tmp_path, sealed=False)
    with pytest.raises(KeyMissing):
        opened(tmp_path)
    (tmp_path / "aside").rename(tmp_path / "memory.db.keys.json")
    # Nor is a plain one made where the database is gone and its keys are left.
    (tmp_path / "memory.db").rename(tmp_path / "aside")
    with pytest.raises(DatabaseEncrypted):
        opened(tmp_path, sealed=False)
    (tmp_path / "aside").rename(tmp_path / "memory.db")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name in before} == before
    opened(tmp_path / "plain", sealed=False).close()
    with pytest.raises(DatabaseNotEncrypted):
        opened(tmp_path / "plain")
    assert not (tmp_path / "plain" / "memory.db.keys.json").exists()


def test_another_key_and_swapped_key_files_open_nothing(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        filled(tmp_path / name)
    other = {"encrypt_at_rest": True, "encryption_key": TEST_KEY[::-1].replace("=", "") + "="}
    with pytest.raises((KeyMissing, KeyCorrupt, SettingsError)):
        open_store(settings(tmp_path / "one", security=other))
    files = [tmp_path / name / "memory.db.keys.json" for name in ("one", "two")]
    first, second = (file.read_bytes() for file in files)
    files[0].write_bytes(second)
    files[1].write_bytes(first)
    for name in ("one", "two"):
        with pytest.raises(WrongKey):
            opened(tmp_path / name)


def test_a_rotation_leaves_nothing_under_the_former_key(tmp_path: Path) -> None:
    filled(tmp_path)
    with opened(tmp_path) as store:
        before = store.key_state()
        after = store.rotate()
        assert before.active != after.active
        assert (after.pending, after.former, after.mode) == (None, (), "pages")
        store.add([Draft(id="c", text="under the new key")])
        assert store.count() == 3
    snapshot = (tmp_path / "memory.db.text.index").read_bytes()
    assert bytes.fromhex(after.active) in snapshot
    assert bytes.fromhex(before.active) not in snapshot
    with opened(tmp_path) as store:
        assert store.health().status == "ok"
        assert store.search(Query(text="zebra"))[0].memory.text == WORDS
        assert store.verify() == []


def test_a_rotation_cut_off_between_any_two_steps_is_gone_on_with(tmp_path: Path) -> None:
    class Cut(Exception):
        pass

    for step in ("begin", "promote", "retire"):
        place = tmp_path / step
        place.mkdir()
        filled(place)
        with opened(place) as store:
            ring = store._database.guard.sealing.keys  # type: ignore[union-attr]
            former = store.key_state().active
            done = getattr(ring, step)

            def cut(done: object = done, step: str = step) -> None:
                if step == "begin":
                    done()  # type: ignore[operator]
                raise Cut

            setattr(ring, step, cut)
            with pytest.raises(Cut):
                store.rotate()
            # The process ends here; what another one finds:
            shutil.copytree(place, tmp_path / "left", ignore=shutil.ignore_patterns("*-shm", "*.lock"))
        with opened(tmp_path / "left") as store:
            assert store.health().status == "ok"
            assert store.search(Query(text="zebra"))[0].memory.text == WORDS
            store.add([Draft(text="goes on")])
            state = store.rotate()
            assert (state.pending, state.former) == (None, ())
            assert state.active != former
            assert store.count() == 3
        shutil.rmtree(tmp_path / "left")


def test_a_rotation_waits_for_nobody_elsewhere(tmp_path: Path) -> None:
    filled(tmp_path)
    hasty = settings(tmp_path)
    hasty.database.busy_timeout = 0.05
    with open_store(hasty) as store, opened(tmp_path) as other:
        assert other.count() == 2
        with pytest.raises(DatabaseBusy):
            store.rotate()
        store.add([Draft(text="as before")])
        other.add([Draft(text="here too")])
        assert store.count() == other.count() == 4
        assert store.key_state().pending
    with opened(tmp_path) as store:
        assert store.rotate().pending is None


def test_a_plain_store_has_no_key_to_rotate(tmp_path: Path) -> None:
    with opened(tmp_path, sealed=False) as store:
        assert store.key_state().mode == store.health().encryption == "none"
        with pytest.raises(SettingsError, match="not sealed"):
            store.rotate()


@pytest.mark.parametrize("sealed", [True, False])
def test_a_destroyed_store_leaves_no_file_and_cannot_be_opened_from_a_copy(tmp_path: Path, *, sealed: bool) -> None:
    with opened(tmp_path / "here", sealed=sealed) as store:
        store.add([Draft(text=WORDS)])
        store._database.fold()
        shutil.copy(tmp_path / "here" / "memory.db", tmp_path / "memory.db")
        # Neither a neighbour nor a backup is its to destroy.
        others = {"memory.db2", "memory.db.monday", "memory.db.monday.keys.json", "other.db-wal", "memory.d"}
        for name in others:
            (tmp_path / "here" / name).write_bytes(b"not yours")
        (tmp_path / "here" / ".memory.db.text.index.0123.tmp").write_bytes(b"left by a kill")
        store.destroy()
    assert {path.name for path in (tmp_path / "here").iterdir()} == others
    if sealed:
        with pytest.raises(KeyMissing):
            opened(tmp_path)


def test_an_older_copy_is_noticed_and_takes_no_write_until_it_is_accepted(tmp_path: Path) -> None:
    filled(tmp_path)
    older = (tmp_path / "memory.db").read_bytes()
    with opened(tmp_path) as store:
        store.add([Draft(id="c", text="newer")])
    (tmp_path / "memory.db").write_bytes(older)
    for _ in range(2):
        with opened(tmp_path) as store:
            health = store.health()
            assert (health.status, health.memories) == ("degraded", 2)
            assert "older copy" in health.detail[0]
            assert store.search(Query(text="zebra"))[0].memory.text == WORDS
            for write in (lambda s: s.add([Draft(text="no")]), lambda s: s.delete(["a"]), lambda s: s.rotate()):
                with pytest.raises(TamperSuspected, match="accept_state"):
                    write(store)
    with opened(tmp_path) as store:
        store.accept_state()
        assert store.health().status == "ok"
        store.add([Draft(text="yes")])
    with opened(tmp_path) as store:
        assert (store.health().status, store.count()) == ("ok", 3)


def _drop_log(place: Path) -> None:
    (place / "memory.db-wal").unlink()


def _cut_log(place: Path) -> None:
    log = place / "memory.db-wal"
    log.write_bytes(log.read_bytes()[:-4000])


def _flip_first_frame(place: Path) -> None:
    log = place / "memory.db-wal"
    content = bytearray(log.read_bytes())
    content[100] ^= 1
    log.write_bytes(content)


@pytest.mark.parametrize("damage", [_drop_log, _cut_log, _flip_first_frame])
def test_a_log_that_lost_its_end_is_noticed(tmp_path: Path, damage: object) -> None:
    with opened(tmp_path / "here") as store:
        store.add([Draft(id="a", text=WORDS)])
        store._database.fold()
        store.add([Draft(id="b", text="in the log alone")])
        shutil.copytree(tmp_path / "here", tmp_path / "left", ignore=shutil.ignore_patterns("*-shm", "*.lock"))
    damage(tmp_path / "left")  # type: ignore[operator]
    with opened(tmp_path / "left") as store:
        assert store.health().status == "degraded"
        assert store.count() == 1


def test_a_page_exchanged_for_an_older_one_of_its_own_is_noticed(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add([Draft(id=f"{n}", text=f"number {n} " + "x" * 500) for n in range(50)])
    before = (tmp_path / "memory.db").read_bytes()
    with opened(tmp_path) as store:
        store.add([Draft(id="0", text="number 0 was replaced " + "y" * 500)])
    after = bytearray((tmp_path / "memory.db").read_bytes())
    changed = [p for p in range(1, len(before) // 4096) if before[p * 4096 :][:4096] != after[p * 4096 :][:4096]]
    noticed = 0
    for page in changed:
        content = after[: page * 4096] + before[page * 4096 : (page + 1) * 4096] + after[(page + 1) * 4096 :]
        (tmp_path / "memory.db").write_bytes(content)
        with opened(tmp_path) as store:
            noticed += store.health().status == "degraded"
    assert noticed == len(changed) > 3


@pytest.mark.parametrize("how", ["gone", "flipped", "of another database", "empty"])
def test_an_anchor_that_was_changed_is_noticed(tmp_path: Path, how: str) -> None:
    for name in ("one", "two"):
        filled(tmp_path / name)
    anchor = tmp_path / "one" / "memory.db.anchor"
    content = bytearray(anchor.read_bytes())
    content[10] ^= 1
    content[512 + 10] ^= 1
    if how == "gone":
        anchor.unlink()
    else:
        other = (tmp_path / "two" / "memory.db.anchor").read_bytes()
        anchor.write_bytes({"flipped": bytes(content), "of another database": other, "empty": b""}[how])
    with opened(tmp_path / "one") as store:
        assert store.health().status == "degraded"
        assert "anchor" in store.health().detail[0]
    with opened(tmp_path / "two") as store:
        assert store.health().status == "ok"


def test_a_copy_that_went_its_own_way_is_noticed(tmp_path: Path) -> None:
    filled(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    for name in ("one", "two"):
        with opened(tmp_path / name) as store:
            store.add([Draft(text=f"only in {name}")])
    shutil.copy(tmp_path / "two" / "memory.db", tmp_path / "one" / "memory.db")
    with opened(tmp_path / "one") as store:
        assert "went its own way" in store.health().detail[0]


def test_two_stores_on_one_file_raise_no_suspicion(tmp_path: Path) -> None:
    with opened(tmp_path) as one, opened(tmp_path) as two:
        for n in range(5):
            one.add([Draft(text=f"one {n}")])
            two.add([Draft(text=f"two {n}")])
        two.close()
        one.add([Draft(text="after")])
    with opened(tmp_path) as store:
        assert (store.health().status, store.count()) == ("ok", 11)


PRODUCTION = {
    "no key": ({}, "not sealed"),
    "fields alone": ({"encryption_key": TEST_KEY}, "whole files"),
    "an example of a key": ({"encrypt_at_rest": True, "encryption_key": "A" * 43 + "="}, "not a random key"),
}


@pytest.mark.parametrize("case", PRODUCTION.values(), ids=PRODUCTION)
def test_production_refuses_what_is_not_safe(tmp_path: Path, case: tuple[dict[str, object], str]) -> None:
    security, said = case
    with pytest.raises(SettingsError, match=said):
        open_store(settings(tmp_path / "new", security=security, env="production"))
    assert not (tmp_path / "new").exists()


def test_production_opens_what_is_sealed_in_a_private_directory(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "open").chmod(0o755)
    own = SEALED | {"encryption_key": urlsafe_b64encode(os.urandom(32)).decode()}
    with pytest.raises(SettingsError, match="chmod 700"):
        open_store(settings(tmp_path / "open", env="production", security=own))
    with open_store(settings(tmp_path / "new", env="production", security=own)) as store:
        assert store.health().encryption == "pages"
    allowed = settings(tmp_path / "plain", sealed=False, env="production", security={"allow_unsealed": True})
    with open_store(allowed) as store:
        assert store.health().encryption == "none"
