"""The store benchmark: its data, its checks, its rows, and its command at a tiny size."""

import io
import json
import math
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lacking import uninstall

from ums_core import Draft, bench
from ums_core.bench import __main__ as cli
from ums_core.bench import store, store_child, store_measure, store_search
from ums_core.bench.store_contest import K, Ours, accuracy, check_found
from ums_core.bench.store_data import EVERYTHING, SCOPES, Corpus, make_corpus
from ums_core.bench.store_rows import Goals, Growth, Plan, Row, growth
from ums_core.bench.store_stage import reach
from ums_core.bench.store_table import progress
from ums_core.bench.store_timing import Times, Track, interleave

pytestmark = [pytest.mark.bench, pytest.mark.needs_faiss]

DIM = 16
KEYS = [
    "what", "n", "ours", "reference", "chroma", "base", "ratio_reference", "ratio_chroma", "ratio_base", "base_name",
    "recall", "reference_recall", "chroma_recall", "goal", "met",
]  # fmt: skip
EACH_SIZE = [
    "ingest, batches of 1,000", "ingest, one batch", "ingest, beside no keyword terms", "ingest to a first answer",
    "search p50", "search p95", "search, new questions", "open", "open after a kill", "memory when open",
    "add p50", "add p99",
    "add, 8 threads, a row", "search while adding p50", "search while adding p95",
]  # fmt: skip
LARGEST = [f"{scope.name}{kind}" for scope in SCOPES for kind in (" p50", ", first")]


