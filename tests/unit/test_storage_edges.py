"""What happens at the edges of storage: other drivers, damaged files, keys, limits, moments."""

import logging
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from ums_core import Draft, DualStore, EmbedderIdentity, LocalStore, Passage, Patch, Query, UnifiedSettings, open_store
from ums_core.bench.report import new_figure
from ums_core.channels import build
from ums_core.channels.care import restore_store
from ums_core.errors import (
    DiskFull,
    EmbedderMismatch,
    IdempotencyConflict,
    IndexRecovering,
    InvalidInput,
    InvalidText,
    MemoryNotFound,
    MissingExtra,
    StorageError,
    StoreClosed,
)
from ums_core.pipeline.indexing import Indexes
from ums_core.ports.ledger import Head
from ums_core.storage.allowed import AllowedRows
from ums_core.storage.complaint import explain
from ums_core.storage.connect import Connector, load_driver
from ums_core.storage.database import Database
from ums_core.storage.filters import register
from ums_core.storage.migrations import migrate
from ums_core.storage.reembed import Aside
from ums_core.storage.sealed_columns import views_of
from ums_core.testing.sealed import SEALED
from ums_core.wire import calls

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def settings(place: Path, **model: object) -> UnifiedSettings:
    return UnifiedSettings(database={"url": f"sqlite:///{place}/memory.db"}, model={"embedder": "hashing:16", **model})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    with open_store(settings(tmp_path)) as opened:
        yield opened


def test_a_file_goes_from_the_newer_driver_to_the_older_and_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(settings(tmp_path)) as newer:
        newer.add([Draft(id=name, text=f"{name} speaks", speaker="Ana", occurred_at=NOW) for name in ("one", "two")])
        newer.delete(["two"])
        assert newer.health().driver.startswith("sqlcipher3")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "sqlcipher3", None)
        with open_store(settings(tmp_path)) as older:
            assert older.health().driver.startswith("sqlite3")
            assert [hit.memory.id for hit in older.search(Query(text="speaks", mode="keyword"))] == ["one"]
            older.add([Draft(id="three", text="three speaks")])
            assert older.delete(["one"]) == 1
    with open_store(settings(tmp_path)) as again:
        assert [hit.memory.id for hit in again.search(Query(text="speaks", mode="keyword"))] == ["three"]


