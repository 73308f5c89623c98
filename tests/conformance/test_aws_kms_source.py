"""AWS KMS: moto for what it does as AWS, botocore's own Stubber for the states of a key that moto leaves out."""

import socket
import sys
from pathlib import Path

import pytest
from key_servers import free_port

from ums_core.crypto import Envelope
from ums_core.crypto.aws_kms import AwsKmsSource
from ums_core.errors import KeyCorrupt, KeyDenied, KeyFailure, KeyMissing, KeyUnavailable, MissingExtra, SettingsError
from ums_core.ports import Context, Wrapped

CONTEXT: Context = {"app": "ums", "database": "ab" * 16, "purpose": "dek:0123456789abcdef"}


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-this-test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-this-test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


@pytest.fixture
def source(kms_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> AwsKmsSource:
    import boto3  # noqa: PLC0415  # optional: extra `aws`

    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", kms_endpoint)
    kms = boto3.client("kms", region_name="eu-central-1")
    key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName=f"alias/{key_id[:8]}", TargetKeyId=key_id)
    return AwsKmsSource(f"alias/{key_id[:8]}", "eu-central-1")


def test_a_database_lives_and_rotates_under_an_alias(source: AwsKmsSource, tmp_path: Path) -> None:
    path = tmp_path / "memory.db.keys.json"
    envelope = Envelope.create(path, source)
    envelope.begin()
    envelope.promote()
    before = path.read_bytes()
    assert envelope.rewrap() == 2
    assert path.read_bytes() != before
    assert Envelope.open(path, source).active.secret == envelope.active.secret
    source.close()


@pytest.mark.usefixtures("source")
def test_a_key_that_does_not_exist_is_missing() -> None:
    missing = AwsKmsSource("alias/none", "eu-central-1")
    with pytest.raises(KeyMissing, match="NotFoundException"):
        missing.generate(CONTEXT)
    assert not missing.describe().reachable


def test_a_wrapping_that_was_changed_is_corrupt(source: AwsKmsSource) -> None:
    _, wrapped = source.generate(CONTEXT)
    with pytest.raises(KeyCorrupt, match="InvalidCiphertextException"):
        source.unwrap(wrapped, {**CONTEXT, "database": "cd" * 16})


def test_a_service_that_is_down_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", f"http://127.0.0.1:{free_port()}")
    source = AwsKmsSource("k", "eu-central-1")
    with pytest.raises(KeyUnavailable, match="no answer"):
        source.generate(CONTEXT)
    status = source.describe()
    assert not status.reachable
    assert "no answer" in status.detail[0]


def test_a_service_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", f"http://127.0.0.1:{silent.getsockname()[1]}")
        status = AwsKmsSource("k", "eu-central-1").describe()
    assert not status.reachable
    assert "Timeout" in status.detail[0]


def test_no_credentials_are_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(KeyDenied, match="no credentials"):
        AwsKmsSource("k", "eu-central-1").generate(CONTEXT)


def test_a_region_is_needed() -> None:
    with pytest.raises(SettingsError, match="region"):
        AwsKmsSource("k")


def test_the_package_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingExtra, match=r"ums-core\[aws\]"):
        AwsKmsSource("k", "eu-central-1")
    monkeypatch.setitem(sys.modules, "hvac", None)
    from ums_core.crypto.vault import TokenFile, VaultAddress, VaultSource  # noqa: PLC0415  # beside the other

    with pytest.raises(MissingExtra, match=r"ums-core\[vault\]"):
        VaultSource(VaultAddress("https://vault.example.org"), "k", TokenFile(Path("t")))


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("DisabledException", 400, KeyDenied),
        ("KMSInvalidStateException", 400, KeyDenied),  # pending deletion
        ("AccessDeniedException", 400, KeyDenied),
        ("ExpiredTokenException", 400, KeyDenied),
        ("IncorrectKeyException", 400, KeyCorrupt),
        ("InvalidCiphertextException", 400, KeyCorrupt),
        ("NotFoundException", 400, KeyMissing),
        ("ThrottlingException", 400, KeyUnavailable),
        ("KMSInternalException", 500, KeyUnavailable),
        ("SomethingNew", 503, KeyUnavailable),
    ],
)
def test_each_answer_of_the_service_is_told_apart(code: str, status: int, kind: type[KeyFailure]) -> None:
    from botocore.stub import Stubber  # noqa: PLC0415  # optional: extra `aws`

    source = AwsKmsSource("1234abcd-12ab-34cd-56ef-1234567890ab", "eu-central-1")
    tries = 3 if kind is KeyUnavailable else 1
    with Stubber(source._client) as stub:
        for _ in range(tries):
            stub.add_client_error(
                "decrypt",
                service_error_code=code,
                service_message="said by the service",
                http_status_code=status,
                expected_params={
                    "KeyId": source.key_id,
                    "CiphertextBlob": b"blob",
                    "EncryptionContext": dict(CONTEXT),
                },
            )
        with pytest.raises(kind, match=code) as caught:
            source.unwrap(Wrapped("aws", source.key_id, "", b"blob"), CONTEXT)
        assert type(caught.value) is kind
        stub.assert_no_pending_responses()
