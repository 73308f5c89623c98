"""The benchmark of encryption, at a tiny size."""

import json

import pytest

from ums_core.bench import __main__ as cli
from ums_core.bench.crypto import GOALS, SEALED

pytestmark = [pytest.mark.bench, pytest.mark.needs_sqlcipher]

TINY = ("--memories", "200", "--dim", "16", "--rounds", "1", "--backend", "exact")


def test_it_prints_a_ratio_for_each_operation(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["crypto", "--json", *TINY]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(row["what"], row["kind"]) for row in told["rows"]] == [(what, kind) for what in GOALS for kind in SEALED]
    for row in told["rows"]:
        assert row["ratio"] == pytest.approx(row["sealed"] / row["plain"])
        assert row["met"] == (row["ratio"] <= row["goal"])
    assert [wait["kind"] for wait in told["pauses"]] == list(SEALED)
    assert all(wait["seconds"] > 0 for wait in told["pauses"])


def test_the_table_says_what_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["crypto", "--only", "fields", *TINY]) == 0
    out = capsys.readouterr().out
    assert "200 memories, 16 components, exact" in out
    assert all(what in out for what in GOALS)
    assert "rotation, fields" in out
    assert "pages" not in out
