"""A store whose keys come from a keyring: shut when it is gone at the start, going on when it goes away later."""

from pathlib import Path

import pytest

from ums_core import Draft, Query, UnifiedSettings, open_store
from ums_core.channels.keys import key_source
from ums_core.channels.sealed import keys_of
from ums_core.crypto import Envelope, envelope_path
from ums_core.crypto.keyring import Keyring
from ums_core.errors import KeyCorrupt, KeyMissing, SettingsError
from ums_core.ports import KeySource
from ums_core.settings.database import url_of

pytestmark = pytest.mark.needs_sqlcipher


def settings(place: Path, name: str = "memory.db") -> UnifiedSettings:
    return UnifiedSettings.for_testing(
        database={"url": url_of(place / name), "backend": "exact"},
        model={"embedder": "hashing:16", "vector_dim": 16},
        security={
            "encrypt_at_rest": True,
            "kms_backend": "local",
            "kms_key_id": "main",
            "kms_params": {"path": str(place / "keyring.json")},
        },
    )


def test_a_store_goes_on_when_its_keyring_goes_away_and_says_so(tmp_path: Path) -> None:
    ring = Keyring.create(tmp_path / "keyring.json", "main")
    with open_store(settings(tmp_path)) as store:
        store.add([Draft(id="a", text="the zebra crosses at dawn")])
        ring.path.rename(tmp_path / "elsewhere.json")
        assert store.search(Query(text="zebra"))[0].memory.id == "a"
        store.add([Draft(id="b", text="another one")])
        assert any("there is no key file" in line for line in store.health().detail)
        with pytest.raises(KeyMissing):
            store.rotate()
    before = (tmp_path / "memory.db").read_bytes()
    with pytest.raises(KeyMissing):
        open_store(settings(tmp_path))
    assert (tmp_path / "memory.db").read_bytes() == before
    (tmp_path / "elsewhere.json").rename(ring.path)
    with open_store(settings(tmp_path)) as store:
        assert store.count() == 2
        assert store.health().detail == ()


def test_a_keyring_rotates_while_the_store_is_open(tmp_path: Path) -> None:
    ring = Keyring.create(tmp_path / "keyring.json", "main")
    with open_store(settings(tmp_path)) as store:
        store.add([Draft(id="a", text="the zebra crosses at dawn")])
        ring.add("main")
        store.rotate()
        assert store.get(["a"])[0] is not None
    ring.drop("main", 1)
    with open_store(settings(tmp_path)) as store:
        assert store.count() == 1


def test_swapped_key_files_open_nothing(tmp_path: Path) -> None:
    Keyring.create(tmp_path / "keyring.json", "main")
    other = settings(tmp_path, "other.db")
    for chosen in (settings(tmp_path), other):
        with open_store(chosen) as store:
            store.add([Draft(id="a", text="mine")])
    mine, theirs = (tmp_path / f"{name}.db.keys.json" for name in ("memory", "other"))
    kept = mine.read_bytes()
    mine.write_bytes(theirs.read_bytes())
    theirs.write_bytes(kept)
    for chosen in (settings(tmp_path), other):
        with pytest.raises(Exception, match=r"wrong|key|database") as caught:
            open_store(chosen)
        assert getattr(caught.value, "code", "") in {"wrong_key", "key_corrupt", "not_a_database"}


def test_keys_that_another_process_made_meanwhile_are_the_keys(tmp_path: Path) -> None:
    Keyring.create(tmp_path / "keyring.json", "main")
    chosen = settings(tmp_path)
    made: list[Envelope] = []

    def source() -> KeySource:
        found = key_source(chosen.security)
        made.append(Envelope.create(envelope_path(chosen.database.path), found))
        return found

    keys = keys_of(chosen, source)
    assert keys is not None
    assert keys.envelope.active.secret == made[0].active.secret


def test_a_damaged_keyring_opens_nothing(tmp_path: Path) -> None:
    ring = Keyring.create(tmp_path / "keyring.json", "main")
    with open_store(settings(tmp_path)):
        pass
    ring.path.write_text(ring.path.read_text().replace('"format": 1', '"format": 7'))
    with pytest.raises(KeyCorrupt):
        open_store(settings(tmp_path))


def test_production_takes_no_example_for_a_key_from_a_file_either(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("A" * 43 + "=\n")
    tmp_path.chmod(0o700)
    chosen = UnifiedSettings.for_testing(
        env="production",
        database={"url": url_of(tmp_path / "memory.db")},
        security={"encrypt_at_rest": True, "encryption_key_file": str(file)},
    )
    with pytest.raises(SettingsError, match="not a random key"):
        open_store(chosen)
    assert not (tmp_path / "memory.db").exists()
