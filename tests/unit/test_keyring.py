import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from ums_core.channels.keys import key_source
from ums_core.crypto.cipher import Argon2Cost
from ums_core.crypto.keyring import Keyring
from ums_core.crypto.local import LocalSource
from ums_core.crypto.retry import patiently
from ums_core.crypto.secret_file import read_secret
from ums_core.errors import (
    InvalidInput,
    InvalidKey,
    KeyCorrupt,
    KeyDenied,
    KeyFileUnsafe,
    KeyMissing,
    KeyUnavailable,
    SettingsError,
    StorageError,
)
from ums_core.settings import SecuritySettings

CHEAP = Argon2Cost(memory_kib=19 * 1024, iterations=1, lanes=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keyring.json"


def test_a_keyring_keeps_its_keys(path: Path) -> None:
    made = Keyring.create(path, "main")
    assert made.add("main") == 2
    assert made.add("other") == 1
    again = Keyring.open(path)
    assert again.names == ["main", "other"]
    assert [version.number for version in again.versions("main")] == [1, 2]
    assert again.versions("main") == made.versions("main")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "key" not in repr(again.versions("main")[0]).replace("Version(", "")


def test_a_passphrase_seals_the_file(path: Path) -> None:
    made = Keyring.create(path, "main", "correct horse", cost=CHEAP)
    made.add("main")
    text = path.read_text()
    assert "main" not in text
    assert json.loads(text)["argon2id"]["memory_kib"] == 19 * 1024
    assert Keyring.open(path, "correct horse").versions("main") == made.versions("main")
    with pytest.raises(KeyDenied, match="does not open") as caught:
        Keyring.open(path, "wrong horse")
    assert "horse" not in str(caught.value)
    with pytest.raises(KeyDenied, match="needs its passphrase"):
        Keyring.open(path)


def test_the_standard_cost_is_that_of_the_rfc_for_64_mib(path: Path) -> None:
    Keyring.create(path, "main", "correct horse")
    told = json.loads(path.read_text())["argon2id"]
    assert (told["memory_kib"], told["iterations"], told["lanes"]) == (65536, 3, 4)
    assert Keyring.open(path, "correct horse").names == ["main"]


def test_a_keyring_exchanged_for_one_without_a_passphrase_is_refused(path: Path) -> None:
    Keyring.create(path, "main")
    with pytest.raises(KeyFileUnsafe, match="exchanged"):
        Keyring.open(path, "correct horse")


def test_an_old_version_is_dropped_and_the_newest_is_not(path: Path) -> None:
    ring = Keyring.create(path, "main")
    with pytest.raises(InvalidInput, match="newest"):
        ring.drop("main", 1)
    ring.add("main")
    with pytest.raises(KeyMissing, match="no version 7"):
        ring.drop("main", 7)
    ring.drop("main", 1)
    assert [version.number for version in Keyring.open(path).versions("main")] == [2]
    assert ring.add("main") == 3
    with pytest.raises(KeyMissing, match="no key 'none'"):
        ring.versions("none")


def test_a_keyring_is_not_overwritten(path: Path) -> None:
    Keyring.create(path, "main")
    with pytest.raises(InvalidInput):
        Keyring.create(path, "main")


@pytest.mark.parametrize(("name", "passphrase"), [("", None), ("two\nlines", None), ("main", ""), ("main", "a\nb")])
def test_names_and_passphrases_are_one_line(path: Path, name: str, passphrase: str | None) -> None:
    with pytest.raises(InvalidKey, match="one line"):
        Keyring.create(path, name, passphrase, cost=CHEAP)
    assert not path.exists()


def test_two_processes_add_to_one_keyring_in_turn(path: Path) -> None:
    one = Keyring.create(path, "main")
    other = Keyring.open(path)
    assert (one.add("main"), other.add("main"), one.add("main")) == (2, 3, 4)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d.update(format=2),
        lambda d: d.update(more=1),
        lambda d: d.update(proof="0" * 64),
        lambda d: d["keys"][0].update(name="renamed"),
        lambda d: d["keys"][0].update(versions=[]),
        lambda d: d["keys"][0]["versions"][0].update(number="1"),
        lambda d: d["keys"][0]["versions"][0].update(key="AAAA"),
        lambda d: d["keys"][0]["versions"][0].update(key="*"),
        lambda d: d["keys"][0]["versions"].append(d["keys"][0]["versions"][0]),
        lambda d: d.update(keys={}),
    ],
)
def test_a_damaged_keyring_is_refused(path: Path, spoil: Callable[[dict[str, object]], object]) -> None:
    ring = Keyring.create(path, "main")
    document = json.loads(path.read_text())
    spoil(document)
    path.write_text(json.dumps(document))
    with pytest.raises(KeyCorrupt, match="restore it from its backup"):
        Keyring.open(path)
    assert len(ring.versions("main")) == 1


def test_a_keyring_that_is_no_mapping_is_refused(path: Path) -> None:
    path.write_text("[]")
    path.chmod(0o600)
    with pytest.raises(KeyCorrupt):
        Keyring.open(path)


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lambda d: d["argon2id"].update(memory_kib=1 << 30), KeyCorrupt),
        (lambda d: d["argon2id"].update(memory_kib=1024), KeyCorrupt),
        (lambda d: d["argon2id"].update(iterations=2), KeyDenied),
        (lambda d: d["argon2id"].update(salt="AAAA"), KeyCorrupt),
        (lambda d: d.update(sealed="AAAA"), KeyDenied),
        (lambda d: d.update(sealed=d["sealed"][:-8] + "AAAAAAA="), KeyDenied),
        (lambda d: d.update(more=1), KeyCorrupt),
    ],
)
def test_a_damaged_sealed_keyring_is_refused(
    path: Path, spoil: Callable[[dict[str, object]], object], kind: type[Exception]
) -> None:
    Keyring.create(path, "main", "correct horse", cost=CHEAP)
    document = json.loads(path.read_text())
    spoil(document)
    path.write_text(json.dumps(document))
    with pytest.raises(kind):
        Keyring.open(path, "correct horse")


