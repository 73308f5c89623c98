"""The command line: what is printed where, and how a command ends."""

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tiny_models import train_cross_encoder
from typer import Typer
from typer.testing import CliRunner, Result

from ums_core import Draft, UMSError, UnifiedSettings, errors, open_store
from ums_core.cli import __main__ as entry
from ums_core.cli import show
from ums_core.cli.app import app
from ums_core.cli.context import Context, Group, exit_status, namespace_of, of
from ums_core.testing.sealed import TEST_KEY

ANA = ("users", "ana/lisbon")


@pytest.fixture(autouse=True)
def _light(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AI_MODEL__EMBEDDER", "hashing")
    monkeypatch.setenv("AI_DATABASE__BACKEND", "exact")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "a b.db"
    with open_store(UnifiedSettings(database={"url": f"sqlite:///{tmp_path}/a%20b.db"})) as store:
        store.add(
            [
                Draft(
                    id="move",
                    text="I moved to Lisbon \x1b[31min May",
                    namespace=ANA,
                    role="user",
                    occurred_at=datetime(2026, 5, 20, tzinfo=UTC),
                ),
                Draft(id="gym", text="The gym opens at seven", namespace=("users", "bo"), speaker="Bo"),
            ]
        )
    yield path
    assert path.exists()


def ums(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_search_prints_the_hits_as_a_table(db: Path) -> None:
    run = ums("--db", str(db), "search", "moved to Lisbon", "-k", "1")
    assert run.exit_code == 0, run.output
    assert "2026-05-20" in run.stdout
    assert "users/ana%2Flisbon" in run.stdout
    assert "moved to Lisbon" in run.stdout


def test_a_memory_cannot_command_the_terminal(db: Path) -> None:
    run = ums("--db", str(db), "search", "moved to Lisbon", "-k", "1")
    assert "\x1b" not in run.stdout
    assert "�[31m" in run.stdout


def test_search_prints_json_with_every_field(db: Path) -> None:
    run = ums("--db", f"sqlite:///{db.parent}/a%20b.db", "search", "gym", "--mode", "keyword", "--json")
    (hit,) = json.loads(run.stdout)
    assert hit["memory"]["namespace"] == ["users", "bo"]
    assert hit["memory"]["speaker"] == "Bo"
    assert hit["similarity"] is None


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--namespace", "users/ana%2Flisbon"], ["move"]),
        (["-n", "users"], ["gym", "move"]),
        (["--filter", '{"role": "user"}'], ["move"]),
    ],
)
def test_search_keeps_to_a_namespace_and_a_filter(db: Path, options: list[str], found: list[str]) -> None:
    run = ums("--db", str(db), "search", "anything", "--json", *options)
    assert sorted(hit["memory"]["id"] for hit in json.loads(run.stdout)) == found


def test_search_explains_each_score_as_a_table_and_a_bar(db: Path) -> None:
    run = ums("--db", str(db), "search", "moved to Lisbon", "--explain")
    assert run.exit_code == 0, run.output
    header, *rest = run.stdout.strip().splitlines()
    assert "dense" in header
    assert "lexical" in header
    assert "▓" in header
    (found,) = [line for line in rest if "Lisbon" in line]
    assert "▓▓▓" in found
    hits = json.loads(ums("--db", str(db), "search", "moved to Lisbon", "--explain", "--json").stdout)
    for hit in hits:
        assert sum(hit["signals"].values()) == pytest.approx(hit["score"])


