"""Rows that are remembered: always what a read would have given, and nobody else's to change."""

import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_store import opened

from ums_core import Draft, LocalStore, Memory, Patch, Query
from ums_core.storage.connect import load_driver
from ums_core.storage.row_cache import RowCache
from ums_core.testing.sealed import SEALED_FIELDS

NOW = datetime(2026, 11, 29, tzinfo=UTC)
EVERYTHING = Query(vector=[1.0] * 16, k=50)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    with opened(tmp_path) as made:
        yield made


def found(store: LocalStore) -> dict[str, Memory]:
    return {hit.memory.id: hit.memory for hit in store.search(EVERYTHING)}


def statements(store: LocalStore) -> list[str]:
    """What a search asks SQLite for."""
    seen: list[str] = []
    with store._database.reader() as connection:
        connection.set_trace_callback(seen.append)
    store.search(EVERYTHING)
    with store._database.reader() as connection:
        connection.set_trace_callback(None)
    return [sql for sql in seen if "FROM main.memories" in sql]


def remembered(store: LocalStore) -> int:
    kept = store._database._rows._kept
    return len({*kept._young, *kept._old})


def test_of_rows_nothing_is_read_while_nobody_commits(store: LocalStore) -> None:
    store.add([Draft(id=f"{number}", text=f"memory {number}") for number in range(5)])
    assert [["m.text" in sql for sql in statements(store)] for _ in range(3)] == [[True], [True], []]
    store.add([Draft(id="5", text="one more", namespace=("elsewhere",))])
    # What may have changed of five, and the sixth; the sixth is kept when it is asked for again.
    asked = [["m.text" in sql for sql in statements(store)] for _ in range(3)]
    assert asked == [[False, True], [True], []]
    assert len(found(store)) == 6


@pytest.mark.parametrize("metadata", [{}, {"a": 1}, {"a": {"deep": [1, 2]}}, {"a": [1]}])
def test_a_caller_may_change_the_metadata_it_got(store: LocalStore, metadata: dict[str, object]) -> None:
    store.add([Draft(id="m", text="memory", metadata=metadata)])
    for _ in range(4):
        got = found(store)["m"].metadata
        assert got == metadata
        for value in got.values():
            if isinstance(value, list | dict):
                value.clear()
        got["mine"] = True


