"""Several processes on one file see each other's commits at once, and none loses a write."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier, Thread

import pytest

from ums_core import Draft, Query
from ums_core.storage.connect import Connector, load_driver
from ums_core.storage.filters import register
from ums_core.storage.migrations import migrate
from ums_core.testing.samples import unit
from ums_core.testing.sealed import SEALED, SEALED_FIELDS
from ums_core.testing.worker import Worker
from ums_core.testing.workload import Place, rare_word, version_of

pytestmark = pytest.mark.faults

THREADS = 6
BACKENDS = ["exact", pytest.param("faiss", marks=pytest.mark.needs_faiss)]


@pytest.fixture(params=BACKENDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(str(tmp_path / "memory.db"), backend=request.param)


@pytest.fixture
def processes() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_a_commit_of_another_process_is_found_by_the_very_next_call(place: Place, processes: ExitStack) -> None:
    writer = processes.enter_context(Worker.obeying(place))
    with place.open() as store:
        for number in range(40):
            id_ = f"a-{number}"
            writer.ask("add", effect={id_: 0})
            (best,) = store.search(Query(vector=unit(f"{id_}#0", place.dim), k=1))
            assert best.memory.id == id_
            words = Query(text=rare_word(id_, 0), mode="keyword")
            assert [hit.memory.id for hit in store.search(words)] == [id_]
            assert store.count() == number + 1


@pytest.mark.parametrize(
    "security",
    [{}, pytest.param(SEALED, marks=pytest.mark.needs_sqlcipher), SEALED_FIELDS],
    ids=["plain", "pages", "fields"],
)
def test_reading_the_raw_files_of_an_open_store_lets_no_write_get_lost(
    tmp_path: Path, security: dict[str, object]
) -> None:
    place = Place(str(tmp_path / "memory.db"), security=security)
    with place.open() as store:
        store.add([place.draft("a-0", 0), place.draft("a-1", 0)])
    # Opened again: what a sealed store looks at then are the bytes of the file, too.
    with place.open() as store:
        with place.open():
            pass
        assert store.verify_erased(store.erase(["a-0"], namespace=("a",))) == []
        # Whoever takes itself for the last one takes the log away, in which this one goes on writing.
        with Worker.obeying(place) as other:
            assert other.ask("count") == 1
            other.finish()
        store.add([place.draft("a-2", 0)])
        with Worker.obeying(place) as other:
            assert other.ask("count") == 2
            other.finish()
    with place.open() as store:
        assert store.count() == 2


def test_updates_and_deletes_of_another_process_are_seen_at_once(place: Place, processes: ExitStack) -> None:
    writer = processes.enter_context(Worker.obeying(place))
    ids = [f"a-{number}" for number in range(20)]
    with place.open() as store:
        store.add([place.draft(id_, 0) for id_ in ids])
        for id_ in ids[:10]:
            writer.ask("update", effect={id_: 1})
            (best,) = store.search(Query(vector=unit(f"{id_}#1", place.dim), k=1))
            assert (best.memory.id, version_of(best.memory, place.dim)) == (id_, 1)
            assert store.search(Query(text=rare_word(id_, 0), mode="keyword")) == []
        for gone, id_ in enumerate(ids, 1):
            writer.ask("delete", effect={id_: None})
            found = [hit.memory.id for hit in store.search(Query(vector=unit(f"{id_}#0", place.dim), k=50))]
            assert sorted(found) == sorted(ids[gone:])
            assert store.get([id_], namespace=("a",)) == [None]
            assert store.count() == 20 - gone
        assert store.verify() == []


def test_all_writes_of_two_processes_are_there_while_a_third_reads(place: Place, processes: ExitStack) -> None:
    writers = [processes.enter_context(Worker.obeying(place)) for _ in range(2)]
    rounds = 40
    with place.open() as store:
        for step in range(rounds):
            for number, writer in enumerate(writers):
                writer.order("add", effect={f"w{number}-{step}-{part}": 0 for part in range(3)})
        seen = 0
        for step in range(rounds):
            for number, writer in enumerate(writers):
                writer.answer()
                now = store.count()
                assert now >= seen
                seen = now
                (best,) = store.search(Query(vector=unit(f"w{number}-{step}-2#0", place.dim), k=1))
                assert best.memory.id == f"w{number}-{step}-2"
        assert store.count() == 6 * rounds
        assert store.verify() == []
        assert all(version_of(memory, place.dim) == 0 for memory in store.scan(limit=1000).memories)
    for writer in writers:
        assert writer.ask("count") == 6 * rounds
        assert writer.ask("verify") == []
        assert writer.finish() == 0
    with place.open() as store:
        assert (store.count(), store.verify(), store.health().status) == (6 * rounds, [], "ok")
        assert store.verify_history() == []
        # Of two processes that wrote by turns, each change tells which it was.
        actors = {
            store.history(f"w{number}-{step}-0", namespace=(f"w{number}",))[0].actor
            for number in range(2)
            for step in range(rounds)
        }
        assert len(actors) == 2


def test_two_processes_write_one_key_once(place: Place, processes: ExitStack) -> None:
    writers = [processes.enter_context(Worker.obeying(place)) for _ in range(2)]
    for step in range(20):
        for writer in writers:
            writer.order("add", effect={f"a-{step}": 0}, key=f"key-{step}")
        for writer in writers:
            assert writer.answer() is None
    with place.open() as store:
        assert (store.count(), store.health().seq) == (20, 20)


def test_processes_that_create_one_database_together_share_it(place: Place, processes: ExitStack) -> None:
    writers = [processes.enter_context(Worker("obey", place.to_json())) for _ in range(3)]
    assert [writer.answer() for writer in writers] == ["ready"] * 3
    for number, writer in enumerate(writers):
        writer.order("add", effect={f"w{number}-0": 0})
    assert [writer.answer() for writer in writers] == [None] * 3
    assert [writer.ask("count") for writer in writers] == [3] * 3
    assert [writer.ask("verify") for writer in writers] == [[]] * 3


def test_stores_that_create_one_database_at_the_same_moment_share_it(tmp_path: Path) -> None:
    together = Barrier(THREADS)

    def create(place: Place, number: int) -> None:
        together.wait()
        with place.open() as store:
            store.add([place.draft(f"w{number}-0", 0)])

    with ThreadPoolExecutor(THREADS) as threads:
        for attempt in range(20):
            place = Place(str(tmp_path / f"{attempt}.db"))
            list(threads.map(create, [place] * THREADS, range(THREADS)))
            with place.open() as store:
                assert (store.count(), store.verify()) == (THREADS, [])


def test_a_database_that_another_creates_while_this_one_looks_is_not_foreign(tmp_path: Path) -> None:
    place = Place(str(tmp_path / "memory.db"))
    connection = Connector(Path(place.path), load_driver(), register).open(writable=True)
    others: list[Thread] = []

    def come_between(statement: str) -> None:
        if "user_version" in statement and not others:
            others.append(Thread(target=lambda: place.open().close()))
            others[0].start()
            others[0].join(0.5)

    connection.set_trace_callback(come_between)
    try:
        database_id = migrate(connection, Path(place.path), secure_terms=False)
        others[0].join()
        assert connection.execute("SELECT value FROM meta WHERE key = 'database_id'").fetchall() == [(database_id,)]
    finally:
        connection.close()


def test_processes_that_open_what_a_kill_left_all_find_everything(place: Place, processes: ExitStack) -> None:
    killed = processes.enter_context(Worker.obeying(place))
    ids = [f"a-{number}" for number in range(300)]
    for start in range(0, 300, 30):
        killed.ask("add", effect=dict.fromkeys(ids[start : start + 30], 0))
    killed.kill()
    # All of them replay the log and build the index at the same time.
    openers = [processes.enter_context(Worker("obey", place.to_json())) for _ in range(3)]
    assert [opener.answer() for opener in openers] == ["ready"] * 3
    for number, opener in enumerate(openers):
        assert opener.ask("count") == 300 + number
        assert opener.ask("find", id=ids[7], version=0) == [ids[7]]
        opener.ask("add", effect={f"new-{number}": 0})
    for opener in openers:
        assert opener.ask("find", id="new-2", version=0) == ["new-2"]
        assert opener.ask("verify") == []


@pytest.mark.needs_faiss
def test_a_process_that_opens_while_another_builds_the_graph_finds_everything(
    tmp_path: Path, processes: ExitStack
) -> None:
    place = Place(str(tmp_path / "memory.db"), backend="faiss")
    count = 6600
    with place.open() as store:
        for start in range(0, count, 600):
            store.add([place.draft(f"a-{start + n}", 0) for n in range(600)])
    for snapshot in tmp_path.glob("*.index"):
        snapshot.unlink()
    builders = [processes.enter_context(Worker("obey", place.to_json())) for _ in range(2)]
    assert [builder.answer() for builder in builders] == ["ready"] * 2
    for builder in builders:
        assert builder.ask("find", id="a-77", version=0) == ["a-77"]
        builder.ask("settle")
    for number, builder in enumerate(builders):
        builder.ask("add", effect={f"new-{number}": 0})
        assert builder.ask("verify") == []
    for builder in builders:
        assert builder.ask("find", id="new-1", version=0) == ["new-1"]
        assert builder.finish() == 0
    with place.open() as store:
        assert (store.count(), store.verify()) == (count + 2, [])


def test_a_modality_that_another_process_began_is_searched(place: Place, processes: ExitStack) -> None:
    other = processes.enter_context(Worker.obeying(place))
    with place.open() as store:
        store.add([place.draft("a-1", 0)])
        other.ask("image", id="picture")
        # A question about text comes first, and takes up what the other wrote.
        assert store.search(Query(vector=unit("a-1#0", place.dim)))[0].memory.id == "a-1"
        image = Query(vector=unit("picture", place.dim), modality="image")
        assert [hit.memory.id for hit in store.search(image)] == ["picture"]


def test_a_modality_that_two_processes_write_is_whole_in_both_and_after_reopen(
    place: Place, processes: ExitStack
) -> None:
    other = processes.enter_context(Worker.obeying(place))
    image = Query(vector=unit("picture", place.dim), modality="image")
    with place.open() as store:
        store.add([place.draft("a-1", 0)])
        other.ask("image", id="picture")
        assert store.search(Query(vector=unit("a-1#0", place.dim)))[0].memory.id == "a-1"
        store.add([Draft(id="second", embedding=unit("second", place.dim), modality="image")])
        found = [hit.memory.id for hit in store.search(image)]
        assert other.finish() == 0
    # This store closed last, so its snapshot is the one that is loaded.
    with place.open() as store:
        assert store.verify() == []
        assert [hit.memory.id for hit in store.search(image)] == ["picture", "second"]
    assert found == ["picture", "second"]


def test_an_index_saved_by_one_process_serves_the_next(place: Place, processes: ExitStack) -> None:
    first, second = (processes.enter_context(Worker.obeying(place)) for _ in range(2))
    first.ask("add", effect={f"a-{n}": 0 for n in range(50)})
    second.ask("add", effect={f"b-{n}": 0 for n in range(50)})
    # The one that closes last has seen less: the snapshot it leaves is older than the database.
    first.ask("close")
    first.ask("add", effect={"c-1": 0})
    first.ask("close")
    second.ask("close")
    with place.open() as store:
        for id_ in ("a-1", "b-1", "c-1"):
            assert store.search(Query(vector=unit(f"{id_}#0", place.dim), k=1))[0].memory.id == id_
        assert (store.count(), store.verify()) == (101, [])