def test_without_faiss_the_backend_serves_exact_search_and_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("faiss", "generation", "graph"):
        monkeypatch.delitem(sys.modules, f"ums_core.index.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "faiss", None)
    build._say_once.cache_clear()
    with caplog.at_level(logging.WARNING, "ums_core"), open_store(settings(tmp_path)) as store:
        store.add([Draft(text="exact")])
        assert store.health().index == {"text": "exact"}
    assert "pip install 'ums-core[faiss]'" in caplog.text


@pytest.mark.parametrize("table", ["journal", "meta"])
def test_a_database_that_lost_a_table_is_refused_and_let_go(tmp_path: Path, table: str) -> None:
    open_store(settings(tmp_path)).close()
    with sqlite3.connect(tmp_path / "memory.db") as connection:
        connection.execute(f"DROP TABLE {table}")
    connection.close()
    with pytest.raises(StorageError, match=f"no such table: {table}"):
        open_store(settings(tmp_path))


def test_terms_that_cannot_be_made_readable_are_reported(tmp_path: Path) -> None:
    open_store(settings(tmp_path)).close()
    connection = load_driver().connect(str(tmp_path / "memory.db"))
    connection.execute("UPDATE meta SET value = 'another kind' WHERE key = 'terms'")
    connection.execute("DROP TABLE terms")
    connection.commit()
    connection.close()
    with pytest.raises(StorageError, match="no such table: terms_config"):
        open_store(settings(tmp_path))


def test_a_connection_that_cannot_be_set_up_is_closed(tmp_path: Path) -> None:
    def fail(_: object) -> None:
        raise InterruptedError

    connector = Connector(tmp_path / "memory.db", load_driver(), fail)
    with pytest.raises(InterruptedError):
        connector.open(writable=True)


def test_a_schema_that_does_not_fit_on_the_disk_leaves_an_empty_file(tmp_path: Path) -> None:
    connection = load_driver().connect(str(tmp_path / "small.db"), isolation_level=None)
    connection.execute("PRAGMA max_page_count=4")
    with pytest.raises(Exception, match="full"):
        migrate(connection, tmp_path / "small.db", secure_terms=True)
    assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    connection.close()


def test_a_full_disk_is_told_apart(store: LocalStore) -> None:
    store._database._writing.execute("PRAGMA max_page_count=40")
    with pytest.raises(DiskFull, match="free some space"):
        store.add([Draft(text=f"word{n} " * 40) for n in range(2000)])
    assert store.count() == 0


def test_an_index_that_fails_after_the_commit_fails_no_write(
    store: LocalStore, caplog: pytest.LogCaptureFixture
) -> None:
    told = store._database.on_commit

    def fail(*_: object) -> None:
        raise MemoryError

    store._database.on_commit = fail
    with caplog.at_level(logging.ERROR, "ums_core"):
        store.add([Draft(id="kept", text="kept anyway")])
    assert "could not take up a committed change" in caplog.text
    store._database.on_commit = told
    assert store.search(Query(text="kept anyway"))[0].memory.id == "kept"
    assert store.verify() == []


def test_a_checkpoint_on_demand_folds_the_log(store: LocalStore) -> None:
    store.add([Draft(text="a")])
    assert store._database.checkpoint("TRUNCATE")
    assert Path(f"{store._database.path}-wal").stat().st_size == 0
    store.close()
    store._database.close()


def test_an_embedder_bound_meanwhile_is_not_mixed_with_another(store: LocalStore) -> None:
    store._database.write(lambda tx: tx.bind("text", EmbedderIdentity("other", "", 3)))
    with pytest.raises(EmbedderMismatch, match=r"other \(3-d\)"):
        store._database.write(lambda tx: tx.bind("text", EmbedderIdentity("caller", "", 3)))


def test_what_comes_between_the_last_batch_of_a_move_and_the_switch_moves_too(store: LocalStore) -> None:
    store.add([Draft(id="a", text="first"), Draft(id="b", text="second")])
    target = EmbedderIdentity("other", "", 2)
    aside = Aside(store._database)
    assert aside.aim(target) == 2
    moved = aside.switch(target, lambda rows: [(rid, (Passage(),), [np.ones(2, np.float32)]) for rid, _ in rows])
    assert moved == 2
    assert store.health().embedder == {"text": "other (2-d)"}


def test_a_repeated_update_of_a_memory_deleted_since_says_so(store: LocalStore) -> None:
    store.add([Draft(id="m", text="old")])
    patch = Patch(id="m", changes={"passages": (Passage(text="new words"),), "text": "new", "embedding": None})
    (changed,) = store.update([patch], idempotency_key="k")
    assert store.update([patch], idempotency_key="k") == [changed]
    with pytest.raises(IdempotencyConflict):
        store.update([Patch(id="m", changes={"embedding": np.ones(16, np.float32)})], idempotency_key="k")
    store.delete(["m"])
    with pytest.raises(MemoryNotFound, match="deleted since"):
        store.update([patch], idempotency_key="k")


def test_a_memory_has_at_most_65536_passages(store: LocalStore) -> None:
    with pytest.raises(InvalidText, match="65537 passages"):
        store.add([Draft(text="x", passages=(Passage(vector=[1.0] * 16),) * 65_537)])


def test_a_text_of_many_bytes_and_few_tokens_stays_whole(tmp_path: Path) -> None:
    with open_store(settings(tmp_path, embedder="static")) as store:
        (memory,) = store.add([Draft(text="The committee considered everybody's recommendations. " * 8)])
        assert memory.passages == (Passage(),)


def test_the_key_value_area_refuses_what_it_cannot_give_back(store: LocalStore) -> None:
    for items in ({"": 1}, {"a": object()}, {"a": float("nan")}):
        with pytest.raises(InvalidInput):
            store.kv_put("c", items)
    assert store.kv_scan("c") == []


@pytest.mark.parametrize("prefix", ["", "a", "a/", "b", "\ud7ff", "\U0010ffff", "a\U0010ffff", "no"])
@pytest.mark.parametrize("descending", [False, True])
def test_the_key_value_area_is_walked_by_prefix_in_both_directions(
    store: LocalStore, prefix: str, *, descending: bool
) -> None:
    keys = [
        "a",
        "a/",
        "a/1",
        "a/2",
        "a0",
        "a\U0010ffff",
        "a\U0010ffffb",
        "b",
        "\ud7ff",
        "\ud7ffx",
        "\ue000",
        "\U0010ffff",
    ]
    store.kv_put("c", dict.fromkeys(keys, 1))
    store.kv_put("d", dict.fromkeys(keys, 2))
    expected = sorted((key for key in keys if key.startswith(prefix)), reverse=descending)
    found, after = [], ""
    while page := store.kv_scan("c", prefix=prefix, after=after, limit=2, descending=descending):
        found += page
        after = page[-1][0]
    assert found == [(key, 1) for key in expected]


def test_what_has_metadata_alone_is_found_by_ids_and_filters_only(store: LocalStore) -> None:
    store.add([Draft(id="bare", metadata={"n": 1}), Draft(id="said", text="hello there", metadata={"n": 2})])
    assert [memory.id for memory in store.scan(filter={"n": 1}).memories] == ["bare"]
    assert [hit.memory.id for hit in store.search(Query(text="hello", k=9))] == ["said"]
    assert store.get(["bare"])[0].passages == ()
    assert store.update([Patch(id="bare", changes={"text": "hello"})])[0].passages != ()
    assert len(store.search(Query(text="hello", k=9))) == 2
    assert store.update([Patch(id="bare", changes={"text": ""})])[0].text == ""
    assert [hit.memory.id for hit in store.search(Query(text="hello", k=9))] == ["said"]
    assert store.verify() == []


def test_rows_of_one_batch_that_say_different_things_keep_their_order_and_what_they_say(store: LocalStore) -> None:
    said = [
        Draft(text="bare"),
        Draft(text="told", speaker="Ada", role="user", position=0, session="s"),
        Draft(text="barer"),
        Draft(text="", caption="a cat", tags=("t",), metadata={"none": None}, ttl_s=60.0),
        Draft(text="last", occurred_at=NOW, valid_from=NOW, expires_at=NOW + timedelta(days=9000)),
    ]
    stored = store.add(said)
    assert [memory.text for memory in store.scan().memories] == [draft.text for draft in said]
    assert store.get([memory.id for memory in stored]) == stored
    for draft, memory in zip(said, stored, strict=True):
        for name in ("speaker", "role", "position", "session", "caption", "tags", "metadata", "ttl_s", "occurred_at"):
            assert getattr(memory, name) == getattr(draft, name)


def test_health_tells_the_dimension_before_the_first_vector_and_after(tmp_path: Path) -> None:
    with open_store(settings(tmp_path / "a", embedder="hashing:24")) as store:
        assert store.health().dim == {"text": 24}
    caller = UnifiedSettings(
        database={"url": f"sqlite:///{tmp_path}/b.db"},
        model={"embedder": "none", "vector_dim": 5, "modalities": ["text", "image"], "vector_dims": {"image": 3}},
    )
    with open_store(caller) as store:
        assert store.health().dim == {"text": 5}
        store.add([Draft(embedding=[1.0] * 5), Draft(modality="image", embedding=[1.0] * 3)])
        assert store.health().dim == {"text": 5, "image": 3}


def test_row_sets_leave_the_cache_when_it_is_full_and_grow_while_they_stay(store: LocalStore) -> None:
    store.add([Draft(text=f"t{n}", tags=(f"tag{n % 2}",), namespace=("a",)) for n in range(20)])
    cache = AllowedRows(max_bytes=100)
    with store._database.reader() as connection:
        first = cache.get(connection, "m.level = ?", [0], 20)
        assert len(first) == 20
        assert cache.get(connection, "m.level = ?", [0], 20) is not first
        kept = AllowedRows()
        before = kept.get(connection, "m.level = ?", [0], 20)
        assert kept.get(connection, "m.level = ?", [0], 20) is before
        assert len(kept.get(connection, "m.level = ?", [False], 20)) == 20
    store.add([Draft(text="new", namespace=("a",)), Draft(text="deep", level=1, namespace=("b",))])
    with store._database.reader() as connection:
        grown = kept.get(connection, "m.level = ?", [0], 22)
        assert (len(before), len(grown)) == (20, 21)
        assert kept.get(connection, "m.level = ?", [0], 23) is grown
        kept.clear()
        assert kept.get(connection, "m.level = ?", [0], 22) is not grown


def test_a_search_that_writers_never_leave_alone_leaves_out_what_has_expired(tmp_path: Path) -> None:
    class Restless:
        """A clock that sees to it that something changes whenever somebody looks at it."""

        def __init__(self) -> None:
            self.store: LocalStore | None = None
            self.busy = False

        def __call__(self) -> datetime:
            if self.store is not None and not self.busy:
                self.busy = True
                self.store.add([Draft(text="something else", namespace=("elsewhere",))])
                # Which an index takes up when somebody asks for it.
                self.store.health()
                self.busy = False
            return NOW

    clock = Restless()
    with open_store(settings(tmp_path), clock=clock) as store:
        store.add(
            [
                Draft(id="over", text="the same words", expires_at=NOW - timedelta(days=1), namespace=("here",)),
                Draft(id="alive", text="the same words", expires_at=NOW + timedelta(days=1), namespace=("here",)),
            ]
        )
        clock.store = store
        hits = store.search(Query(text="the same words", namespace=("here",)))
        assert [hit.memory.id for hit in hits] == ["alive"]
        clock.store = None


def test_what_has_expired_makes_room_for_what_has_not(tmp_path: Path) -> None:
    with open_store(settings(tmp_path), clock=lambda: NOW) as store:
        past, future = NOW - timedelta(hours=1), NOW + timedelta(hours=1)
        store.add([Draft(text="tea at five", expires_at=past) for _ in range(30)])
        store.add([Draft(id="late", text="tea at five or six", expires_at=future), Draft(id="ever", text="green tea")])
        for mode in ("hybrid", "vector", "keyword"):
            found = store.search(Query(text="tea at five", k=2, mode=mode))
            assert {hit.memory.id for hit in found} == {"late", "ever"}, mode
        found = store.search(Query(text="tea at five", filter={"id": "late"}))
        assert [hit.memory.id for hit in found] == ["late"]


def test_what_came_and_went_in_one_shared_commit_is_in_no_index(store: LocalStore) -> None:
    store.add([Draft(id="seed", text="seed")])
    database = store._database
    prepared = store._ingest.prepare([Draft(id=name, text=f"the {name} one") for name in ("brief", "lasting")])
    database._transact(
        [lambda tx: tx.add(prepared.rows), lambda tx: tx.delete(["brief"], ()), lambda tx: tx.add(prepared.rows[1:])]
    )
    assert store.verify() == []
    assert [hit.memory.id for hit in store.search(Query(text="the lasting one", k=1))] == ["lasting"]
    assert store.get(["brief"]) == [None]
    database._transact([lambda tx: tx.add(prepared.rows[:1]), lambda tx: tx.delete(["seed"], ())])
    assert store.verify() == []
    assert store.count() == 2
    assert database.write(lambda tx: (tx.add(prepared.rows[1:]), tx.delete(["lasting"], ()))[1]) == 1
    assert store.verify() == []
    assert store.count() == 1


GARBAGE = {
    "one draft": lambda store: store.add(Draft(text="alone")),
    "a text": lambda store: store.add("text"),
    "texts": lambda store: store.add(["text"]),
    "nothing": lambda store: store.add(None),
    "no patch": lambda store: store.update(["id"]),
    "no patches": lambda store: store.update(None),
    "no query": lambda store: store.search("text"),
    "no ids": lambda store: store.get(None),
    "one id": lambda store: store.delete("id"),
    "a far cursor": lambda store: store.scan(cursor=2**70),
    "no embedder": lambda store: store.reembed(5),
    "no collection": lambda store: store.kv_get(1, ["a"]),
    "one key": lambda store: store.kv_get("c", "ab"),
    "no keys": lambda store: store.kv_delete("c", None),
    "no items": lambda store: store.kv_put("c", None),
    "no start": lambda store: store.kv_scan("c", after=3),
    "a surrogate": lambda store: store.kv_scan("c", after="\ud800"),
    "no limit": lambda store: store.kv_scan("c", limit="x"),
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_an_argument_of_another_type_is_named_and_writes_nothing(
    store: LocalStore, garbage: Callable[[LocalStore], object]
) -> None:
    with pytest.raises(InvalidInput):
        garbage(store)
    assert store.count() == 0


@pytest.mark.parametrize("descending", [False, True])
def test_a_large_namespace_is_listed_in_order_between_others_and_after_changes(
    store: LocalStore, *, descending: bool
) -> None:
    names = [f"{number:04}" for number in range(2100)]
    for part in (names[:1000], names[1000:]):
        store.add([Draft(id=name, text="large", namespace=("large",)) for name in part])
        store.add([Draft(id=name, text="other", namespace=("other", name)) for name in part[:5]])
    store.add([Draft(id=name, text="new", namespace=("large",)) for name in names[::300]])
    store.delete(names[3:5], namespace=("large",))
    left = [name for name in names if name not in names[3:5]]
    found: list[str] = []
    cursor = None
    while not found or cursor is not None:
        page = store.scan(namespace=("large",), limit=500, cursor=cursor, descending=descending)
        found, cursor = [*found, *(memory.id for memory in page.memories)], page.cursor
    assert found == (left[::-1] if descending else left)
    assert len(store.scan(limit=9999, descending=descending).memories) == 2108


def test_single_writes_wait_for_the_next_search_and_never_in_crowds(store: LocalStore, tmp_path: Path) -> None:
    store.add([Draft(id="first", text="the first")])
    store.search(Query(text="first", mode="vector"))
    for number in range(300):
        store.add([Draft(id=f"n{number}", text=f"number {number}")])
        assert store._indexes._waiting_rows < 256
    index = dict(store._indexes._held)["text"][1]
    assert index.seq < store._database.head().seq == store.health().index_seq["text"]
    with open_store(settings(tmp_path)) as other:
        # One process writes between two writes of another, and what came goes again before anybody looks.
        store.add([Draft(id="mine", text="a violin")])
        other.add([Draft(id="theirs", text="a cello")])
        store.add([Draft(id="late", text="a trumpet")])
        store.delete(["n7", "mine"])
        for each in (store, other):
            assert [hit.memory.id for hit in each.search(Query(text="a cello", mode="vector", k=1))] == ["theirs"]
            assert not {"mine", "n7"} & {
                hit.memory.id for hit in each.search(Query(text="violin", mode="vector", k=400))
            }
            assert not each.verify()


@pytest.mark.needs_faiss
def test_while_an_index_is_rebuilt_writes_are_refused_with_a_time_to_wait(tmp_path: Path) -> None:
    chosen = UnifiedSettings(
        database={"url": f"sqlite:///{tmp_path}/memory.db", "backend": "faiss"},
        model={"embedder": "none", "vector_dim": 4},
    )
    vectors = np.random.default_rng(0).standard_normal((4100, 4))
    with open_store(chosen) as store:
        store.add([Draft(embedding=vectors[0])])
        with store._indexes.held()["text"].recovery():
            store.add([Draft(embedding=vector) for vector in vectors[1:]])
            store.health()
            with pytest.raises(IndexRecovering) as caught:
                store.add([Draft(embedding=vectors[0])])
            assert caught.value.retry_after_s > 0
        store.settle()
        store.add([Draft(embedding=vectors[0])])


def test_a_reader_that_is_out_as_all_are_closed_is_closed_when_it_comes_back(tmp_path: Path) -> None:
    connector = Connector(tmp_path / "memory.db", load_driver(), register)
    with connector.reader() as connection:
        connector.close()
        assert connection.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(load_driver().ProgrammingError):
        connection.execute("SELECT 1")


def test_a_write_that_comes_as_the_store_closes_is_refused(store: LocalStore) -> None:
    store.add([Draft(text="tea")])
    store._database.stop_writes()
    with pytest.raises(StoreClosed):
        store.add([Draft(text="late")])
    assert store.count() == 1


def test_who_wants_all_readers_back_waits_for_those_that_are_lent(store: LocalStore) -> None:
    connector = store._database._connector

    def alone() -> bool:
        with connector.paused():
            return not connector._lent

    with ThreadPoolExecutor(1) as elsewhere:
        with connector.reader():
            paused = elsewhere.submit(alone)
            while not connector._paused:
                time.sleep(0.001)
            assert not paused.done()
        assert paused.result(10)
    assert store.count() == 0


def test_who_is_waited_for_may_have_another_reader(store: LocalStore) -> None:
    connector = store._database._connector

    def alone() -> None:
        with connector.paused():
            pass

    with ThreadPoolExecutor(1) as elsewhere:
        with connector.reader():
            paused = elsewhere.submit(alone)
            while not connector._paused:
                time.sleep(0.001)
            # As a search does that meets a namespace for the first time.
            with connector.reader() as another:
                assert another.execute("SELECT 1").fetchone() == (1,)
            assert not paused.done()
        paused.result(10)
    assert not connector._lent


class Interrupting(threading.Condition):
    """One whose wait is broken off, as by a signal."""

    def __init__(self, wait_for: Callable[..., None]) -> None:
        super().__init__()
        self.wait_for = wait_for  # type: ignore[method-assign, assignment]  # on purpose


def test_who_is_interrupted_while_waiting_for_readers_lets_others_go_on(store: LocalStore) -> None:
    connector = store._database._connector

    class Interrupted(BaseException):
        pass

    def interrupted(*_: object) -> None:
        raise Interrupted

    condition = connector._changed
    with connector.reader():
        connector._changed = Interrupting(interrupted)
        with pytest.raises(Interrupted), connector.paused():
            pytest.fail("it has all readers")
        connector._changed = condition
        assert not connector._paused
    assert store.count() == 0


def test_what_cannot_be_told_apart_is_said_as_the_driver_said_it(tmp_path: Path) -> None:
    odd = sqlite3.OperationalError("user-defined function raised exception")
    assert "user-defined function" in str(explain(odd, tmp_path))
    with closing(sqlite3.connect(":memory:")) as empty:
        assert list(views_of(empty)) == []


def test_figures_need_the_extra_that_draws_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match="bench"):
        new_figure(4)


def test_whoever_waits_for_a_backup_is_told_how_far_it_is(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    def note(done: int, whole: int) -> None:
        told.append((done, whole))

    chosen = UnifiedSettings.for_testing(database={"url": f"sqlite:///{tmp_path}/a/memory.db"}, security=SEALED)
    with open_store(chosen) as store:
        store.add([Draft(text="hello")])
        store.backup(tmp_path / "backup", progress=note)
    assert told[-1][0] == told[-1][1]
    told.clear()
    restore_store(tmp_path / "backup", chosen, replace=True, progress=note)
    assert told[-1][0] == told[-1][1]


def test_what_is_called_meanwhile_does_not_cross_a_network_and_what_is_shared_is_not_compared() -> None:
    with pytest.raises(InvalidInput, match="name one"):
        calls.consolidate(strategy=cast("Any", lambda *_: "a summary"))
    with pytest.raises(InvalidInput, match="progress and cancel"):
        calls.check_here(None, print)
    with (
        open_store(UnifiedSettings.for_testing()) as own,
        open_store(UnifiedSettings.for_testing()) as shared,
        pytest.raises(InvalidInput, match="global"),
    ):
        DualStore(own, shared).add_distinct([Draft(text="for all", channel="global")])


class Between:
    """A database in which something is written as soon as somebody reads a moment of it."""

    def __init__(self, database: Database, write: Callable[[], object]) -> None:
        self._database = database
        self._write = write

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # whatever the database has
        return getattr(self._database, name)

    @contextmanager
    def snapshot(self) -> Iterator[Head]:
        with self._database.snapshot() as head:
            self._write()
            yield head


def test_what_is_committed_while_an_index_is_verified_is_no_difference(store: LocalStore) -> None:
    database = store._database
    between = Between(database, lambda: store.add([Draft(text="meanwhile")]))
    indexes = Indexes(cast("Database", between), store._indexes._make)
    database.on_commit = indexes.committed
    store.add([Draft(text="before")])
    for seen in (1, 2):
        assert indexes.verify() == []
        assert len(database.rids("text")) == 1 + seen