def test_what_was_erased_is_not_remembered_nor_what_a_closed_store_read(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add([Draft(id=id_, text=f"memory {id_}") for id_ in "ab"])
        assert len(found(store)) == len(found(store)) == remembered(store) == 2
        store.delete(["b"])
        store.erase(["a"])
        assert remembered(store) == 0
        store.add([Draft(id="c", text="memory c")])
        assert len(found(store)) == len(found(store)) == remembered(store) == 1
    assert remembered(store) == 0


def test_a_long_memory_is_read_each_time(store: LocalStore) -> None:
    store.add([Draft(id="long", text="memory " * 1000), Draft(id="short", text="memory")])
    for _ in range(3):
        assert {id_: len(memory.text) for id_, memory in found(store).items()} == {"long": 7000, "short": 6}
    assert remembered(store) == 1


def test_a_snapshot_reads_what_was_there_when_it_began(tmp_path: Path) -> None:
    with opened(tmp_path) as store, opened(tmp_path) as other:
        store.add([Draft(id="m", text="memory")])
        rows = store._database.rows
        assert rows([1])[1].accesses == 0
        with store._database.snapshot():
            other.reinforce(["m"])
            assert rows([1])[1].accesses == 0
            other.delete(["m"])
            assert rows([1])[1].text == "memory"
        assert rows([1]) == {}


def test_a_search_of_an_earlier_moment_leaves_nothing_of_it_to_another(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add([Draft(id="m", text="memory")])

        def accesses() -> list[int]:
            return [memory.accesses for memory in store._database.rows([1]).values()]

        said: list[list[int]] = []
        with store._database.snapshot():
            assert [accesses(), accesses()] == [[0], [0]]
            store.reinforce(["m"])
            for _ in range(3):
                other = Thread(target=lambda: said.append(accesses()))
                other.start()
                other.join()
                assert accesses() == [0]
        assert said == [[1]] * 3
        assert accesses() == [1]


@pytest.mark.parametrize("security", [{}, SEALED_FIELDS])
def test_what_moves_to_another_embedder_shows_its_new_passages(tmp_path: Path, security: dict[str, object]) -> None:
    with opened(tmp_path, security=security) as store:
        store.add([Draft(id="m", text="One sentence here. " * 200)])
        before = found(store)["m"].passages
        store.reembed("static")
        hits = store.search(Query(text="sentence", mode="vector"))
        assert [hit.memory for hit in hits] == store.get(["m"])
        assert len(hits[0].memory.passages) != len(before)


def test_what_is_asked_for_again_stays_and_what_nobody_asks_for_goes(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.add([Draft(text=f"memory {number}") for number in range(40)])
    with closing(load_driver().connect(str(tmp_path / "memory.db"), isolation_level=None)) as connection:
        cache = RowCache({1: ()}, rows=8)
        kept, texts = cache._kept, {rid: f"memory {rid - 1}" for rid in range(1, 41)}
        # Two that are asked for all the time, among many that are asked for now and then.
        for number, rid in enumerate((*range(3, 41), *range(40, 2, -1), *range(3, 41))):
            asked = [1, rid, 2, 99]
            found = cache.select(connection, asked)
            assert {at: memory.text for at, memory in found.items()} == {at: texts[at] for at in asked[:3]}
            assert not number or {1, 2} <= {*kept._young, *kept._old}
            assert max(len(kept._young), len(kept._old)) <= 4
            assert len(kept._met) < 2 * 8 + len(asked)
        every = range(1, 41)
        for _ in range(3):
            assert {at: memory.text for at, memory in cache.select(connection, every).items()} == texts
        (sure,) = [sure for _, sure in cache._seen.values()]
        assert len(sure) >= 8
        cache.select(connection, [1])
        (sure,) = [sure for _, sure in cache._seen.values()]
        assert len(sure) <= 1


def test_threads_that_search_while_others_write_find_what_is_there(store: LocalStore) -> None:
    store.add([Draft(id=f"{number}", text=f"memory {number} 0") for number in range(8)])
    wrong: list[object] = []

    def search() -> None:
        for _ in range(150):
            memories = found(store)
            if len(memories) != 8 or any(
                memory.text.split()[-1] != str(memory.metadata.get("turn", 0)) for memory in memories.values()
            ):
                wrong.append(memories)

    searching = [Thread(target=search) for _ in range(3)]
    for thread in searching:
        thread.start()
    for turn in range(1, 60):
        id_ = f"{turn % 8}"
        store.add([Draft(id=id_, text=f"memory {id_} {turn}", metadata={"turn": turn})])
        store.reinforce([id_])
    for thread in searching:
        thread.join()
    assert wrong == []


_ids = st.sampled_from("abcd")
_step = st.one_of(
    st.tuples(st.just("add"), _ids, st.booleans(), st.booleans()),
    st.tuples(st.just("update"), _ids, st.booleans(), st.booleans()),
    st.tuples(st.sampled_from(["reinforce", "delete"]), _ids, st.booleans()),
    st.tuples(st.just("wait")),
)


@pytest.mark.property
@pytest.mark.parametrize("security", [{}, SEALED_FIELDS])
@settings(deadline=None, max_examples=40)
@given(steps=st.lists(_step, min_size=1, max_size=12))
def test_a_hit_is_the_memory_as_it_is_whoever_changed_it(security: dict[str, object], steps: list[tuple]) -> None:
    moment = [NOW]
    with (
        tempfile.TemporaryDirectory() as place,
        opened(Path(place), lambda: moment[0], security=security, lifetime={"refresh_on_read": True}) as store,
        opened(Path(place), lambda: moment[0], security=security) as other,
    ):
        for number, (what, *rest) in enumerate(steps):
            moment[0] += timedelta(seconds=1000 if what == "wait" else 1)
            who = other if rest and rest[1] else store
            if what == "add":
                lasting = {"ttl_s": 3000.0} if rest[2] else {}
                who.add([Draft(id=rest[0], text=f"memory {number}", metadata={"n": [number]}, **lasting)])
            elif what == "update" and who.get([rest[0]]) != [None]:
                who.update([Patch(id=rest[0], changes={"pinned": rest[2]})])
            elif what == "reinforce":
                who.reinforce([rest[0]])
            elif what == "delete":
                who.delete([rest[0]])
            for _ in range(2):
                there = {memory.id: memory for memory in other.get(list("abcd")) if memory is not None}
                assert found(store) == {
                    id_: memory
                    for id_, memory in there.items()
                    if memory.expires_at is None or memory.expires_at > moment[0]
                }
