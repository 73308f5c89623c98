"""The search benchmark at a small size: every contestant answers, and the numbers are of one another's kind."""

import json
import sys
from pathlib import Path

import pytest

from ums_core.bench import __main__ as cli
from ums_core.bench.search_measure import Plan, measured
from ums_core.bench.untrained import make_cross_encoder
from ums_core.errors import MissingExtra

pytestmark = [
    pytest.mark.bench,
    # Of Chroma, as in its other tests.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]
SMALL = {"sizes": (200,), "dim": 16, "queries": 2, "slow": 1, "rounds": 1}
UMS = [
    "ums vector", "ums vector, MMR", "ums words", "ums hybrid", "ums hybrid, explained", "ums hybrid, MMR",
    "ums vector, 1 %", "ums words, 1 %", "ums hybrid, 1 %",
]  # fmt: skip
RERANKED = "ums hybrid, cross-encoder"


@pytest.mark.needs_torch
def test_every_contestant_has_a_row_of_positive_numbers(tmp_path: Path) -> None:
    folder = make_cross_encoder(tmp_path / "own", ["tea"], (1, 16, 2))
    said: list[str] = []
    rows = list(measured(Plan(**SMALL, cross_encoder=str(folder)), said.append))
    assert said == ["200: make and ingest", "200: search"]
    assert [row.name for row in rows] == [*UMS, RERANKED, "FAISS and SQLite", "Chroma", "LangGraph InMemoryStore"]
    for row in rows:
        assert 0 < row.p50_us <= row.p95_us
        assert min(row.first_us, row.qps, row.qps_all) > 0
        assert row.n == 200


@pytest.mark.needs_torch
def test_without_a_trained_model_one_with_random_weights_answers() -> None:
    rows = list(measured(Plan(**SMALL, others_max=100, shape=(1, 16, 2))))
    assert [row.name for row in rows] == [*UMS, RERANKED, "FAISS and SQLite"]


def test_the_command_prints_tables_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["search", "--others-max", "0", "--cross-encoder", "none", "--queries", "2", "--rounds", "1"]
    assert cli.main([*arguments, "--sizes", "100"]) == 0
    printed = capsys.readouterr().out
    assert "QPS, all cores" in printed
    assert "hybrid / (vector + words)" in printed
    assert cli.main([*arguments, "--sizes", "200,100", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [row["n"] for row in report["rows"]] == [100] * 10 + [200] * 10
    assert [goal["n"] for goal in report["goals"]] == [100] * 5 + [200] * 5
    assert report["machine"]["cores"] >= 1


@pytest.mark.parametrize(("missing", "extra"), [("faiss", "bench"), ("tokenizers", "sentence-transformers")])
def test_a_missing_package_names_the_extra(missing: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(**SMALL, cross_encoder="none" if missing == "faiss" else None)
    for name in [name for name in sys.modules if name == "ums_core.bench.reference"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtra, match=rf"{missing} .* pip install 'ums-core\[{extra}\]'"):
        list(measured(plan))
