"""What was acknowledged outlives the process that wrote it, whenever that is killed."""

import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from functools import partial
from pathlib import Path

import psutil
import pytest
from books import Books, assert_sound, everything
from thorough import count

from ums_core.testing.worker import Worker
from ums_core.testing.workload import Churn, Place

pytestmark = pytest.mark.faults

ROUNDS = 10
GRAPH_ROUNDS = count(2, 6)
GRAPH_SIZE = 5000
DIM = 16


@pytest.mark.parametrize("backend", ["exact", pytest.param("faiss", marks=pytest.mark.needs_faiss)])
def test_no_acknowledged_write_is_lost_or_wrong_after_kill_9(tmp_path: Path, backend: str) -> None:
    place = Place(str(tmp_path / "memory.db"), backend=backend)
    books = Books()
    acknowledged = certain = 0
    for number in range(ROUNDS):
        rng = random.Random(f"{backend} {number}")
        # What the round before left in doubt, nobody may touch before it is settled.
        settled = number % 3 != 2
        plan = Churn(prefix=f"r{number}", seed=number, threads=1 + number % 4, inherit=settled)
        ledger = tmp_path / f"{number}.ledger"
        with Worker.churning(place, ledger, plan) as worker:
            # Some are killed while they open the database that the one before them left.
            in_opening = number % 5 == 4
            lines = 1 if in_opening else rng.randrange(6, 60)
            _wait_for_lines(ledger, lines, worker)
            # All calls that began have ended, but for one a thread.
            certain += max(0, lines - plan.threads) // 2
            time.sleep(rng.uniform(0, 0.03) if in_opening else rng.uniform(0, 0.4))
            worker.kill()
        acknowledged += books.read(ledger)
        if number % 3 == 1:
            continue  # killed again before anyone looked
        with place.open() as store:
            assert_sound(store, books, place, sorted(books.versions))
            books.finish_open_calls(store, place)
            books.audit(store, place)
    assert acknowledged >= certain > 5 * ROUNDS


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, int]]]:
    """A directory with a database that is large enough for a graph, and what it holds."""
    directory = tmp_path_factory.mktemp("graph")
    place = Place(str(directory / "memory.db"), backend="faiss", dim=DIM)
    versions = {f"base-{number}": 0 for number in range(GRAPH_SIZE)}
    with place.open() as store:
        for start in range(0, GRAPH_SIZE, 500):
            ids = list(versions)[start : start + 500]
            store.add([place.draft(id_, 0) for id_ in ids])
        store.settle()
        assert set(store.health().index.values()) == {"hnsw"}
    yield directory, versions
    shutil.rmtree(directory)


@pytest.mark.needs_faiss
@pytest.mark.parametrize("at", ["merging", "saving"])
def test_a_kill_while_the_graph_is_merged_or_saved_loses_nothing(
    tmp_path: Path, graph: tuple[Path, dict[str, int]], at: str
) -> None:
    shutil.copytree(graph[0], tmp_path, dirs_exist_ok=True)
    place = Place(str(tmp_path / "memory.db"), backend="faiss", dim=DIM)
    books = Books(graph[1])
    met = 0
    for number in range(GRAPH_ROUNDS // 2):
        rng = random.Random(f"{at} {number}")
        ledger = tmp_path / f"{number}.ledger"
        plan = Churn(prefix=f"{at}{number}", seed=number, threads=2, batch=300, inherit=True)
        left = _temporary(tmp_path)
        with Worker.churning(place, ledger, plan) as worker:
            if at == "saving":
                _halt_in(partial(_temporary, tmp_path, left), worker, after_s=rng.uniform(0, 0.004))
            else:
                _wait_for_lines(ledger, 20, worker)
                time.sleep(rng.uniform(0, 0.5))
            worker.kill()
        met += len(_temporary(tmp_path, left))
        books.read(ledger)
        with place.open() as store:
            sample = rng.sample(sorted(books.versions), 500)
            assert_sound(store, books, place, sample)
            store.settle()
            assert_sound(store, books, place, sample)
            books.finish_open_calls(store, place)
    assert at == "merging" or met == GRAPH_ROUNDS // 2


def test_an_interrupt_of_one_writer_loses_no_other_write(tmp_path: Path) -> None:
    place = Place(str(tmp_path / "memory.db"))
    with place.open() as store:
        leading, waiting = threading.Event(), threading.Event()
        outcome: dict[str, object] = {}

        def lead(_: object) -> None:
            leading.set()
            assert waiting.wait(10)

        def interrupted(_: object) -> None:
            raise KeyboardInterrupt

        def run(name: str, work: Callable[[], object]) -> threading.Thread:
            def record() -> None:
                try:
                    outcome[name] = work()
                except BaseException as error:  # noqa: BLE001  # what is under test
                    outcome[name] = error

            thread = threading.Thread(target=record)
            thread.start()
            return thread

        threads = [run("leader", lambda: store._database.write(lead))]
        assert leading.wait(10)
        # Both come while the leader writes, so that they share the next transaction.
        threads.append(run("interrupted", lambda: store._database.write(interrupted)))
        _wait_until(lambda: len(store._database._writer._waiting) == 1)
        threads.append(run("innocent", lambda: store.add([place.draft("a-1", 0)])))
        _wait_until(lambda: len(store._database._writer._waiting) == 2)
        waiting.set()
        for thread in threads:
            thread.join(10)
        assert isinstance(outcome["interrupted"], KeyboardInterrupt)
        told = outcome["innocent"]
        if isinstance(told, BaseException):
            assert store.count() == 0
        else:
            assert told == everything(store) != []


def _temporary(directory: Path, known: AbstractSet[Path] = frozenset()) -> set[Path]:
    """Snapshots that are being written, or were when their process ended."""
    return set(directory.glob(".*.tmp")) - known


def _halt_in(state: Callable[[], object], worker: Worker, *, after_s: float) -> None:
    """Halt it so long after a state began, or sooner where that does not last: it is in it when this returns."""
    process = psutil.Process(worker.process.pid)
    while True:
        _wait_for(state, worker)
        time.sleep(after_s)
        process.suspend()
        _wait_until(lambda: process.status() == psutil.STATUS_STOPPED)
        if state():
            return
        process.resume()
        after_s /= 2


def _wait_for_lines(ledger: Path, count: int, worker: Worker) -> None:
    _wait_for(lambda: ledger.exists() and ledger.read_bytes().count(b"\n") >= count, worker)


def _wait_for(condition: Callable[[], object], worker: Worker) -> None:
    _wait_until(lambda: condition() or not worker.process.is_alive(), pause_s=0.0005)
    assert worker.process.is_alive(), f"the workload ended with {worker.process.exitcode}"


def _wait_until(condition: Callable[[], object], *, pause_s: float = 0.001) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "waited for two minutes"
        time.sleep(pause_s)
