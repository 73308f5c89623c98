"""What only a real OpenBao shows: rights, logins, versions, seals, certificates."""

import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from key_servers import VaultServer, free_port, unseal

from ums_core import Draft, UnifiedSettings, open_store
from ums_core.crypto import Envelope
from ums_core.crypto.vault import AppRole, TokenFile, VaultAddress, VaultSource
from ums_core.errors import KeyCorrupt, KeyDenied, KeyMissing, KeyUnavailable, SettingsError
from ums_core.ports import Context
from ums_core.settings.database import url_of

CONTEXT: Context = {"app": "ums", "database": "ab" * 16, "purpose": "dek:0123456789abcdef"}
POLICY = """
path "transit/datakey/plaintext/{key}" {{ capabilities = ["update"] }}
path "transit/decrypt/{key}" {{ capabilities = ["update"] }}
path "transit/rewrap/{key}" {{ capabilities = ["update"] }}
"""


@pytest.fixture
def key(vault: VaultServer) -> str:
    name = f"k-{uuid.uuid4()}"
    vault.root.secrets.transit.create_key(name)
    vault.root.sys.create_or_update_policy(name, POLICY.format(key=name))
    return name


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / f"secret-{uuid.uuid4()}"
    path.write_text(text)
    return path


def source(vault: VaultServer, key: str, token: Path) -> VaultSource:
    return VaultSource(VaultAddress(vault.url, ca_file=vault.ca_file), key, TokenFile(token))


def token_of(vault: VaultServer, policy: str, ttl: str = "1h") -> str:
    token: str = vault.root.auth.token.create(policies=[policy], ttl=ttl)["auth"]["client_token"]
    return token


def test_three_rights_are_enough_for_a_database_and_its_rotation(vault: VaultServer, key: str, tmp_path: Path) -> None:
    keys = source(vault, key, file(tmp_path, token_of(vault, key)))
    path = tmp_path / "memory.db.keys.json"
    envelope = Envelope.create(path, keys)
    envelope.begin()
    envelope.promote()
    vault.root.secrets.transit.rotate_key(key)
    assert envelope.rewrap() == 2
    assert envelope.rewrap() == 0
    # Everything is under the new version, so the old one can go.
    vault.root.secrets.transit.update_key_configuration(key, min_decryption_version=2)
    again = Envelope.open(path, source(vault, key, file(tmp_path, token_of(vault, key))))
    assert again.active.secret == envelope.active.secret
    assert len(again.retired) == 1
    assert again.status().source.version == "2"


def test_a_version_below_the_minimum_is_denied(vault: VaultServer, key: str, tmp_path: Path) -> None:
    keys = source(vault, key, file(tmp_path, "root"))
    _, wrapped = keys.generate(CONTEXT)
    vault.root.secrets.transit.rotate_key(key)
    vault.root.secrets.transit.update_key_configuration(key, min_decryption_version=2)
    with pytest.raises(KeyDenied, match="min_decryption_version"):
        keys.unwrap(wrapped, CONTEXT)


def test_a_deleted_key_opens_nothing_any_more(vault: VaultServer, key: str, tmp_path: Path) -> None:
    keys = source(vault, key, file(tmp_path, "root"))
    _, wrapped = keys.generate(CONTEXT)
    vault.root.secrets.transit.update_key_configuration(key, deletion_allowed=True)
    vault.root.secrets.transit.delete_key(key)
    with pytest.raises(KeyMissing, match="no such key"):
        keys.unwrap(wrapped, CONTEXT)
    status = keys.describe()
    assert (status.reachable, status.version) == (False, "")
    assert "no such key" in status.detail[0]


def test_an_engine_that_is_not_there_is_missing(vault: VaultServer, key: str, tmp_path: Path) -> None:
    keys = VaultSource(VaultAddress(vault.url, mount="elsewhere"), key, TokenFile(file(tmp_path, "root")))
    with pytest.raises(KeyMissing, match="no engine at 'elsewhere'"):
        keys.generate(CONTEXT)