def run_json(capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    assert cli.main(["store", "--json", "--dim", str(DIM), "--rounds", "1", "--queries", "10", *options]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return make_corpus(300, extra=20, queries=8, dim=DIM, seed=0)


def test_every_measurement_gives_finite_rows_at_every_size(capsys: pytest.CaptureFixture[str]) -> None:
    report = run_json(capsys, "--sizes", "400,200", "--chroma-max", "200")
    rows = report["rows"]
    assert [row["what"] for row in rows if row["n"] == 200] == EACH_SIZE
    assert sorted(row["what"] for row in rows if row["n"] == 400) == sorted(EACH_SIZE + LARGEST)
    for row in rows:
        unit = next(key for key in row if key.startswith("ours_")).removeprefix("ours_")
        assert [key.removesuffix(f"_{unit}") for key in row] == KEYS
        assert row[f"ours_{unit}"] > 0
        assert all(math.isfinite(value) for value in row.values() if isinstance(value, float | int))
        assert (row["goal"] is None) == (row["met"] is None)
        assert row["recall"] in (None, 1.0)
    compared = {row["what"] for row in rows if row["n"] == 200 and row["ratio_chroma"]}
    assert compared == {what for what in EACH_SIZE if what.startswith(("ingest", "search p", "search, new", "add p"))}
    assert not any(row["ratio_chroma"] for row in rows if row["n"] == 400)
    assert {line["what"] for line in report["growth"]} == set(EACH_SIZE)
    assert report["machine"]["chromadb"]


def test_above_the_crossover_the_reference_has_a_graph() -> None:
    plan = Plan(
        sizes=(400,),
        only=frozenset({"ingest", "search", "filter"}),
        chroma_max=400,
        dim=DIM,
        rounds=2,
        queries=10,
        crossover=300,
    )
    said: list[str] = []
    batches = list(store_measure.measured(plan, said.append))
    assert len(batches) == store_measure.step_count(plan)
    rows = {row.what: row for batch in batches for row in batch}
    assert rows["search p50"].reference_recall is not None
    assert rows["ingest, one batch"].reference is not None
    assert all(rows[what].ratio_chroma for what in LARGEST if what.endswith("p50"))
    assert said[0] == "400: data"


def test_a_table_shows_ratios_goals_and_growth(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["store", "--only", "search", "--chroma-max", "0", "--dim", str(DIM), "--rounds", "1"]
    assert cli.main([*arguments, "--sizes", "100,200"]) == 0
    out = capsys.readouterr().out
    assert "(<= 1.5)" in out
    assert "1.0000 (>= 0.98)" in out
    assert "Growth" in out
    assert cli.main([*arguments, "--sizes", "100"]) == 0
    assert "Growth" not in capsys.readouterr().out


def test_without_chromadb_one_line_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    uninstall(monkeypatch, "chromadb")
    arguments = ["store", "--json", "--only", "search", "--sizes", "100", "--dim", str(DIM), "--rounds", "1"]
    assert cli.main(arguments) == 0
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert "chromadb is not installed" in err
    assert all(row["chroma_us"] is None for row in json.loads(out)["rows"])


def test_a_missing_package_is_named_with_its_extra(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    uninstall(monkeypatch, "psutil")
    for name in ("store_measure", "store_files", "store_child"):
        monkeypatch.delitem(sys.modules, f"ums_core.bench.{name}")
        monkeypatch.delattr(bench, name)
    assert cli.main(["store", "--sizes", "100"]) == 2
    assert "psutil is not installed; pip install 'ums-core[bench]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "why"),
    [
        (["--sizes", "99"], "each size must be at least 100, got 99"),
        (["--only", "search,nonsense"], "no measurement 'nonsense'"),
        (["--rounds", "0"], "must be at least 1, got 0"),
    ],
)
def test_options_out_of_range_are_refused(option: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["store", *option])
    assert stopped.value.code == 2
    assert why in capsys.readouterr().err


def test_the_machine_is_described_where_there_is_no_cpuinfo(tmp_path: Path) -> None:
    assert store.machine(tmp_path / "none")["cpu"]
    assert store.installed("no-such-distribution") is None


def test_the_rows_are_the_same_however_many_are_added_later(corpus: Corpus) -> None:
    other = make_corpus(300, extra=5, queries=8, dim=DIM, seed=0)
    assert (other.vectors[:300] == corpus.vectors[:300]).all()
    assert other.drafts[:300] == corpus.drafts[:300]
    assert (other.queries == corpus.queries).all()
    assert make_corpus(300, extra=5, queries=8, dim=DIM, seed=1).drafts[0] != corpus.drafts[0]


def test_new_questions_are_others_about_the_same_rows(corpus: Corpus) -> None:
    new, again = corpus.asked_anew(16), corpus.asked_anew(16)
    assert new.queries.shape == (16, DIM)
    assert (new.queries == again.queries).all()
    assert not (new.queries[:8] == corpus.queries).any(axis=1).any()
    assert new.vectors is corpus.vectors
    best = [cosines[0] for cosines in new.truth(EVERYTHING, 1)]
    assert np.mean(best) == pytest.approx(np.mean([cosines[0] for cosines in corpus.truth(EVERYTHING, 1)]), abs=0.1)


def test_scopes_hold_their_share_and_together_means_near() -> None:
    corpus = make_corpus(2000, extra=0, queries=1, dim=64, seed=0)
    for scope in SCOPES:
        assert len(corpus.rows(scope)) == round(scope.share * 2000)
    assert len(corpus.rows(EVERYTHING)) == 2000

    def mean_cosine(name: str) -> float:
        (scope,) = (scope for scope in SCOPES if scope.name == name)
        centre = corpus.vectors[corpus.rows(scope)].mean(axis=0)
        return float(centre @ centre)

    assert mean_cosine("namespace 1 %, together") > 0.5
    assert mean_cosine("namespace 1 %, spread") < 0.2


def test_a_wrong_answer_stops_the_benchmark(corpus: Corpus) -> None:
    query = corpus.queries[0]
    cosines = corpus.vectors[:300] @ query
    best = np.argsort(-cosines)[:K].tolist()
    right = [(corpus.drafts[row].text, float(cosines[row])) for row in best]
    assert check_found(right, query, EVERYTHING, corpus) == best
    assert check_found([], query, EVERYTHING, corpus) == []
    for wrong, why in (
        ([("never stored", 0.5)], "never stored"),
        ([right[0], right[0]], "found twice"),
        ([(right[0][0], right[0][1] - 0.1)], "wrong by 0.1"),
        (right[::-1], "the best is not first"),
    ):
        with pytest.raises(AssertionError, match=why):
            check_found(wrong, query, EVERYTHING, corpus)
    outside = next(scope for scope in SCOPES if not corpus.allows(scope, best[0]))
    with pytest.raises(AssertionError, match="a row outside was found"):
        check_found(right[:1], query, outside, corpus)


def test_recall_counts_ties_and_later_rows_as_right(corpus: Corpus) -> None:
    query = corpus.queries[0]
    truth = corpus.truth(EVERYTHING, K)[0]
    order = np.argsort(-(corpus.vectors[:300] @ query)).tolist()
    assert accuracy(order[:K], query, truth, corpus) == 1.0
    assert accuracy(order[:9] + order[50:51], query, truth, corpus) == 0.9
    assert accuracy([310, *order[:9]], query, truth, corpus) == 1.0
    assert accuracy([310, *order[1:10]], query, truth, corpus) == 0.9
    assert accuracy(list(range(300, 310)), query, truth, corpus) == 1.0
    assert accuracy(order[:5], query, truth, corpus) == 0.5


def test_a_row_is_judged_by_the_goals_that_were_measured() -> None:
    goals = Goals(reference=1.5, base=2.0, chroma=5.0, recall=0.98)
    row = Row(
        what="x", n=1, ours=10.0, reference=8.0, base=5.0, base_name="idle", chroma=50.0, recall=0.99, goals=goals
    )
    assert row.goal == "<= 1.5x reference, <= 2x idle, >= 5x faster than Chroma, recall >= 0.98"
    assert row.met is True
    assert Row(what="x", n=1, ours=10.0, reference=6.0, goals=goals).met is False
    assert Row(what="x", n=1, ours=10.0, goals=goals).met is None
    assert Row(what="x", n=1, ours=10.0, goals=goals).goal is None
    assert Row(what="x", n=1, ours=10.0, reference=1.0).met is None


def test_growth_compares_the_ends_of_what_was_taken_twice() -> None:
    rows = [Row(what=what, n=n, ours=cost) for what, n, cost in (("a", 10, 2.0), ("b", 10, 1.0), ("a", 100, 3.0))]
    assert growth(rows) == [Growth(what="a", from_n=10, to_n=100, rows=10.0, cost=1.5)]


def test_a_goal_holds_from_its_size_on() -> None:
    goals = {10: 5.0, 100: 4.0}
    assert [reach(goals, n) for n in (9, 10, 99, 100)] == [None, 5.0, 5.0, 4.0]


def test_the_first_round_warms_up_and_every_answer_is_checked() -> None:
    seen: list[int] = []
    blocks = iter([[1, 2], [3, 4], [5, 6]])

    def check(item: int, answer: int) -> None:
        assert answer == 2 * item
        seen.append(item)

    times = interleave({"a": Track(lambda item: 2 * item, lambda: next(blocks), check)}, 2)
    assert seen == [1, 2, 3, 4, 5, 6]
    assert len(times["a"].rounds) == 2
    with pytest.raises(AssertionError):
        interleave({"a": Track(lambda item: item, lambda: [1], check)}, 1)


def test_contestants_take_turns_within_a_round() -> None:
    called: list[str] = []
    checked: list[str] = []

    def track(name: str, count: int) -> Track[int, str]:
        def call(item: int) -> str:
            called.append(f"{name}{item}")
            return called[-1]

        return Track(call, lambda: range(count), lambda _, answer: checked.append(answer))

    times = interleave({"a": track("a", 5), "b": track("b", 2), "c": track("c", 0)}, 1, turn=2)
    order = ["a0", "a1", "b0", "b1", "a2", "a3", "a4"]
    assert called == 2 * order
    assert checked == 2 * ["b0", "b1", "a0", "a1", "a2", "a3", "a4"]
    assert [len(times[name].rounds[0]) for name in "abc"] == [5, 2, 0]


def test_percentiles_are_medians_over_rounds() -> None:
    times = Times([[1_000, 3_000], [5_000, 5_000], [90_000, 90_000]])
    assert times.us(50) == 5.0
    assert times.mean_us() == 5.0


@pytest.fixture
def ours(tmp_path: Path, corpus: Corpus) -> Iterator[Ours]:
    directory = tmp_path / "ours"
    directory.mkdir()
    with Ours(directory, DIM) as opened:
        opened.ingest([corpus.drafts[:100]])
        yield opened


def test_the_adder_starts_over_when_it_has_used_up_its_rows(ours: Ours) -> None:
    drafts = [Draft(text=f"row {number}", embedding=[1.0] * DIM, namespace=("busy",)) for number in range(3)]
    with store_search._adder(ours.store, drafts) as adder:
        adder.start()
        before = ours.store.health().seq
        while ours.store.health().seq < before + 10:
            threading.Event().wait(0.001)
    assert 1 <= ours.store.count(namespace=("busy",)) <= 3


def test_what_goes_wrong_while_adding_is_raised(ours: Ours) -> None:
    adder = store_search._Adder(ours.store, [Draft(text="short", embedding=[1.0])], ThreadPoolExecutor(1))
    adder.start()
    with pytest.raises(ValueError, match="components"):
        adder.stop()


@pytest.fixture
def pipe() -> Iterator[tuple[Connection, Connection]]:
    here, there = Pipe()
    with here, there:
        yield here, there


def test_a_child_adds_rows_and_waits(tmp_path: Path, corpus: Corpus, pipe: tuple[Connection, Connection]) -> None:
    here, there = pipe
    here.send("enough")
    store_child.add_and_wait(tmp_path, DIM, corpus.drafts[:3], there)
    assert here.recv() == 3
    with Ours(tmp_path, DIM) as reopened:
        assert reopened.count() == 3


def test_a_child_tells_how_its_memory_grew(ours: Ours, corpus: Corpus, pipe: tuple[Connection, Connection]) -> None:
    here, there = pipe
    store_child.rss_growth(ours.directory, DIM, corpus.centres, there)
    assert isinstance(here.recv(), int)


def test_the_named_measurements_are_those_that_exist() -> None:
    assert {*store_measure._STEPS, "ingest"} == set(store.MEASUREMENTS)


def test_progress_is_drawn_on_a_terminal_only() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, drawn in ((Terminal(), True), (io.StringIO(), False)):
        with progress(stream, 1) as (say, step):
            say("400: search")
            step()
        assert ("400: search" in stream.getvalue()) is drawn
