"""A service with its tokens, in this process or on a port of its own."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
import uvicorn
from starlette.testclient import TestClient

from ums_core import UnifiedSettings
from ums_core.service.app import create_app
from ums_core.service.run import Guarded
from ums_core.service.tokens import SCOPES, Tenant, Tokens, tokens_path
from ums_core.settings.database import url_of

DIM = 16
EVERYTHING = [scope for scope in SCOPES if scope != "admin"]


@dataclass(frozen=True)
class Served:
    """A service that answers.

    Attributes:
        client: sends requests.
        tokens: its registry.
        settings: its settings.
    """

    client: TestClient
    tokens: Tokens
    settings: UnifiedSettings

    def auth(self, tenant: str = "acme", *scopes: str) -> dict[str, str]:
        """The header fields of somebody who may do what the scopes say, or everything."""
        token = self.tokens.create(Tenant(tenant), scopes or EVERYTHING, env="test")
        return {"Authorization": f"Bearer {token}"}


class Serve(Protocol):
    def __call__(self, **groups: object) -> Served: ...


def settings_in(directory: Path, **groups: object) -> UnifiedSettings:
    values: dict[str, Any] = {
        "database": {"url": url_of(directory / "memory.db")},
        "model": {"vector_dim": DIM},
        "monitoring": {"enable_metrics": True},
    }
    return UnifiedSettings.for_testing(**(values | groups))


@contextmanager
def listening(settings: UnifiedSettings, protocol: type[Guarded] = Guarded) -> Iterator[str]:
    """A server on a port of its own, in a thread of this process; gives its address."""
    server = uvicorn.Server(
        uvicorn.Config(create_app(settings), http=protocol, port=0, log_config=None, timeout_graceful_shutdown=5)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(**groups: object) -> Served:
            settings = settings_in(tmp_path, **groups)
            client = stack.enter_context(TestClient(create_app(settings), raise_server_exceptions=False))
            return Served(client, Tokens(tokens_path(settings.database.path)), settings)

        yield start


@pytest.fixture
def served(serve: Serve) -> Served:
    return serve()
