"""The command line on what is true now, what was, and what is known already."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ums_core import Draft, UnifiedSettings, open_store
from ums_core.cli.app import app
from ums_core.settings.database import url_of


@pytest.fixture
def db(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AI_MODEL__EMBEDDER", "hashing")
    monkeypatch.setenv("AI_DATABASE__BACKEND", "exact")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "memory.db"
    with open_store(UnifiedSettings(database={"url": url_of(path)})) as store:
        store.add([Draft(id="old", text="The boat sails at nine.", namespace=("n",), speaker="Ada")])
    return path


def ums(db: Path, *arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, ["--db", str(db), *arguments], input=stdin)


def found(db: Path, *options: str) -> list[str]:
    return [hit["memory"]["text"] for hit in json.loads(ums(db, "search", "the boat", "--json", *options).stdout)]


def test_a_correction_is_made_once_and_the_past_is_still_found(db: Path) -> None:
    correction = ("supersede", "old", "The boat sails at ten.", "-n", "n", "--key", "k")
    assert "in place of old" in ums(db, *correction).stderr
    assert json.loads(ums(db, *correction, "--json").stdout)["text"] == "The boat sails at ten."
    assert found(db) == ["The boat sails at ten."]
    assert sorted(found(db, "--archived")) == ["The boat sails at nine.", "The boat sails at ten."]
    assert found(db, "--as-of", "2000-01-01") == []
    assert found(db, "--as-of", "2999-01-01T00:00:00+01:00") == found(db)
    assert found(db, "--recency", "0.3", "--level", "0") == found(db)
    assert found(db, "--level", "1") == []
    wrong = ums(db, "search", "the boat", "--as-of", "yesterday")
    assert (wrong.exit_code, "--as-of takes a time" in wrong.stderr) == (2, True)
    assert ums(db, "supersede", "old", "Too late.", "-n", "n").exit_code == 3


def test_a_summary_is_expanded_and_a_use_is_noted(db: Path) -> None:
    with open_store(UnifiedSettings(database={"url": url_of(db)})) as store:
        store.add([Draft(id="sum", text="Boats.", namespace=("n",), source_ids=("old",))])
    assert "Ada" in ums(db, "expand", "sum", "-n", "n").stdout
    assert json.loads(ums(db, "expand", "sum", "-n", "n", "--json").stdout)[0]["id"] == "old"
    assert "made from nothing" in ums(db, "expand", "old", "-n", "n").stderr
    assert ums(db, "expand", "sum").exit_code == 3
    assert "1 memories reinforced" in ums(db, "reinforce", "old", "x", "-n", "n").stderr


def test_what_is_known_is_left_out_merged_or_kept(db: Path) -> None:
    lines = "\n".join(json.dumps(each) for each in ({"text": "the boat sails at NINE."}, {"text": "Bread and milk."}))

    def ingested(*options: str) -> tuple[int, int]:
        told = json.loads(
            ums(db, "ingest", "-", "-n", "n", "--format", "jsonl", "--json", *options, stdin=lines).stdout
        )
        return told["memories"], told["duplicates"]

    assert ingested("--duplicates", "report", "--batch", "1") == (1, 1)
    # What the file brought before stays, and what is known is known again.
    assert ingested("--duplicates", "merge") == (0, 1)
    assert ingested("--duplicates", "keep", "--similarity", "0.99") == (1, 1)
    assert ingested("--duplicates", "keep") == (0, 0)
    shown = ums(db, "ingest", "-", "-n", "m", "--format", "jsonl", "--duplicates", "report", stdin=lines)
    assert "2 memories" in shown.stderr
    assert "0 duplicates" in shown.stderr
    assert ums(db, "ingest", "-", "--duplicates", "drop", stdin=lines).exit_code == 2
