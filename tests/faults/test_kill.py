"""What was acknowledged outlives the process that wrote it, whenever that is killed."""

import importlib
import json
import logging
import multiprocessing
import random
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from thorough import count

from ums_core import LocalStore, Memory, Query
from ums_core.testing.samples import assert_found, unit
from ums_core.testing.sealed import SEALED
from ums_core.testing.worker import Worker, WorkerError, _work
from ums_core.testing.workload import NOTES, Churn, Effect, Ledger, Place, churn, main, perform, rare_word, version_of

pytestmark = pytest.mark.faults

ROUNDS = 10
GRAPH_ROUNDS = count(2, 6)
GRAPH_SIZE = 5000
DIM = 16

Call = tuple[str, str, Effect]


class Books:
    """What must be in a database, by the ledgers of all who wrote to it.

    Attributes:
        versions: by id, of what was acknowledged.
        notes: keys of acknowledged writes of made-up ids.
        open_calls: key, verb and effect of the calls that nobody saw return.
    """

    def __init__(self, versions: dict[str, int] | None = None) -> None:
        self.versions = dict(versions or {})
        self.notes: set[str] = set()
        self.open_calls: list[Call] = []

    def read(self, ledger: Path) -> int:
        """Take up a ledger and return how many calls it acknowledges."""
        begun: dict[str, Call] = {}
        acknowledged = 0
        for line in ledger.read_text().splitlines():
            stage, key, verb, effect = json.loads(line)
            if stage == "begin":
                begun[key] = (key, verb, effect)
            elif stage == "end":
                self.apply(begun.pop(key))
                acknowledged += 1
        self.open_calls += begun.values()
        return acknowledged

    def apply(self, call: Call) -> None:
        key, verb, effect = call
        if verb == "note":
            self.notes.add(key)
        for id_, version in effect.items():
            self.versions.pop(id_, None)
            if version is not None:
                self.versions[id_] = version

    def audit(self, store: LocalStore, place: Place) -> None:
        """Everything acknowledged is there, whole and right; of each open call, all or nothing."""
        memories = _everything(store)
        notes = [memory.metadata["key"] for memory in memories if memory.namespace == NOTES]
        held = {memory.id: version_of(memory, place.dim) for memory in memories if memory.namespace != NOTES}
        assert len(notes) == len(set(notes))
        assert len(held) == len(memories) - len(notes)
        for call in self.open_calls:
            key, verb, effect = call
            after = {id_: held.get(id_) for id_ in effect}
            if (verb == "note" and key in notes) or (effect and after == effect):
                self.apply(call)
            else:
                assert after == {id_: self.versions.get(id_) for id_ in effect}, f"half of {call}"
        assert held == self.versions
        assert set(notes) == self.notes

    def finish_open_calls(self, store: LocalStore, place: Place) -> None:
        """Repeat each open call under its key: it is done now, and was done once."""
        for key, verb, effect in self.open_calls:
            perform(store, place, verb, effect, key)
            self.apply((key, verb, effect))
        self.open_calls = []


def _everything(store: LocalStore) -> list[Memory]:
    memories: list[Memory] = []
    cursor: int | None = None
    while True:
        page = store.scan(limit=2000, cursor=cursor)
        memories += page.memories
        if (cursor := page.cursor) is None:
            return memories


def _assert_sound(store: LocalStore, books: Books, place: Place, sample: list[str]) -> None:
    assert store.health().status == "ok"
    assert store.verify() == []
    assert store.verify_history() == []
    books.audit(store, place)
    for id_ in sample:
        version = books.versions.get(id_)
        if version is not None:
            assert_found(store.search(Query(vector=unit(f"{id_}#{version}", place.dim), k=1)), id_)
            (memory,) = store.get([id_], namespace=place.draft(id_, version).namespace, vectors=True)
            assert memory is not None
            assert version_of(memory, place.dim) == version


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
            _assert_sound(store, books, place, sorted(books.versions))
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
            _assert_sound(store, books, place, sample)
            store.settle()
            _assert_sound(store, books, place, sample)
            books.finish_open_calls(store, place)
    assert at == "merging" or met == GRAPH_ROUNDS // 2


def test_a_workload_left_alone_leaves_what_its_ledger_says(tmp_path: Path) -> None:
    place = Place(str(tmp_path / "memory.db"))
    books = Books()
    with place.open() as store:
        churn(store, place, Ledger(tmp_path / "ledger"), Churn(prefix="p", seed=0, threads=3, steps=15))
        assert books.read(tmp_path / "ledger") == 45
        _assert_sound(store, books, place, sorted(books.versions))
    assert books.open_calls == []
    spoilt = dict(books.versions)
    spoilt[next(iter(spoilt))] += 1
    with place.open() as store, pytest.raises(AssertionError):
        Books(spoilt).audit(store, place)


