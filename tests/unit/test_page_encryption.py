"""Pages under a key: what opens them, what does not, and that neither kind is ever taken for the other."""

import sqlite3
import sys
import traceback
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ums_core.errors import DatabaseBusy, DatabaseEncrypted, DatabaseNotEncrypted, MissingExtra, NotADatabase, WrongKey
from ums_core.ports.sealed import Sealing
from ums_core.storage.connect import Connector, load_driver
from ums_core.storage.database import Database
from ums_core.storage.folding import Pace

pytestmark = pytest.mark.needs_sqlcipher

KEY = bytes(range(1, 33))
ID = "0123456789abcdef" * 2
NAME = "memory.db"


def database(place: Path, sealing: Sealing | None) -> Database:
    return Database(
        place / NAME,
        lambda: datetime(2026, 5, 1, tzinfo=UTC),
        Pace(checkpoint_writes=1000, checkpoint_interval_s=60, busy_timeout_s=10),
        sealing,
    )


def sealing(key: bytes = KEY, id_: str = ID) -> Sealing:
    return Sealing(database_id=id_, page_key=key)


def make(place: Path, sealed: Sealing | None) -> None:
    made = database(place, sealed)
    made.write(lambda tx: tx.connection.execute("INSERT INTO meta VALUES ('canary', 'zebra crossing')"))
    made.close()


def test_an_encrypted_database_opens_with_its_key_and_shows_nothing_without(tmp_path: Path) -> None:
    make(tmp_path, sealing())
    again = database(tmp_path, sealing())
    assert again.database_id == ID
    with again.reader() as connection:
        assert connection.execute("SELECT value FROM meta WHERE key = 'canary'").fetchone() == ("zebra crossing",)
    files = [path.read_bytes() for path in tmp_path.iterdir()]
    assert not [file for file in files if b"zebra crossing" in file or file.startswith(b"SQLite format 3")]
    again.close()
    with closing(sqlite3.connect(tmp_path / NAME)) as bare, pytest.raises(sqlite3.DatabaseError):
        bare.execute("SELECT * FROM meta")


def test_the_same_search_finds_it_where_pages_are_plain(tmp_path: Path) -> None:
    make(tmp_path, None)
    assert b"zebra crossing" in (tmp_path / NAME).read_bytes()


Refused = tuple[Sealing | None, Sealing | None, type[Exception]]
REFUSED: dict[str, Refused] = {
    "no key for an encrypted file": (sealing(), None, DatabaseEncrypted),
    "a key for a plain file": (None, sealing(), DatabaseNotEncrypted),
    "another key": (sealing(), sealing(KEY[::-1]), WrongKey),
    "the key file of another database": (sealing(), sealing(id_="f" * 32), WrongKey),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused_by_name_and_touches_nothing(
    tmp_path: Path, case: Refused, capfd: pytest.CaptureFixture[str]
) -> None:
    made_with, opened_with, error = case
    make(tmp_path, made_with)
    before = (tmp_path / NAME).read_bytes()
    with pytest.raises(error) as caught:
        database(tmp_path, opened_with)
    assert isinstance(caught.value, NotADatabase)
    assert (tmp_path / NAME).read_bytes() == before
    told = "".join(traceback.format_exception(caught.value)) + "".join(capfd.readouterr())
    assert KEY.hex() not in told
    assert KEY[::-1].hex() not in told
    assert "hmac check failed" not in told


def test_a_damaged_page_is_not_a_wrong_key(tmp_path: Path) -> None:
    make(tmp_path, sealing())
    content = bytearray((tmp_path / NAME).read_bytes())
    # Page 1 still opens, so the key is right.
    for page in range(1, len(content) // 4096):
        content[page * 4096 + 100] ^= 1
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(NotADatabase) as caught:
        database(tmp_path, sealing())
    assert not isinstance(caught.value, WrongKey)


@pytest.mark.parametrize("length", [0, 2, 31, 33, 48])
def test_a_key_of_another_length_is_no_passphrase(tmp_path: Path, length: int) -> None:
    with pytest.raises(ValueError, match=f"32 bytes, got {length}"):
        database(tmp_path, sealing(bytes(length)))
    assert list(tmp_path.iterdir()) == []


def test_without_sqlcipher_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlcipher3.dbapi2", None)
    monkeypatch.setitem(sys.modules, "sqlcipher3", None)
    with pytest.raises(MissingExtra, match=r"ums-core\[security\]"):
        database(tmp_path, sealing())
    assert list(tmp_path.iterdir()) == []


def test_a_driver_that_ignores_keys_is_found_out_before_it_writes(tmp_path: Path) -> None:
    connector = Connector(tmp_path / NAME, sqlite3, lambda _: None, KEY)
    with pytest.raises(MissingExtra, match="sqlite3"):
        connector.open(writable=True)
    assert [path for path in tmp_path.iterdir() if path.stat().st_size] == []


def test_a_file_that_somebody_holds_is_busy_not_wrong(tmp_path: Path) -> None:
    make(tmp_path, sealing())
    holder = Connector(tmp_path / NAME, load_driver(encrypting=True), lambda _: None, KEY).open(writable=True)
    holder.execute("PRAGMA locking_mode=EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DatabaseBusy):
        Connector(tmp_path / NAME, load_driver(encrypting=True), lambda _: None, KEY, 0.05).open(writable=False)
    holder.close()


def test_the_key_is_in_no_repr() -> None:
    assert repr(sealing()) == f"Sealing(database_id='{ID}')"
    assert KEY.hex() not in repr(sealing())
    assert str(KEY) not in str(sealing())
