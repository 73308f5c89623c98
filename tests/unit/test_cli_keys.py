"""`ums keys`: keys are made, rotated, moved, retired and recovered without a secret in an argument."""

import base64
import json
import os
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ums_core import Draft, Query, open_store
from ums_core.channels.keys import key_source
from ums_core.cli.app import app
from ums_core.crypto import Envelope, envelope_path
from ums_core.crypto.keyring import Keyring
from ums_core.crypto.raw import RawSource
from ums_core.crypto.recovery import RecoverySource
from ums_core.settings import SecuritySettings, UnifiedSettings, forget_secrets

SECRET = bytes(range(32))
KEY = base64.urlsafe_b64encode(SECRET).decode()


@pytest.fixture
def ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the keyring is that the settings name."""
    path = tmp_path / "private" / "keyring.json"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AI_DATABASE__URL", f"sqlite:///{tmp_path}/memory.db")
    monkeypatch.setenv("AI_SECURITY__KMS_BACKEND", "local")
    monkeypatch.setenv("AI_SECURITY__KMS_KEY_ID", "main")
    monkeypatch.setenv("AI_SECURITY__KMS_PARAMS", json.dumps({"path": str(path)}))
    return path


@pytest.fixture
def envelope(ring: Path, tmp_path: Path) -> Envelope:
    ring.parent.mkdir(mode=0o700)
    Keyring.create(ring, "main")
    return Envelope.create(envelope_path(tmp_path / "memory.db"), key_source(UnifiedSettings().security))


def ums(*arguments: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(app, ["keys", *arguments], input=typed)


def test_init_makes_a_keyring_and_then_another_key(ring: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = ums("init")
    assert run.exit_code == 0, run.output
    assert stat.S_IMODE(ring.stat().st_mode) == 0o600
    assert stat.S_IMODE(ring.parent.stat().st_mode) == 0o700
    assert ums("init").exit_code == 2
    monkeypatch.setenv("AI_SECURITY__KMS_KEY_ID", "other")
    assert ums("init").exit_code == 0
    assert Keyring.open(ring).names == ["main", "other"]


def test_init_asks_for_a_passphrase_twice(ring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ums("init", "--passphrase", typed="correct horse\nwrong\ncorrect horse\ncorrect horse\n").exit_code == 0
    assert Keyring.open(ring, "correct horse").names == ["main"]
    secret = tmp_path / "passphrase"
    secret.write_text("correct horse\n")
    monkeypatch.setenv("AI_SECURITY__KMS_PARAMS", json.dumps({"path": str(ring), "passphrase_file": str(secret)}))
    run = ums("init")
    assert run.exit_code == 2
    assert "has a key 'main' already" in run.stderr


def test_init_sees_that_a_passed_in_key_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AI_SECURITY__ENCRYPTION_KEY", KEY)
    run = ums("init")
    assert run.exit_code == 0
    assert KEY not in run.output
    # Read once, it is inherited by nothing that starts later.
    assert "AI_SECURITY__ENCRYPTION_KEY" not in os.environ


def test_a_key_is_read_from_a_file_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    reading, writing = os.pipe()
    os.write(writing, f"{KEY}\n".encode())
    os.close(writing)
    try:
        monkeypatch.setenv("AI_SECURITY__ENCRYPTION_KEY_FILE", f"/dev/fd/{reading}")
        assert ums("init").exit_code == 0
    finally:
        os.close(reading)


def test_no_key_is_an_error_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = ums("status")
    assert run.exit_code == 2
    assert "AI_SECURITY__ENCRYPTION_KEY" in run.stderr


def test_status_lists_the_keys_and_no_secret(envelope: Envelope) -> None:
    envelope.begin()
    envelope.promote()
    retired, active = envelope.status().keys
    run = ums("status")
    assert run.exit_code == 0, run.output
    for word in (retired.key_id, active.key_id, "retired", "active", "local: main", "reachable"):
        assert word in run.output
    told = json.loads(ums("status", "--json").stdout)
    assert [key["state"] for key in told["keys"]] == ["retired", "active"]
    assert told["keys"][1]["slots"] == [{"slot": "main", "provider": "local", "key": "main", "version": "1"}]
    assert told["source"]["reachable"]
    assert "blob" not in json.dumps(told)
    assert ums("retire", retired.key_id, "--yes").exit_code == 0
    assert "destroyed" in ums("status").stdout


def test_status_says_what_stands_in_the_way(envelope: Envelope, ring: Path) -> None:
    assert envelope.status().source.reachable
    ring.chmod(0o644)
    run = ums("status")
    assert run.exit_code == 1
    assert "chmod 600" in run.stderr


def test_rotate_makes_a_version_and_wraps_by_it(envelope: Envelope, ring: Path) -> None:
    secret = envelope.active.secret
    run = ums("rotate")
    assert run.exit_code == 0, run.output
    assert "version 2" in run.stderr
    assert "1 data keys wrapped anew" in run.stderr
    again = Envelope.open(envelope.path, key_source(UnifiedSettings().security))
    assert again.active.secret == secret
    # Interrupted between the two steps, it goes on and makes no further version.
    Keyring.open(ring).add("main")
    assert "version" not in ums("rotate").stderr
    assert [version.number for version in Keyring.open(ring).versions("main")] == [1, 2, 3]


@pytest.mark.needs_sqlcipher
def test_the_data_are_put_under_a_new_key(ring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_SECURITY__ENCRYPT_AT_REST", "true")
    monkeypatch.setenv("AI_MODEL__EMBEDDER", "hashing:16")
    monkeypatch.setenv("AI_DATABASE__BACKEND", "exact")
    ums("init")
    with open_store(UnifiedSettings()) as store:
        store.add([Draft(id="a", text="the zebra crosses at dawn")])
    before = Envelope.open(envelope_path(tmp_path / "memory.db"), key_source(UnifiedSettings().security)).active
    run = ums("rotate", "--data")
    assert run.exit_code == 0, run.output
    assert ums("verify").exit_code == 0
    after = Envelope.open(envelope_path(tmp_path / "memory.db"), key_source(UnifiedSettings().security)).active
    assert after.key_id in run.stderr
    assert after.secret != before.secret
    with open_store(UnifiedSettings()) as store:
        assert store.search(Query(text="zebra"))[0].memory.id == "a"
    assert ring.exists()


def test_an_old_version_is_dropped_once_it_wraps_nothing(envelope: Envelope, ring: Path) -> None:
    run = ums("retire", "--version", "1", "--yes")
    assert run.exit_code == 2
    assert "still wraps" in run.stderr
    ums("rotate")
    assert ums("retire", "--version", "1", typed="n\n").exit_code == 1
    assert ums("retire", "--version", "1", typed="y\n").exit_code == 0
    assert [version.number for version in Keyring.open(ring).versions("main")] == [2]
    assert ums("verify").exit_code == 0
    assert envelope.active is not None


def test_retire_is_told_one_thing(envelope: Envelope) -> None:
    assert ums("retire").exit_code == 2
    assert ums("retire", "0" * 16, "--version", "1").exit_code == 2
    run = ums("retire", envelope.active.key_id, "--yes")
    assert run.exit_code == 2
    assert "is active" in run.stderr


def test_a_key_service_retires_its_versions_itself(
    envelope: Envelope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    envelope.move(RawSource(SECRET))
    file = tmp_path / "key"
    file.write_text(KEY)
    for name in ("KMS_BACKEND", "KMS_KEY_ID", "KMS_PARAMS"):
        monkeypatch.delenv(f"AI_SECURITY__{name}")
    monkeypatch.setenv("AI_SECURITY__ENCRYPTION_KEY_FILE", str(file))
    run = ums("retire", "--version", "1")
    assert run.exit_code == 2
    assert "for a keyring" in run.stderr
    assert ums("rotate").exit_code == 0


def test_a_recovery_code_opens_what_lost_its_keyring(envelope: Envelope, ring: Path, tmp_path: Path) -> None:
    secret = envelope.active.secret
    run = ums("export-recovery")
    assert run.exit_code == 0
    printed = run.stdout.strip()
    code_file = tmp_path / "code"
    assert ums("export-recovery", "--output", str(code_file)).exit_code == 0
    assert stat.S_IMODE(code_file.stat().st_mode) == 0o600
    code = code_file.read_text().strip()
    assert ums("export-recovery", "--output", str(code_file)).exit_code == 2
    assert ums("verify", "--recovery", "--code-file", str(code_file)).exit_code == 0
    assert ums("verify", "--recovery", typed=f"{printed}\n").exit_code == 1
    ring.unlink()
    assert ums("verify").exit_code == 1
    assert ums("init").exit_code == 0
    run = ums("move", "--recovery", typed=f"{code}\n")
    assert run.exit_code == 0, run.output
    assert code not in run.output
    assert Envelope.open(envelope.path, key_source(UnifiedSettings().security)).active.secret == secret


def test_a_recovery_code_of_other_keys_does_not_verify(envelope: Envelope, tmp_path: Path) -> None:
    code_file = tmp_path / "code"
    envelope.begin()
    envelope.promote()
    ums("export-recovery", "--output", str(code_file))
    envelope.reload()
    record = envelope.status().keys[0]
    source = RecoverySource.of_code(code_file.read_text())
    other = source.wrap(bytes(32), {"app": "ums", "database": envelope.database_id, "purpose": f"dek:{record.key_id}"})
    envelope._change(lambda document: document.with_key(record.with_slot("recovery", other)))
    run = ums("verify", "--recovery", "--code-file", str(code_file))
    assert run.exit_code == 1
    assert "opens other keys" in run.stderr


def test_keys_move_from_one_source_to_another(
    envelope: Envelope, ring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = tmp_path / "former.json"
    former.write_text(json.dumps({"kms_backend": "local", "kms_key_id": "main", "kms_params": {"path": str(ring)}}))
    for name in ("KMS_BACKEND", "KMS_KEY_ID", "KMS_PARAMS"):
        monkeypatch.delenv(f"AI_SECURITY__{name}")
    monkeypatch.setenv("AI_SECURITY__ENCRYPTION_KEY", KEY)
    run = ums("move", "--from", str(former))
    assert run.exit_code == 0, run.output
    assert Envelope.open(envelope.path, RawSource(SECRET)).active.secret == envelope.active.secret


@pytest.mark.parametrize("content", ["[]", "{", '{"kms_backend": 5}', '{"unknown": 1}'])
def test_former_settings_are_checked(envelope: Envelope, tmp_path: Path, content: str) -> None:
    former = tmp_path / "former.json"
    former.write_text(content)
    assert ums("move", "--from", str(former)).exit_code == 2
    assert ums("move").exit_code == 2
    assert envelope.status().revision == 0


def test_verify_counts_what_opens(envelope: Envelope) -> None:
    envelope.begin()
    envelope.promote()
    envelope.begin()
    run = ums("verify")
    assert run.exit_code == 0
    assert "3 data keys open" in run.stderr


def test_secrets_leave_the_environment_and_nothing_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ai_security__encryption_key", KEY)
    monkeypatch.setenv("AI_SECURITY__KMS_KEY_ID", "main")
    forget_secrets()
    assert KEY not in os.environ.values()
    assert os.environ["AI_SECURITY__KMS_KEY_ID"] == "main"
    assert SecuritySettings(encryption_key_file="/run/key").sealed
