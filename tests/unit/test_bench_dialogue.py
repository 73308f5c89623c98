"""The benchmark of a conversation over months, at a tiny size."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from ums_core.bench import __main__ as cli
from ums_core.bench.dialogue import Options, play
from ums_core.bench.dialogue_data import START, conversation
from ums_core.bench.report import draw, new_figure
from ums_core.errors import InvalidInput

pytestmark = pytest.mark.bench

TINY = ("dialogue", "--turns", "60", "--embedder", "hashing:64")


def test_the_same_seed_tells_the_same_conversation() -> None:
    told = list(conversation(300, seed=3))
    assert told == list(conversation(300, seed=3))
    assert told != list(conversation(300, seed=4))
    assert all(earlier.at <= later.at for earlier, later in pairwise(told))
    assert (told[-1].at - START).days <= 180
    kinds = Counter(turn.kind for turn in told)
    assert set(kinds) == {"stated", "repeated", "corrected", "contradicted", "talk"}
    for turn in told:
        assert (turn.fact is None) == (turn.kind == "talk")
        assert turn.fact is None or (turn.value in turn.text and turn.fact.who in turn.fact.question)


def test_when_there_is_nothing_new_to_tell_it_is_told_again() -> None:
    told = list(conversation(1200, seed=1))
    stated = [turn.fact for turn in told if turn.kind == "stated"]
    assert len(stated) == len(set(stated)) == 192
    assert told[-1].kind != "stated"


def test_it_prints_the_same_numbers_as_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    chart = tmp_path / "recall.svg"
    assert cli.main([*TINY, "--json", "--plot", str(chart)]) == 0
    first = json.loads(capsys.readouterr().out)
    assert cli.main([*TINY, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    kept, maintained = first["reports"]
    assert (kept["store"], maintained["store"]) == ("everything", "maintained")
    assert kept["memories"] > maintained["memories"]
    assert kept["recall"] >= maintained["recall"]
    assert kept["forgotten"] == pytest.approx(1 - kept["expanded"])
    assert sum(kept["facts"].values()) == sum(maintained["facts"].values())
    # Where SQLite puts a page is not the same twice.
    for report in (*first["reports"], *again["reports"]):
        assert report.pop("bytes") > 0
    assert first == again
    assert "<svg" in chart.read_text()


def test_it_prints_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*TINY, "--strategy", "concat", "--retain-fraction", "0.5"]) == 0
    out = capsys.readouterr().out
    assert "60 turns in 6 months, seed 0" in out
    assert "months since the fact was last said" in out
    for turns in ("0", "1000001"):
        assert cli.main(["dialogue", "--turns", turns]) == 2
    for months in ("0", "inf", "1e9"):
        assert cli.main(["dialogue", "--months", months]) == 2


@pytest.mark.parametrize("name", ["nowhere/recall.png", "recall.what"])
def test_a_plot_that_cannot_be_written_is_said_and_no_more(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match="the plot cannot be written"):
        draw(new_figure(4), tmp_path / name)


def test_what_was_merged_is_corrected_like_anything_else_and_read_through_its_summary() -> None:
    options = Options(turns=120, embedder="hashing:64", threshold=0.3, retain_fraction=1.0)
    report = play(options, maintained=True)
    assert report.archived > 0
    assert report.expanded >= report.recall


def test_what_is_forgotten_entirely_is_not_found() -> None:
    report = play(Options(turns=60, embedder="hashing:64", retain_fraction=0.0), maintained=True)
    assert (report.recall, report.memories) == (0.0, 0)


def test_mem_bench_is_a_command_of_its_own(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/bin/mem-bench", "--help"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "usage: mem-bench" in out
    assert "dialogue" in out
