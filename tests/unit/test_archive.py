"""What is put into the archive is found by nobody, lost by nothing, and comes back as it was."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from old_schemas import taken_back

from ums_core import Draft, LocalStore, Memory, Passage, Patch, Query, UnifiedSettings, open_store
from ums_core.errors import MemoryNotFound
from ums_core.ports.ledger import Archiving, Row
from ums_core.records import Namespace
from ums_core.settings.database import url_of
from ums_core.storage.database import Database

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
UP = Archiving(why="forgotten", batch="b1")
Open = Callable[[], LocalStore]


def opened(place: Path) -> LocalStore:
    settings = UnifiedSettings.for_testing(
        database={"url": url_of(place / "memory.db"), "backend": "exact"},
        model={"embedder": "hashing:16", "vector_dim": 16},
    )
    return open_store(settings)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    with opened(tmp_path) as made:
        yield made


def database(store: LocalStore) -> Database:
    return store._database  # the archive has no verb that takes rows


def rids(store: LocalStore, *ids: str, table: str = "memories") -> list[int]:
    with database(store).reader() as connection:
        held = dict(connection.execute(f"SELECT id, rid FROM {table}").fetchall())  # a constant
    return [held[id_] for id_ in ids]


def archive(store: LocalStore, *ids: str, archiving: Archiving = UP) -> int:
    return len(database(store).write(lambda tx: tx.archive(rids(store, *ids), archiving)))


def restore(store: LocalStore, *ids: str) -> int:
    return database(store).write(lambda tx: tx.restore(rids(store, *ids, table="archived")))


def summary_of(memories: Sequence[Memory], id_: str = "sum", namespace: Namespace | None = None) -> Row:
    first = memories[0]
    memory = replace(
        first,
        id=id_,
        namespace=first.namespace if namespace is None else namespace,
        text=" ".join(memory.text for memory in memories),
        level=first.level + 1,
        source_ids=tuple(memory.id for memory in memories),
        passages=(Passage(),),
    )
    vector = np.zeros(16, np.float32)
    vector[0] = 1.0
    return Row(memory=memory, vectors=[vector], fresh=True)


def merge(store: LocalStore, *ids: str, id_: str = "sum", batch: str = "c1") -> str | None:
    memories = [memory for memory in store.get(list(ids)) if memory is not None]
    return database(store).write(lambda tx: tx.merge(rids(store, *ids), summary_of(memories, id_), batch))


def living(store: LocalStore) -> list[str]:
    found = sorted(memory.id for memory in store.scan(limit=1000).memories)
    hits = store.search(Query(text="told", mode="keyword", k=100))
    assert sorted(hit.memory.id for hit in hits) == found
    assert store.verify() == []
    return found


def away(store: LocalStore) -> list[str]:
    with database(store).reader() as connection:
        found = [row[0] for row in connection.execute("SELECT id FROM archived ORDER BY id").fetchall()]
        held = connection.execute("SELECT count(DISTINCT pid >> 16) FROM archived_passages").fetchone()[0]
    assert held == len(found)
    return found


def tell(store: LocalStore, *ids: str, **fields: object) -> list[Memory]:
    return store.add([Draft(id=id_, text=f"told by {id_}", **fields) for id_ in ids])  # type: ignore[arg-type]  # of a draft


def test_what_is_archived_is_found_by_nobody_and_comes_back_as_it_was(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        before = store.add(
            [
                Draft(id="a", text="told at length", speaker="Ines", occurred_at=NOW, tags=("t",), pinned=True),
                Draft(id="b", text="told in two", passages=(Passage(text="told"), Passage(text="in two")), ttl_s=1e6),
                Draft(id="c", metadata={"n": 1}, embedding=[1.0] + [0.0] * 15),
            ]
        )
        assert archive(store, "a", "b") == 2
        assert store.get(["a", "b", "c"]) == [None, None, before[2]]
        assert store.count() == store.health().memories == 1
        assert store.search(Query(text="told", mode="keyword")) == []
        assert [hit.memory.id for hit in store.search(Query(text="told in two", mode="vector"))] == ["c"]
        with pytest.raises(MemoryNotFound):
            store.update([Patch(id="a", changes={"level": 1})])
        assert away(store) == ["a", "b"]
    with opened(tmp_path) as store:
        assert store.verify() == []
        assert restore(store, "a", "b") == 2
        assert store.get(["a", "b", "c"]) == before
        assert store.scan().memories == before
        assert store.search(Query(text="told at length"))[0].memory.id == "a"
        assert away(store) == []
    with opened(tmp_path) as store:
        assert store.verify() == []
        assert store.scan().memories == before


def test_a_row_that_is_gone_is_neither_archived_nor_restored(store: LocalStore) -> None:
    tell(store, "a")
    (rid,) = rids(store, "a")
    tell(store, "a")
    assert database(store).write(lambda tx: tx.archive([rid], UP)) == []
    assert database(store).write(lambda tx: tx.restore([rid])) == 0
    assert living(store) == ["a"]


def test_a_summary_takes_the_place_of_its_sources_in_one_change(store: LocalStore) -> None:
    a, b, c = tell(store, "a", "b", "c")
    seq = store.health().seq
    assert merge(store, "a", "b") is None
    assert store.health().seq == seq + 1
    assert living(store) == ["c", "sum"]
    expanded = store.expand("sum")
    assert [(memory.archived, memory.under) for memory in expanded] == [("consolidated", "sum")] * 2
    assert [replace(memory, archived=None, under=None, batch=None) for memory in expanded] == [a, b]
    assert store.expand("c") == []
    with pytest.raises(MemoryNotFound, match="'nobody'"):
        store.expand("nobody")
    with pytest.raises(MemoryNotFound, match="no sources"):
        store.expand("a", namespace=("elsewhere",))
    assert c.archived is None


def test_a_summary_of_something_else_is_refused(store: LocalStore) -> None:
    a, b = tell(store, "a", "b")
    tell(store, "x", namespace=("other",))
    (stale,) = rids(store, "a")
    tell(store, "a")

    def write(rows: Sequence[int], row: Row) -> str | None:
        return database(store).write(lambda tx: tx.merge(rows, row, "c1"))

    assert "changed or removed" in (write([stale], summary_of([a])) or "")
    assert "changed or removed" in (write([], summary_of([a])) or "")
    assert "another namespace" in (write(rids(store, "a", "x"), summary_of([a, b])) or "")
    assert "'b' already" in (write(rids(store, "a"), summary_of([a], "b")) or "")
    archive(store, "b")
    assert "'b' already" in (write(rids(store, "a"), summary_of([a], "b")) or "")
    assert living(store) == ["a", "x"]
    assert away(store) == ["b"]


def test_sources_come_back_when_their_summary_goes(store: LocalStore) -> None:
    tell(store, "a", "b", "c", "d")
    merge(store, "a", "b")
    merge(store, "c", "d", id_="sum2")
    merge(store, "sum", "sum2", id_="top")
    assert living(store) == ["top"]
    assert store.delete(["top", "a"]) == 2
    assert living(store) == ["sum", "sum2"]
    assert store.delete(["sum"]) == 1
    assert living(store) == ["b", "sum2"]
    assert away(store) == ["c", "d"]


def test_a_summary_that_is_told_anew_gives_back_what_it_no_longer_stands_for(store: LocalStore) -> None:
    tell(store, "a", "b")
    merge(store, "a", "b")
    store.update([Patch(id="sum", changes={"importance": 1.0})])
    assert away(store) == ["a", "b"]
    tell(store, "sum", source_ids=("a",))
    assert (living(store), away(store)) == (["b", "sum"], ["a"])
    tell(store, "sum")
    assert (living(store), away(store)) == (["a", "b", "sum"], [])


def test_a_memory_that_is_told_anew_takes_the_place_of_the_archived_one(store: LocalStore) -> None:
    (first,) = tell(store, "a", created_at=NOW)
    tell(store, "b")
    archive(store, "a")
    (again,) = tell(store, "a")
    assert (again.created_at, again.last_accessed_at) == (NOW, first.last_accessed_at)
    assert away(store) == []
    assert [memory.id for memory in store.scan().memories] == ["a", "b"]


def test_deleting_reaches_the_archive(store: LocalStore) -> None:
    tell(store, "a", "b")
    archive(store, "a")
    assert store.delete(["a", "b", "x"]) == 2
    assert store.delete(["a"], namespace=("nowhere",)) == 0
    assert (living(store), away(store)) == ([], [])


def test_erasing_reaches_the_archive_and_spares_what_it_does_not_name(store: LocalStore) -> None:
    store.add(
        [
            Draft(id="a", text="told about the wedding of Ines in Porto on the 12th of September", tags=("family",)),
            Draft(id="b", text="told about something else", speaker="Bruno Almeida"),
        ]
    )
    merge(store, "a", "b")
    (rid,) = rids(store, "a", table="archived")
    receipt = store.erase(["a"])
    assert (receipt.ids, receipt.derived) == (("a", "sum"), ("sum",))
    assert rid in receipt.rids
    assert (living(store), away(store)) == (["b"], [])
    assert store.verify_erased(receipt) == []


def test_what_the_archive_still_holds_of_an_erased_memory_is_told(store: LocalStore) -> None:
    tell(store, "a", "b")
    archive(store, "b")
    receipt = replace(store.erase(["a"]), rids=tuple(rids(store, "b", table="archived")))
    assert "the database still holds 2 of the erased rows" in store.verify_erased(receipt)


def test_what_is_archived_moves_to_another_embedder_as_well(store: LocalStore) -> None:
    store.add(
        [
            Draft(id="a", text="told of apples and pears"),
            Draft(id="b", text="told in two", passages=(Passage(text="told"), Passage(text="in two"))),
        ]
    )
    archive(store, "a", "b")
    assert store.reembed("hashing:32") == 2
    restore(store, "a", "b")
    assert store.verify() == []
    (hit, *_) = store.search(Query(text="told of apples and pears", mode="vector"))
    assert (hit.memory.id, round(hit.similarity or 0, 3)) == ("a", 1.0)


def test_a_mark_is_seen_by_a_filter_that_was_asked_before(store: LocalStore) -> None:
    tell(store, "a", "b")
    query = Query(text="told", mode="keyword", filter={"final": True})
    assert store.search(query) == []
    database(store).write(lambda tx: tx.mark_final(rids(store, "a")))
    assert [hit.memory.id for hit in store.search(query)] == ["a"]


def test_a_database_from_before_the_archive_opens(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        tell(store, "a")
        before = store.scan().memories
    taken_back(tmp_path / "memory.db", 2)
    with opened(tmp_path) as store:
        assert store.scan().memories == before
        assert archive(store, "a") == 1


def test_a_time_to_live_counts_from_the_write_that_names_it(store: LocalStore) -> None:
    (a, b) = store.add([Draft(id="a", text="told", ttl_s=60), Draft(id="b", text="told", ttl_s=60, expires_at=NOW)])
    assert a.expires_at is not None
    assert (a.expires_at - a.updated_at).total_seconds() == 60
    assert b.expires_at == NOW
    (later,) = store.update([Patch(id="a", changes={"level": 1})])
    assert later.expires_at == a.expires_at
    (anew,) = store.update([Patch(id="a", changes={"ttl_s": 3600})])
    assert anew.expires_at is not None
    assert (anew.expires_at - anew.updated_at).total_seconds() == 3600


def test_a_repeated_write_answers_with_all_that_the_first_one_did(store: LocalStore) -> None:
    draft = Draft(id="a", text="told", ttl_s=60)
    first = store.add([draft], idempotency_key="k")
    assert store.add([draft], idempotency_key="k") == first
