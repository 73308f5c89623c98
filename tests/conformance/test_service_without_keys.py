"""A service whose key service is down when it starts: it stays up, says why it takes nothing, and recovers."""

import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from key_servers import VaultServer, unseal
from starlette.testclient import TestClient

from ums_core import UnifiedSettings, open_store
from ums_core.errors import KeyMissing, KeyUnavailable
from ums_core.service.app import create_app
from ums_core.service.tokens import Tenant, Tokens, tokens_path
from ums_core.settings.database import url_of

pytestmark = pytest.mark.needs_sqlcipher


def settings_in(directory: Path, vault: VaultServer, key: str) -> UnifiedSettings:
    token = directory / "token"
    token.write_text(vault.root.token)
    params = {"url": vault.url, "token_file": str(token), "ca_file": str(vault.ca_file)}
    security: dict[str, Any] = {
        "encrypt_at_rest": True,
        "kms_backend": "vault",
        "kms_key_id": key,
        "kms_params": params,
    }
    return UnifiedSettings.for_testing(database={"url": url_of(directory / "memory.db")}, security=security)


def test_it_stays_up_and_recovers_when_the_keys_are_back(tls_vault: VaultServer, tmp_path: Path) -> None:
    key = f"k-{uuid.uuid4()}"
    tls_vault.root.secrets.transit.create_key(key)
    settings = settings_in(tmp_path, tls_vault, key)
    open_store(settings).close()
    auth = {"X-API-Token": Tokens(tokens_path(settings.database.path)).create(Tenant("default"), ["admin"], env="test")}
    tls_vault.root.sys.seal()
    app = create_app(settings)
    try:
        with TestClient(app) as client:
            assert app.state.memory_store is None
            assert client.get("/health/live").status_code == 200
            for path in ("/health", "/health/ready"):
                answer = client.get(path)
                assert (answer.status_code, answer.json()["reasons"]) == (503, [KeyUnavailable.code])
            refused = client.post("/memory/add", headers=auth, json={"text": "a"})
            assert (refused.status_code, refused.json()["code"]) == (503, KeyUnavailable.code)
            assert refused.headers["Retry-After"]
            time.sleep(1.5)
            assert client.get("/health/ready").status_code == 503
            unseal(tls_vault)
            until = time.monotonic() + 60
            while client.get("/health/ready").status_code != 200:
                assert time.monotonic() < until
                time.sleep(0.1)
            assert app.state.memory_store is not None
            assert client.post("/memory/add", headers=auth, json={"text": "a"}).status_code == 200
    finally:
        unseal(tls_vault)


def test_it_ends_while_it_still_waits_and_what_does_not_pass_ends_it_at_once(
    tls_vault: VaultServer, tmp_path: Path
) -> None:
    key = f"k-{uuid.uuid4()}"
    tls_vault.root.secrets.transit.create_key(key)
    settings = settings_in(tmp_path, tls_vault, key)
    open_store(settings).close()
    tls_vault.root.sys.seal()
    try:
        with TestClient(create_app(settings)) as client:
            assert client.get("/health").status_code == 503
    finally:
        unseal(tls_vault)
    settings.database.path.with_name("memory.db.keys.json").unlink()
    with pytest.raises(KeyMissing), TestClient(create_app(settings)):
        pass
