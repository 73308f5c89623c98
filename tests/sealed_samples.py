"""A store sealed field by field with something in every column, and what its bare tables show."""

from contextlib import closing
from pathlib import Path

from ums_core import Draft, LocalStore, Query, UnifiedSettings, open_store
from ums_core.channels.keys import key_source
from ums_core.crypto import Envelope, envelope_path
from ums_core.settings.database import url_of
from ums_core.storage.connect import Connection, load_driver
from ums_core.storage.sealed_columns import SEALED
from ums_core.testing.sealed import SEALED_FIELDS

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