def test_another_key_than_the_one_that_wrapped_is_noticed(vault: VaultServer, key: str, tmp_path: Path) -> None:
    _, wrapped = source(vault, key, file(tmp_path, "root")).generate(CONTEXT)
    other = f"k-{uuid.uuid4()}"
    vault.root.secrets.transit.create_key(other)
    with pytest.raises(KeyCorrupt, match="not what was written"):
        source(vault, other, file(tmp_path, "root")).unwrap(wrapped, CONTEXT)


def test_a_token_without_the_right_is_denied_and_not_repeated(vault: VaultServer, key: str, tmp_path: Path) -> None:
    token = token_of(vault, "default")
    keys = source(vault, key, file(tmp_path, token))
    with pytest.raises(KeyDenied, match="needs 'update'") as caught:
        keys.generate(CONTEXT)
    assert token not in str(caught.value)
    assert not keys.describe().reachable


def test_a_renewed_token_file_is_read_again(vault: VaultServer, key: str, tmp_path: Path) -> None:
    token = file(tmp_path, token_of(vault, key))
    keys = source(vault, key, token)
    _, wrapped = keys.generate(CONTEXT)
    vault.root.auth.token.revoke(token.read_text())
    token.write_text(token_of(vault, key))
    assert len(keys.unwrap(wrapped, CONTEXT)) == 32


def test_a_token_file_that_is_missing_is_said(vault: VaultServer, key: str, tmp_path: Path) -> None:
    with pytest.raises(KeyMissing, match="the file of the Vault token"):
        source(vault, key, tmp_path / "none").generate(CONTEXT)


def _role(vault: VaultServer, key: str, **more: object) -> tuple[str, str]:
    vault.root.auth.approle.create_or_update_approle(key, token_policies=[key], **more)
    role_id = vault.root.auth.approle.read_role_id(key)["data"]["role_id"]
    secret_id = vault.root.auth.approle.generate_secret_id(key)["data"]["secret_id"]
    return role_id, secret_id


def test_a_role_logs_in_and_again_when_its_token_expired(vault: VaultServer, key: str, tmp_path: Path) -> None:
    brief = {"token_ttl": "1s", "token_max_ttl": "1s"}
    role_id, secret_id = _role(vault, key, **brief)
    keys = VaultSource(VaultAddress(vault.url), key, AppRole(role_id, file(tmp_path, f"{secret_id}\n")))
    data_key, wrapped = keys.generate(CONTEXT)
    former = keys._client.token
    time.sleep(1.5)
    assert keys.unwrap(wrapped, CONTEXT) == data_key
    assert keys._client.token != former


def test_a_spent_secret_is_denied(vault: VaultServer, key: str, tmp_path: Path) -> None:
    role_id, secret_id = _role(vault, key, secret_id_num_uses=1)
    login = AppRole(role_id, file(tmp_path, secret_id))
    VaultSource(VaultAddress(vault.url), key, login).generate(CONTEXT)
    with pytest.raises(KeyDenied, match="login was refused") as caught:
        VaultSource(VaultAddress(vault.url), key, login).generate(CONTEXT)
    assert secret_id not in str(caught.value)


# A server as in production


def test_a_sealed_vault_is_unavailable_and_the_open_envelope_goes_on(tls_vault: VaultServer, tmp_path: Path) -> None:
    name = f"k-{uuid.uuid4()}"
    tls_vault.root.secrets.transit.create_key(name)
    token = file(tmp_path, tls_vault.root.token)
    keys = source(tls_vault, name, token)
    path = tmp_path / "memory.db.keys.json"
    envelope = Envelope.create(path, keys)
    tls_vault.root.sys.seal()
    try:
        with pytest.raises(KeyUnavailable, match="is it sealed") as caught:
            Envelope.open(path, source(tls_vault, name, token))
        assert caught.value.retry_after_s > 0
        assert len(envelope.active.derive("pages")) == 32
        envelope.reload()
        assert not envelope.status().source.reachable
        with pytest.raises(KeyUnavailable):
            envelope.begin()
        assert envelope.pending is None
    finally:
        unseal(tls_vault)
    assert Envelope.open(path, source(tls_vault, name, token)).active.secret == envelope.active.secret


