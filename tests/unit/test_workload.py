"""The processes that fault tests start and kill do what they are told, seen from within one."""

import importlib
import json
import logging
import multiprocessing
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from books import Books, assert_sound

from ums_core.testing.sealed import SEALED
from ums_core.testing.worker import Worker, WorkerError, _work
from ums_core.testing.workload import Churn, Ledger, Place, churn, main, rare_word


def test_a_workload_left_alone_leaves_what_its_ledger_says(tmp_path: Path) -> None:
    place = Place(str(tmp_path / "memory.db"))
    books = Books()
    with place.open() as store:
        churn(store, place, Ledger(tmp_path / "ledger"), Churn(prefix="p", seed=0, threads=3, steps=15))
        assert books.read(tmp_path / "ledger") == 45
        assert_sound(store, books, place, sorted(books.versions))
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


def test_a_process_is_asked_told_and_let_go(tmp_path: Path) -> None:
    place = Place(str(tmp_path / "memory.db"))
    with Worker.obeying(place) as worker:
        assert worker.ask("add", effect={"a-1": 0}) is None
        with pytest.raises(WorkerError, match="memory_not_found"):
            worker.ask("update", effect={"b-1": 1})
        assert worker.ask("count") == 1
        assert worker.finish() == 0
    plan = Churn(prefix="p", seed=0, steps=2)
    with Worker.churning(place, tmp_path / "ledger", plan) as worker:
        worker.process.join(60)
        assert worker.process.exitcode == 0
    books = Books({"a-1": 0})
    assert books.read(tmp_path / "ledger") == 2
    with place.open() as store:
        books.audit(store, place)


def test_the_end_of_a_process_is_told_to_who_waits_for_it(tmp_path: Path) -> None:
    with Worker.obeying(Place(str(tmp_path / "memory.db"))) as worker:
        worker.kill()
        with pytest.raises(WorkerError, match="ended with -9"):
            worker.answer()