def test_orders_are_answered_line_by_line(tmp_path: Path) -> None:
    place = Place(str(tmp_path / "memory.db"))
    orders: list[tuple[dict[str, Any], Any]] = [
        ({"verb": "limit", "size": -1}, None),
        ({"verb": "add", "effect": {"a-1": 0, "a-2": 0}}, None),
        ({"verb": "find", "id": "a-1", "version": 0}, ["a-1"]),
        ({"verb": "delete", "effect": {"a-2": None}, "key": "key"}, None),
        ({"verb": "image", "id": "picture"}, ["picture"]),
        ({"verb": "image", "id": "picture", "find": True}, ["picture"]),
        ({"verb": "close"}, None),
        ({"verb": "vectors", "ids": ["a-2"]}, {}),
        ({"verb": "update", "effect": {"b-1": 1}}, "memory_not_found"),
        ({"verb": "word", "text": rare_word("a-1", 0)}, ["a-1"]),
        ({"verb": "settle"}, None),
        ({"verb": "verify"}, []),
        ({"verb": "count"}, 2),
    ]
    said: list[dict[str, Any]] = []
    lines = (json.dumps(order) for order, _ in orders)
    main(["obey", place.to_json()], lines, lambda line: said.append(json.loads(line)))
    assert [line.get("answer", line.get("error")) for line in said] == ["ready", *(answer for _, answer in orders)]
    main(["obey", place.to_json()], ['{"verb": "close"}'], lambda _: None)
    plan = Churn(prefix="p", seed=0, steps=5, inherit=True)
    main(["churn", place.to_json(), str(tmp_path / "ledger"), json.dumps(asdict(plan))])
    with place.open() as store:
        books = Books({"a-1": 0})
        books.notes.add("picture")
        assert books.read(tmp_path / "ledger") == 5
        books.audit(store, place)


def test_an_obedient_process_erases_and_rotates(tmp_path: Path) -> None:
    place = Place(str(tmp_path / "memory.db"), security=SEALED)
    orders = [
        {"verb": "add", "effect": {"a-1": 0, "a-2": 0}},
        {"verb": "erase", "ids": ["a-1"]},
        {"verb": "rotate"},
        {"verb": "backup", "path": str(tmp_path / "backup")},
    ]
    said: list[dict[str, Any]] = []
    main(["obey", place.to_json()], map(json.dumps, orders), lambda line: said.append(json.loads(line)))
    receipt, key, count = (line["answer"] for line in said[2:])
    assert (receipt["ids"], count) == (["a-1"], 1)
    with place.open() as store:
        assert store.key_state().active == key


def test_an_obedient_process_writes_down_what_is_logged(tmp_path: Path) -> None:
    place, log = Place(str(tmp_path / "memory.db")), tmp_path / "log"
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        orders = [{"verb": "log", "path": str(log), "lines": ["a word"]}, {"verb": "close"}]
        main(["obey", place.to_json()], map(json.dumps, orders), lambda _: None)
    finally:
        root.setLevel(level)
        for handler in set(root.handlers) - set(handlers):
            root.removeHandler(handler)
            handler.close()
    assert log.read_text().startswith("a word\n")


def test_a_process_can_do_without_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    place = Place(str(tmp_path / "memory.db"), without=("this_package",))
    said: list[dict[str, Any]] = []
    main(["obey", place.to_json()], ['{"verb": "driver"}'], lambda line: said.append(json.loads(line)))
    assert "SQLite" in said[1]["answer"]
    with pytest.raises(ModuleNotFoundError, match="hidden"):
        importlib.import_module("this_package.inner")
    with pytest.raises(ModuleNotFoundError, match="No module"):
        importlib.import_module("that_package")


def test_a_process_takes_orders_until_the_line_is_closed(tmp_path: Path) -> None:
    ours, theirs = multiprocessing.Pipe()
    work = threading.Thread(target=_work, args=(theirs, ["obey", Place(str(tmp_path / "memory.db")).to_json()]))
    work.start()
    assert json.loads(ours.recv()) == {"answer": "ready"}
    ours.send('{"verb": "count"}')
    assert json.loads(ours.recv()) == {"answer": 0}
    ours.close()
    work.join(10)
    assert not work.is_alive()


def test_the_end_of_a_process_is_told_to_who_waits_for_it(tmp_path: Path) -> None:
    with Worker.obeying(Place(str(tmp_path / "memory.db"))) as worker:
        worker.kill()
        with pytest.raises(WorkerError, match="ended with -9"):
            worker.answer()


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
            assert told == _everything(store) != []


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
