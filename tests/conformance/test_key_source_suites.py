"""Every source of keys is judged by one suite: raw, keyring with and without passphrase, OpenBao, KMS, recovery."""

import uuid
from pathlib import Path

import pytest
from key_servers import VaultServer

from ums_core.crypto.aws_kms import AwsKmsSource
from ums_core.crypto.cipher import Argon2Cost
from ums_core.crypto.keyring import Keyring
from ums_core.crypto.local import LocalSource
from ums_core.crypto.raw import RawSource
from ums_core.crypto.recovery import RecoverySource, new_recovery_code
from ums_core.crypto.vault import TokenFile, VaultAddress, VaultSource
from ums_core.ports import KeySource
from ums_core.testing.key_source_suite import KeySourceSuite

CHEAP = Argon2Cost(memory_kib=19 * 1024, iterations=1, lanes=1)


class TestRawSource(KeySourceSuite):
    @pytest.fixture
    def source(self) -> KeySource:
        return RawSource(bytes(range(32)))

    def rotate(self, source: KeySource) -> None:
        pass


class TestRecoverySource(KeySourceSuite):
    @pytest.fixture
    def source(self) -> KeySource:
        return RecoverySource.of_code(new_recovery_code())

    def rotate(self, source: KeySource) -> None:
        pass


class TestLocalSource(KeySourceSuite):
    @pytest.fixture
    def source(self, tmp_path: Path) -> KeySource:
        return LocalSource(Keyring.create(tmp_path / "keyring.json", "main"), "main")

    def rotate(self, source: KeySource) -> None:
        assert isinstance(source, LocalSource)
        Keyring.open(source._ring.path).add(source.key_id)


class TestLocalSourceWithPassphrase(KeySourceSuite):
    @pytest.fixture
    def source(self, tmp_path: Path) -> KeySource:
        return LocalSource(Keyring.create(tmp_path / "keyring.json", "main", "correct horse", cost=CHEAP), "main")

    def rotate(self, source: KeySource) -> None:
        assert isinstance(source, LocalSource)
        Keyring.open(source._ring.path, "correct horse").add(source.key_id)


class TestVaultSource(KeySourceSuite):
    @pytest.fixture
    def source(self, vault: VaultServer, tmp_path: Path) -> KeySource:
        self.server = vault
        name = f"k-{uuid.uuid4()}"
        vault.root.secrets.transit.create_key(name)
        token = tmp_path / "token"
        token.write_text("root\n")
        return VaultSource(VaultAddress(vault.url), name, TokenFile(token))

    def rotate(self, source: KeySource) -> None:
        self.server.root.secrets.transit.rotate_key(source.key_id)


class TestAwsKmsSource(KeySourceSuite):
    @pytest.fixture
    def source(self, kms_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> KeySource:
        import boto3  # noqa: PLC0415  # optional: extra `aws`

        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", kms_endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-this-test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-this-test")
        made = boto3.client("kms", region_name="us-east-1").create_key()
        return AwsKmsSource(made["KeyMetadata"]["KeyId"], "us-east-1")

    def rotate(self, source: KeySource) -> None:
        assert isinstance(source, AwsKmsSource)
        source._client.rotate_key_on_demand(KeyId=source.key_id)