@pytest.mark.needs_torch
def test_search_says_when_there_was_no_time_to_rerank(
    db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_cross_encoder(tmp_path / "tiny", steps=4)
    monkeypatch.setenv("AI_RANKING__CROSS_ENCODER", str(tmp_path / "tiny"))
    monkeypatch.setenv("AI_RANKING__CROSS_ENCODER_BUDGET_S", "1e-9")
    assert "ran out of time" in ums("--db", str(db), "search", "gym", "--rerank").stderr
    assert "ran out of time" not in ums("--db", str(db), "search", "gym", "--no-rerank").stderr


def test_search_says_on_stderr_that_nothing_was_found(db: Path) -> None:
    run = ums("--db", str(db), "search", "zebra", "--mode", "keyword")
    assert (run.exit_code, run.stdout, run.stderr) == (0, "", "nothing found\n")


@pytest.mark.parametrize("condition", ["{", "[]", '{"role": {"$near": 1}}'])
def test_a_filter_that_cannot_be_used_is_one_line_and_status_2(db: Path, condition: str) -> None:
    run = ums("--db", str(db), "search", "tea", "--filter", condition)
    assert run.exit_code == 2
    assert run.stderr.startswith("ums: error: ")
    assert run.stderr.endswith("(invalid_filter)\n")
    assert run.stderr.count("\n") == 1


def test_info_says_what_the_database_holds(db: Path) -> None:
    run = ums("--db", str(db), "info")
    assert run.exit_code == 0
    assert str(db) in run.stdout
    assert "text: exact" in run.stdout
    facts = json.loads(ums("--db", str(db), "info", "--json").stdout)
    assert (facts["memories"], facts["status"], facts["bytes"]) == (2, "ok", db.stat().st_size)


def test_without_db_the_settings_say_where_it_is(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_DATABASE__URL", f"sqlite:///{db.parent}/a%20b.db")
    assert json.loads(ums("info", "--json").stdout)["memories"] == 2


def test_a_command_that_reads_makes_no_database(tmp_path: Path) -> None:
    run = ums("--db", "mistyped.db", "search", "tea")
    assert run.exit_code == 1
    assert "no database at mistyped.db; name another with --db FILE" in run.stderr
    assert not list(tmp_path.glob("mistyped.db*"))


def test_a_command_that_writes_makes_one(tmp_path: Path) -> None:
    with Context("new.db").store(create=True) as store:
        assert store.count() == 0
    assert (tmp_path / "new.db").exists()


def test_an_unknown_setting_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_DATABASE__ULR", "x")
    monkeypatch.setenv("AI_MODEL__EMBEDER", "x")
    run = ums("info")
    assert run.exit_code == 2
    assert run.stderr.count("\n") == 1
    assert "AI_DATABASE__ULR" in run.stderr
    assert "AI_MODEL__EMBEDER" in run.stderr


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.SettingsError, 2),
        (errors.MemoryNotFound, 3),
        (errors.IndexRecovering, 4),
        (errors.DatabaseBusy, 4),
        (errors.KeyUnavailable, 4),
        (errors.EmbedderMismatch, 1),
        (errors.MissingExtra, 1),
    ],
)
def test_the_kind_of_error_is_the_exit_status(error: type[UMSError], status: int) -> None:
    group = Typer(cls=Group)
    group.callback()(lambda: None)

    @group.command()
    def fail() -> None:
        raise error("it is\nso")

    run = CliRunner().invoke(group, ["fail"])
    assert (run.exit_code, run.stderr) == (status, f"ums: error: it is so ({error.code})\n")
    assert exit_status(error("x")) == status


def test_a_command_may_stand_outside_of_the_application() -> None:
    alone = Typer()

    @alone.command()
    def where(ctx: show.typer.Context) -> None:
        print(of(ctx).db)  # noqa: T201  # what the test reads

    assert CliRunner().invoke(alone, []).stdout == "None\n"


@pytest.mark.needs_sqlcipher
def test_a_database_that_takes_no_writes_is_status_4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AI_MODEL__EMBEDDER": "hashing:8",
        "AI_SECURITY__ENCRYPT_AT_REST": "true",
        "AI_SECURITY__ENCRYPTION_KEY": TEST_KEY,
    }.items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "memory.db"
    older = b""
    for text in ("first", "second"):
        older = path.read_bytes() if path.exists() else older
        with Context(str(path)).store(create=True) as store:
            store.add([Draft(text=text)])
    assert ums("--db", str(path), "info").exit_code == 0
    path.write_bytes(older)
    run = ums("--db", str(path), "info", "--json")
    assert (json.loads(run.stdout)["status"], run.exit_code) == ("degraded", 4)


def test_namespaces_are_written_as_paths_and_read_back() -> None:
    for namespace in ((), ("a",), ANA, ("50 %", "ü/b", "x@y.org")):
        assert namespace_of(show.label(namespace)) == namespace


def test_progress_hands_out_a_function_that_may_be_called_where_there_is_no_terminal() -> None:
    with show.progress("embedding") as step:
        step(1, 2)
        step(2, 2)


def test_no_command_prints_the_help_and_version_the_version() -> None:
    assert "search" in ums().output
    assert ums("--version").stdout.strip()[0].isdigit()


def test_the_module_runs_as_a_script(
    db: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["ums", "--db", str(db), "info", "--json"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(entry.__file__), run_name="__main__")
    assert not end.value.code
    assert json.loads(capsys.readouterr().out)["memories"] == 2


def test_without_the_extra_it_says_what_to_install() -> None:
    code = (
        "import sys, importlib.abc\n"
        "class Blocked(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == {blocked!r}: raise ModuleNotFoundError('gone', name=name)\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "from ums_core.cli.__main__ import main\n"
        "main()\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code.format(blocked="typer")], capture_output=True, text=True, check=False,
        env={**os.environ, "COVERAGE_PROCESS_START": ""},
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (
        1,
        "ums: the command line needs the package typer: pip install 'ums-core[cli]'\n",
    )


@pytest.mark.parametrize(("missing", "kind"), [("typer", SystemExit), ("pydantic_core", ModuleNotFoundError)])
def test_only_a_package_of_the_extra_is_reported_as_one(
    missing: str, kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("ums_core.cli") and name != entry.__name__]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(kind):
        entry.main()
