"""The benchmarks of consolidating, at a tiny size."""

import json
from pathlib import Path

import pytest

from ums_core.bench import __main__ as cli
from ums_core.bench.upkeep import naive, topics
from ums_core.ranking.cluster import stars

pytestmark = pytest.mark.bench

TINY = ("upkeep", "--memories", "240", "--dim", "16", "--naive", "100")


def conversation(directory: Path, *, evidence: str = "D1:1") -> Path:
    said = ["The heron is at the pond.", "The heron is at the pond again.", "A red door.", "Bread and milk."]
    turns = [{"speaker": "Ada", "dia_id": f"D1:{n}", "text": text} for n, text in enumerate(said, 1)]
    later = [{"speaker": "Bo", "dia_id": f"D2:{n}", "text": text} for n, text in enumerate(said[:2], 1)]
    sample = {
        "sample_id": "s",
        "conversation": {
            "session_1_date_time": "1:56 pm on 8 May, 2023",
            "session_1": turns,
            "session_2_date_time": "1:56 pm on 9 May, 2023",
            "session_2": later,
        },
        "qa": [
            {"question": "Where is the heron?", "answer": "pond", "category": 4, "evidence": [evidence]},
            {"question": "Where is the cat?", "category": 5, "evidence": ["D1:2"]},
        ],
    }
    path = directory / "talk.json"
    path.write_text(json.dumps([sample]))
    return path


def test_consolidation_asks_before_and_after(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(conversation(tmp_path))
    assert cli.main(["consolidation", path, "--embedder", "hashing:64", "--threshold", "0.6", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert list(rows) == ["before", "recency 0.1", "recency 0.3", "recency 0.5", "0.6 expanded", "0.6 excluded"]
    assert rows["before"]["memories"] > rows["0.6 expanded"]["memories"]
    assert rows["before"]["questions"] == 1
    assert rows["0.6 expanded"]["recall"] == 1.0
    assert rows["0.6 excluded"]["recall"] == 0.0
    assert cli.main(["consolidation", path, "--embedder", "hashing:64"]) == 0
    assert "sess R@10" in capsys.readouterr().out


def test_consolidation_needs_a_question_with_evidence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["consolidation", str(conversation(tmp_path, evidence="D9:9")), "--embedder", "hashing:64"]) == 2
    assert "no question has usable evidence" in capsys.readouterr().err


@pytest.mark.needs_faiss
def test_upkeep_measures_each_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*TINY, "--json"]) == 0
    rows = {(row["step"], row["n"]): row for row in json.loads(capsys.readouterr().out)["rows"]}
    steps = [step for step, _ in rows]
    assert steps == ["naive clusters", "clusters", "clusters", "store", "forget", "undo", "consolidate"]
    assert rows["forget", 240]["detail"] == "120 forgotten"
    assert rows["undo", 240]["detail"] == "120 brought back"
    assert "merged into" in rows["consolidate", 240]["detail"]


@pytest.mark.needs_faiss
def test_upkeep_prints_a_table_and_refuses_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*TINY]) == 0
    assert "240 memories of 16 components" in capsys.readouterr().out
    assert cli.main(["upkeep", "--memories", "0"]) == 2


def test_the_naive_method_finds_the_clusters_of_the_bounded_one() -> None:
    units = topics(300, 32)
    assert naive(units, 0.8) == pytest.approx(len(stars(units, 0.8).clusters), rel=0.1)
