"""The production preset starts with what is fit, and says all that is not."""

import runpy
import stat
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
from test_running import free_port, visiting
from typer.testing import CliRunner

from ums_core.cli.app import app
from ums_core.errors import SettingsError
from ums_core.service import secure
from ums_core.service.secure import check, main
from ums_core.settings import ServiceSettings, UnifiedSettings
from ums_core.settings.database import url_of


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o700)
    for name, value in {
        "AI_DATABASE__URL": url_of(tmp_path / "memory.db"),
        "AI_MODEL__EMBEDDER": "hashing",
        "AI_ENV": "",
        "AI_SECURITY__ENCRYPT_AT_REST": "",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("AI_ENV", "AI_SECURITY__ENCRYPT_AT_REST"):
        monkeypatch.delenv(name)
    return tmp_path


def test_everything_that_is_not_fit_is_named() -> None:
    settings = UnifiedSettings.for_testing(service={"host": "memory.example.org"})
    with pytest.raises(SettingsError) as caught:
        check(settings)
    for name in ("AI_ENV", "ENCRYPT_AT_REST", "KMS_BACKEND", "TLS_CERTIFICATE", "ums tokens create"):
        assert name in str(caught.value)
    for host in ("localhost", "::1", "127.0.0.2"):
        with pytest.raises(SettingsError) as caught:
            check(UnifiedSettings.for_testing(service={"host": host}))
        assert "TLS" not in str(caught.value)


def test_a_certificate_comes_with_its_key() -> None:
    with pytest.raises(SettingsError, match="belong together"):
        ServiceSettings(tls_certificate="/c.pem")
    assert ServiceSettings(tls_certificate="/c.pem", tls_key="/k.pem").tls_key == "/k.pem"


def test_without_a_key_production_does_not_start(directory: Path) -> None:
    with pytest.raises(SettingsError):
        runpy.run_path(str(secure.__file__), run_name="__main__")
    assert not (directory / "memory.db").exists()


def test_what_is_fit_is_served_and_sealed(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port, answers = free_port(), list[Mapping[str, object]]()
    monkeypatch.setenv("AI_SECURITY__KMS_BACKEND", "local")
    monkeypatch.setenv("AI_SECURITY__KMS_KEY_ID", "main")
    monkeypatch.setenv("AI_SECURITY__KMS_PARAMS", f'{{"path": "{directory}/keys/ring.json"}}')
    monkeypatch.setenv("AI_SERVICE__PORT", str(port))
    made = CliRunner().invoke(app, ["keys", "init"])
    assert made.exit_code == 0, made.output
    token = CliRunner().invoke(app, ["tokens", "create", "--tenant", "acme"]).stdout.strip()

    def add(address: str) -> Mapping[str, object]:
        answer = httpx.post(
            f"{address}/memory/add", json={"text": "zebra"}, headers={"X-API-Token": token}, trust_env=False
        )
        return {"status": answer.status_code}

    for _ in range(2):
        with visiting(port, answers, ask=add):
            main()
    assert answers == [{"status": 200}] * 2
    for database in (directory / "memory.db", directory / "memory.db.tenants" / "acme" / "memory.db"):
        assert not database.read_bytes().startswith(b"SQLite format 3")
        assert b"zebra" not in database.read_bytes()
        assert stat.S_IMODE(database.parent.stat().st_mode) == 0o700
