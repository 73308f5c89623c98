"""`ums maintain`, `ums consolidate` and `ums forget`: planned, done, taken back."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from ums_core import Draft, UnifiedSettings, open_store
from ums_core.cli.app import app
from ums_core.cli.maintain import _end
from ums_core.records.maintenance import Maintenance
from ums_core.settings.database import url_of
from ums_core.storage.lease import Lease
from ums_core.testing.serving import roomy, serving


@pytest.fixture
def db(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AI_MODEL__EMBEDDER", "hashing")
    monkeypatch.setenv("AI_DATABASE__BACKEND", "exact")
    monkeypatch.setenv("AI_MAINTENANCE__THRESHOLD", "0.6")
    monkeypatch.setenv("AI_MAINTENANCE__RETAIN_FRACTION", "0.5")
    monkeypatch.setenv("AI_MAINTENANCE__MIN_TOTAL", "0")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "memory.db"
    with open_store(UnifiedSettings(database={"url": url_of(path)})) as store:
        told = [f"The heron is at the pond {word}." for word in ("now", "again", "today")]
        store.add([Draft(id=f"{n}", text=text) for n, text in enumerate([*told, "A red door.", "Bread and milk."])])
    return path


def ums(db: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--db", str(db), *arguments])


def test_a_plan_changes_nothing_and_a_run_can_be_undone(db: Path) -> None:
    plan = ums(db, "maintain", "plan")
    assert plan.exit_code == 0, plan.output
    assert "3 memories would be merged, 2 alone" in plan.stderr
    assert "memories would be forgotten" in plan.stderr
    assert "0 1 2" in plan.stdout
    done = ums(db, "maintain", "run")
    assert done.exit_code == 0, done.output
    assert "3 memories merged" in done.stderr
    batches = [line.rpartition(" ")[2] for line in done.stderr.splitlines() if "maintain undo" in line]
    assert len(batches) == 2
    # Last in, first out.
    for batch in reversed(batches):
        assert "live again" in ums(db, "maintain", "undo", batch).stderr
    with open_store(UnifiedSettings(database={"url": url_of(db)})) as store:
        assert store.count(filter={"level": 0}) == 5


def test_steps_and_json_are_the_callers(db: Path) -> None:
    told = json.loads(ums(db, "maintain", "plan", "--step", "forget", "--json").stdout)
    assert told["steps"] == ["forget"]
    assert told["consolidation"] is None
    assert len(told["forgetting"][0]["forgotten"]) == 2
    done = json.loads(ums(db, "maintain", "run", "--step", "sweep", "--json").stdout)
    assert (done["steps"], done["expired"]) == (["sweep"], 0)


def test_while_another_one_maintains_it_says_try_again(db: Path) -> None:
    with open_store(UnifiedSettings(database={"url": url_of(db)})) as store, Lease(store._database, 60):
        run = ums(db, "maintain", "run")
    assert run.exit_code == 4
    assert "maintenance_running" in run.stderr


def test_consolidate_prints_clusters_and_how_to_take_them_back(db: Path) -> None:
    assert "0 1 2" in ums(db, "consolidate", "--threshold", "0.6", "--dry-run").stdout
    assert json.loads(ums(db, "consolidate", "--threshold", "0.99", "--dry-run", "--json").stdout)["clusters"] == []
    assert ums(db, "consolidate", "--threshold", "0.99", "--dry-run").stdout == ""
    done = ums(db, "consolidate", "--threshold", "0.6", "--strategy", "concat")
    assert "The heron is at the pond now. The heron" in done.stdout
    assert "ums maintain undo" in done.stderr
    refused = ums(db, "consolidate", "--strategy", "magic")
    assert refused.exit_code == 2


def test_forget_says_which_and_why(db: Path) -> None:
    plan = ums(db, "forget", "--retain-fraction", "0.2", "--dry-run")
    assert "4 memories would be forgotten" in plan.stderr
    assert "number 1 of 5 from below" in " ".join(plan.stdout.split())
    done = json.loads(ums(db, "forget", "--retain-fraction", "0", "--where", '{"id": "3"}', "--erase", "--json").stdout)
    assert (done["removed"], done["batch"]) == (1, None)
    assert "take it back until" in ums(db, "forget", "--retain-fraction", "0", "--min-total", "3").stderr
    wrong = ums(db, "forget", "--where", "{")
    assert (wrong.exit_code, wrong.stderr.startswith("ums: error: --where takes JSON")) == (2, True)


def test_long_lists_are_cut_and_say_so(db: Path) -> None:
    with open_store(UnifiedSettings(database={"url": url_of(db)})) as store:
        store.add([Draft(text=f"The heron is at the pond {n}.", namespace=(f"n{n // 2}",)) for n in range(50)])
    assert "and 6 more" in ums(db, "consolidate", "--threshold", "0.5", "--dry-run").stderr
    assert "more; --json has them all" in ums(db, "forget", "--retain-fraction", "0.1", "--dry-run").stderr


def test_a_history_is_printed(db: Path) -> None:
    batch = json.loads(ums(db, "forget", "--retain-fraction", "0", "--where", '{"id": "3"}', "--json").stdout)["batch"]
    assert ums(db, "maintain", "undo", batch).exit_code == 0
    changes = json.loads(ums(db, "history", "3", "--json").stdout)
    assert [change["action"] for change in changes] == ["added", "forgotten", "restored"]
    assert [change["actor"].partition(" ")[2] for change in changes[1:]] == ["forget", "maintain undo"]
    shown = " ".join(ums(db, "history", "3").stdout.split())
    assert f"forgotten {changes[0]['after'][:8]}" in shown
    assert batch in shown
    assert ums(db, "history", "nobody").exit_code == 3
    mark = json.loads(ums(db, "db", "info", "--json").stdout)["history_mark"]
    assert ums(db, "db", "verify", "--reached", mark).exit_code == 0
    later = f"{int(mark.partition(':')[0]) + 1}:{mark.partition(':')[2]}"
    assert "its end is missing" in ums(db, "db", "verify", "--reached", later).stderr
    assert ums(db, "db", "verify").exit_code == 0


def test_what_is_pruned_is_told(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ums(db, "forget", "--retain-fraction", "0", "--where", '{"id": "3"}')
    monkeypatch.setenv("AI_LIFETIME__HISTORY_DAYS", "0.00000000001")
    assert "1 changes would be pruned from the history" in ums(db, "maintain", "plan", "--step", "prune").stderr
    assert "1 changes pruned from the history" in ums(db, "maintain", "run", "--step", "prune").stderr
    assert "nothing is recorded" in ums(db, "history", "2").stderr
    assert ums(db, "db", "verify").exit_code == 0


def test_what_lapses_is_told(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_store(UnifiedSettings(database={"url": f"sqlite:///{db}"})) as store:
        store.add([Draft(text="once")], idempotency_key="key")
    monkeypatch.setenv("AI_LIFETIME__IDEMPOTENCY_DAYS", "0.00000000001")
    assert "1 answers to idempotency keys would be let go" in ums(db, "maintain", "plan", "--step", "lapse").stderr
    assert "1 answers to idempotency keys let go" in ums(db, "maintain", "run", "--step", "lapse").stderr
    assert "idempotency" not in ums(db, "maintain", "run", "--step", "lapse").stderr


def test_a_run_that_was_stopped_says_try_again(capsys: pytest.CaptureFixture[str]) -> None:
    _end(Maintenance())
    with pytest.raises(typer.Exit) as ended:
        _end(Maintenance(complete=False))
    assert ended.value.exit_code == 4
    assert "stopped before its end" in capsys.readouterr().err


def test_a_service_is_maintained_over_http(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(roomy(model={"embedder": "hashing", "vector_dim": 16}, maintenance={"threshold": 0.6})) as served:
        monkeypatch.setenv("AI_CHANNEL", "global")
        monkeypatch.setenv("AI_REMOTE__URL", served.url)
        monkeypatch.setenv("AI_REMOTE__TOKEN", served.token("acme"))
        with served.store("acme") as store:
            store.add([Draft(text=f"The heron is at the pond {word}.") for word in ("now", "again", "today")])
        run = ums(db, "maintain", "run", "--step", "consolidate", "--step", "sweep")
        assert run.exit_code == 0, run.output
        assert "3 memories merged" in run.stderr
        assert "0 expired" in ums(db, "maintain", "plan", "--step", "sweep").stderr
