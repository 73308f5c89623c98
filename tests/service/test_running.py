"""The service as a process: started as users start it, stopped by a signal."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from services import settings_in
from typer.testing import CliRunner

from ums_core.cli.app import app
from ums_core.service.run import run
from ums_core.service.tokens import Tenant, Tokens, tokens_path
from ums_core.settings.database import url_of

Ask = Callable[[str], Mapping[str, object]]

START_S = 120


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def health(address: str) -> Mapping[str, object]:
    told: Mapping[str, object] = httpx.get(f"{address}/health", trust_env=False).json()
    return told


@contextmanager
def visiting(port: int, answers: list[Mapping[str, object]], ask: Ask = health) -> Iterator[None]:
    """Ask once it answers, from a thread, and then interrupt this process as Ctrl-C does."""

    def visit() -> None:
        try:
            until = time.monotonic() + START_S
            while time.monotonic() < until:
                try:
                    answers.append(ask(f"http://127.0.0.1:{port}"))
                    break
                except httpx.TransportError:
                    time.sleep(0.05)
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    visitor = threading.Thread(target=visit)
    visitor.start()
    yield
    visitor.join()


def test_a_service_runs_until_it_is_interrupted(tmp_path: Path) -> None:
    port, answers = free_port(), list[Mapping[str, object]]()
    with visiting(port, answers):
        run(settings_in(tmp_path, service={"port": port}))
    assert answers == [{"status": "ok"}]


def test_where_somebody_may_come_in_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port, answers = free_port(), list[Mapping[str, object]]()
    monkeypatch.setenv("AI_MODEL__EMBEDDER", "hashing")
    monkeypatch.setenv("AI_DATABASE__URL", "")
    monkeypatch.setenv("AI_SERVICE__PORT", "1")
    monkeypatch.delenv("AI_DATABASE__URL")
    monkeypatch.chdir(tmp_path)
    Tokens(tokens_path(tmp_path / "memory.db")).create(Tenant("acme"), ["admin"], env="dev")
    with visiting(port, answers):
        told = CliRunner().invoke(app, ["--db", str(tmp_path / "memory.db"), "serve", "--port", str(port)])
    assert (told.exit_code, answers) == (0, [{"status": "ok"}])
    assert "ums tokens create" not in told.stderr


def test_several_workers_serve_one_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port, answers = free_port(), list[Mapping[str, object]]()
    for name, value in {
        "AI_DATABASE__URL": url_of(tmp_path / "memory.db"),
        "AI_DATABASE__BACKEND": "exact",
        "AI_MODEL__EMBEDDER": "hashing",
        "AI_MONITORING__ENABLE_METRICS": "true",
        "AI_SERVICE__HOST": "127.0.0.1",
        "AI_SERVICE__PORT": "1",
        "AI_SERVICE__WORKERS": "1",
        "PROMETHEUS_MULTIPROC_DIR": "",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR")
    monkeypatch.chdir(tmp_path)
    with visiting(port, answers):
        told = CliRunner().invoke(app, ["serve", "--port", str(port), "--workers", "2"])
    assert told.exit_code == 0, told.output
    assert "ums tokens create" in told.stderr
    assert answers == [{"status": "ok"}]
    assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ


def test_a_token_is_made_listed_and_revoked_at_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    db = ["--db", str(tmp_path / "memory.db")]
    made = CliRunner().invoke(
        app, [*db, "tokens", "create", "--tenant", "acme", "--scopes", "memory:read, metrics:read", "--ttl", "30d"]
    )
    (token,) = made.stdout.splitlines()
    tokens = Tokens(tokens_path(tmp_path / "memory.db"))
    held = tokens.authenticate(token)
    assert (held.tenant, held.scopes) == ("acme", ("memory:read", "metrics:read"))
    assert held.expires_at is not None
    tokens.note_use(held)
    tokens.create(Tenant("other"), ["admin"], env="dev")
    listed = CliRunner().invoke(app, [*db, "tokens", "list"])
    assert f"{held.expires_at:%Y-%m-%d %H:%M}" in listed.stdout
    assert all(part in listed.stdout for part in (held.key_id, "acme", "holds", "other", "never"))
    revoked = CliRunner().invoke(app, [*db, "tokens", "revoke", held.key_id])
    assert (revoked.exit_code, revoked.stdout) == (0, "")
    told = json.loads(CliRunner().invoke(app, [*db, "tokens", "list", "--json"]).stdout)
    assert told[0]["revoked_at"]
    assert "digest" not in told[0]
    assert "revoked" in CliRunner().invoke(app, [*db, "tokens", "list"]).stdout
    for wrong in (["create", "--tenant", "A"], ["create", "--tenant", "a", "--ttl", "1"], ["revoke", "x"]):
        assert CliRunner().invoke(app, [*db, "tokens", *wrong]).exit_code == 2
