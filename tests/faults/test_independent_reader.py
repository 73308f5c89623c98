"""Another implementation of the format opens what UMS wrote: nothing stands between the owner and the memories."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from ums_core import Draft, Query, UnifiedSettings, open_store
from ums_core.channels.keys import key_source
from ums_core.crypto import Envelope, envelope_path
from ums_core.settings.database import url_of
from ums_core.testing.sealed import SEALED

pytestmark = [
    pytest.mark.faults,
    pytest.mark.needs_sqlcipher,
    pytest.mark.skipif(find_spec("apsw") is None, reason="needs apsw-sqlite3mc"),
]

WORDS = "the zebra crosses at dawn"


def settings(place: Path) -> UnifiedSettings:
    return UnifiedSettings.for_testing(
        database={"url": url_of(place / "memory.db"), "backend": "exact"},
        model={"embedder": "hashing:16", "vector_dim": 16},
        security=SEALED,
    )


def test_sqlite3mc_reads_and_writes_a_database_by_the_derived_key(tmp_path: Path) -> None:
    import apsw  # noqa: PLC0415  # optional

    with open_store(settings(tmp_path)) as store:
        store.add([Draft(id="a", text=WORDS), Draft(id="b", text="another one")])
    path = tmp_path / "memory.db"
    envelope = Envelope.open(envelope_path(path), key_source(settings(tmp_path).security))
    key = envelope.active.derive("pages").hex()

    def connected(raw: str) -> "apsw.Connection":
        connection = apsw.Connection(str(path))
        for statement in ("cipher='sqlcipher'", "legacy=4", f"key=\"x'{raw}'\""):
            connection.execute(f"PRAGMA {statement}").fetchall()
        return connection

    other = connected(key)
    # The rows of a virtual table are in its shadows.
    bare = "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0"
    tables = {name for (name,) in other.execute(bare)}
    texts = {
        str(value)
        for table in tables
        for row in other.execute(f'SELECT * FROM "{table}"')
        for value in row
        if isinstance(value, str)
    }
    assert WORDS in texts
    assert other.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    other.execute("CREATE TABLE written_by_another (word TEXT)")
    other.execute("DROP TABLE written_by_another")
    other.close()
    stranger = connected("00" * 32)
    with pytest.raises(apsw.NotADBError):
        stranger.execute("SELECT count(*) FROM sqlite_master").fetchall()
    stranger.close()
    with open_store(settings(tmp_path)) as store:
        assert store.search(Query(text="zebra"))[0].memory.text == WORDS