# The source over it


def test_a_source_goes_on_without_its_file_and_says_so(path: Path) -> None:
    context = {"app": "ums", "database": "ab" * 16, "purpose": "dek:0123456789abcdef"}
    source = LocalSource(Keyring.create(path, "main"), "main")
    key, wrapped = source.generate(context)
    path.unlink()
    assert source.unwrap(wrapped, context) == key
    status = source.describe()
    assert not status.reachable
    assert "there is no key file" in status.detail[0]
    with pytest.raises(KeyMissing):
        source.generate(context)
    source.close()
    with pytest.raises(KeyMissing):
        source.unwrap(wrapped, context)


# Settings


def test_a_source_is_made_by_the_settings(path: Path, tmp_path: Path) -> None:
    Keyring.create(path, "main", "correct horse", cost=CHEAP)
    secret = tmp_path / "passphrase"
    secret.write_text("correct horse\n")
    source = key_source(
        SecuritySettings(
            kms_backend="local", kms_key_id="main", kms_params={"path": str(path), "passphrase_file": str(secret)}
        )
    )
    assert (source.provider, source.key_id) == ("local", "main")
    raw = key_source(SecuritySettings(encryption_key="AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="))
    assert raw.provider == "raw"
    vault = key_source(
        SecuritySettings(
            kms_backend="vault",
            kms_key_id="main",
            kms_params={"url": "https://vault.example.org", "token_file": str(secret), "ca_file": str(secret)},
        )
    )
    assert (vault.provider, vault.key_id) == ("vault", "main")
    role = {"url": "https://vault.example.org", "role_id": "r", "secret_id_file": str(secret)}
    assert key_source(SecuritySettings(kms_backend="vault", kms_key_id="main", kms_params=role)).key_id == "main"
    aws = SecuritySettings(kms_backend="aws", kms_key_id="alias/main", kms_params={"region": "eu-central-1"})
    assert key_source(aws).key_id == "alias/main"


def test_a_keyring_without_a_passphrase_needs_none(path: Path) -> None:
    Keyring.create(path, "main")
    security = SecuritySettings(kms_backend="local", kms_key_id="main", kms_params={"path": str(path)})
    assert key_source(security).describe().version == "1"


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({}, "no key"),
        ({"kms_backend": "local", "kms_params": {"passphrase": "hunter2"}}, "'passphrase', which local does not take"),
        ({"kms_backend": "vault", "kms_params": {"token": "hunter2"}}, "'token', which vault does not take"),
        ({"kms_backend": "vault", "kms_params": {"url": 5}}, "must be a text"),
        ({"kms_backend": "vault", "kms_params": {"token_file": "x"}}, "lacks the url"),
        ({"kms_backend": "vault", "kms_params": {"url": "https://v", "role_id": "r"}}, "lacks a login"),
        ({"kms_backend": "aws", "kms_params": {"region": ""}}, "must be a text"),
    ],
)
def test_unusable_parameters_are_refused_and_not_repeated(given: dict[str, object], complaint: str) -> None:
    security = SecuritySettings(**({"kms_key_id": "main"} | given if given else {}))
    with pytest.raises(SettingsError, match=complaint) as caught:
        key_source(security)
    assert "hunter2" not in str(caught.value)


# Secrets in files, and patience


def test_a_secret_is_the_text_of_its_file(tmp_path: Path) -> None:
    secret = tmp_path / "s"
    for text in ("word", "word\n", "word\r\n"):
        secret.write_bytes(text.encode())
        assert read_secret(secret, "a word") == "word"
    secret.write_text(" two words \n")
    assert read_secret(secret, "a word") == " two words "


@pytest.mark.parametrize(
    ("content", "complaint"), [(b"", "empty"), (b"\n", "empty"), (b"\xff", "UTF-8"), (b"x" * 65537, "too long")]
)
def test_a_file_that_holds_no_secret_is_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    secret = tmp_path / "s"
    secret.write_bytes(content)
    with pytest.raises(InvalidKey, match=complaint):
        read_secret(secret, "a word")


def test_a_secret_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(KeyMissing, match="does not exist"):
        read_secret(tmp_path / "none", "a word")
    with pytest.raises(StorageError, match="cannot be read"):
        read_secret(tmp_path, "a word")


def test_what_does_not_answer_is_asked_three_times() -> None:
    asked: list[int] = []
    paused: list[float] = []

    def ask() -> int:
        asked.append(1)
        if len(asked) < 3:
            raise KeyUnavailable("not now")
        return 7

    assert patiently(ask, pause=paused.append) == 7
    assert 0 <= paused[0] <= 0.1
    assert 0 <= paused[1] <= 0.2


def test_what_never_answers_is_given_up() -> None:
    asked: list[int] = []

    def ask() -> int:
        asked.append(1)
        raise KeyUnavailable("not now")

    with pytest.raises(KeyUnavailable, match="not now"):
        patiently(ask, pause=lambda _seconds: None)
    assert len(asked) == 3


def test_a_refusal_is_not_asked_again() -> None:
    asked: list[int] = []

    def ask() -> int:
        asked.append(1)
        raise KeyDenied("never")

    with pytest.raises(KeyDenied):
        patiently(ask)
    assert len(asked) == 1