@pytest.mark.needs_sqlcipher
def test_a_store_stays_shut_while_its_vault_is_sealed(tls_vault: VaultServer, tmp_path: Path) -> None:
    name = f"k-{uuid.uuid4()}"
    tls_vault.root.secrets.transit.create_key(name)
    params = {"url": tls_vault.url, "ca_file": str(tls_vault.ca_file), "token_file": str(tmp_path / "token")}
    (tmp_path / "token").write_text(tls_vault.root.token)
    settings = UnifiedSettings.for_testing(
        database={"url": url_of(tmp_path / "memory.db"), "backend": "exact"},
        model={"embedder": "hashing:16", "vector_dim": 16},
        security={"encrypt_at_rest": True, "kms_backend": "vault", "kms_key_id": name, "kms_params": params},
    )
    with open_store(settings) as store:
        store.add([Draft(id="a", text="the zebra crosses at dawn")])
        tls_vault.root.sys.seal()
        try:
            assert store.get(["a"])[0] is not None
            store.add([Draft(id="b", text="another one")])
            assert any("is it sealed" in line for line in store.health().detail)
            with pytest.raises(KeyUnavailable):
                store.rotate()
            with pytest.raises(KeyUnavailable):
                open_store(settings)
        finally:
            unseal(tls_vault)
    with open_store(settings) as store:
        assert store.count() == 2


def test_a_certificate_that_is_not_trusted_is_denied(tls_vault: VaultServer, tmp_path: Path) -> None:
    keys = VaultSource(VaultAddress(tls_vault.url), "k", TokenFile(file(tmp_path, tls_vault.root.token)))
    with pytest.raises(KeyDenied, match="certificate is not trusted"):
        keys.generate(CONTEXT)


# No server, or another one


def test_a_vault_that_is_down_is_unavailable_after_a_few_tries(tmp_path: Path) -> None:
    keys = VaultSource(VaultAddress(f"http://127.0.0.1:{free_port()}"), "k", TokenFile(file(tmp_path, "t")))
    with pytest.raises(KeyUnavailable, match="no answer"):
        keys.generate(CONTEXT)
    assert not keys.describe().reachable
    keys.close()


def test_a_vault_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        status = VaultSource(VaultAddress(url), "k", TokenFile(file(tmp_path, "t"))).describe()
    assert not status.reachable
    assert "Timeout" in status.detail[0]


@contextmanager
def stranger(status: int, body: bytes) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body"), [(200, b"hello"), (307, b""), (500, b"{}"), (429, b"{}"), (503, b'{"errors": ["x"]}')]
)
def test_a_server_that_is_no_vault_is_unavailable_and_not_followed(tmp_path: Path, status: int, body: bytes) -> None:
    with stranger(status, body) as url:
        keys = VaultSource(VaultAddress(url), "k", TokenFile(file(tmp_path, "t")))
        with pytest.raises(KeyUnavailable):
            keys.generate(CONTEXT)
        keys.close()


@pytest.mark.parametrize(
    "url",
    [
        "vault.example.org",
        "ftp://127.0.0.1",
        "https://user:word@vault.example.org",
        "https://vault.example.org?token=x",
        "https://",
        "http://vault.example.org:8200",
        "http://10.0.0.1:8200",
    ],
)
def test_an_address_that_would_leak_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="url of Vault"):
        VaultAddress(url)


@pytest.mark.parametrize("url", ["http://localhost:8200", "http://[::1]:8200", "https://vault.example.org"])
def test_http_is_for_this_machine_alone(url: str) -> None:
    assert VaultAddress(url).url == url


def test_a_key_name_is_no_path(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="named by letters"):
        VaultSource(VaultAddress("https://vault.example.org"), "../sys/seal", TokenFile(tmp_path))
