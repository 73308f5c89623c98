"""Stores of every kind: on this device plain and sealed, behind a service, and both together."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from threading import Thread
from typing import Any, Protocol

import uvicorn

from ums_core import DualStore, LocalStore, MemoryStore, RemoteStore, UnifiedSettings, open_store
from ums_core.service.app import create_app
from ums_core.service.tokens import SCOPES, Tenant, Tokens, tokens_path
from ums_core.settings.database import url_of
from ums_core.testing.sealed import SEALED

__all__ = ["KINDS", "Services", "Stores"]

KINDS = ("plain", "sealed", "remote", "dual")
EVERYTHING = [scope for scope in SCOPES if scope != "admin"]


class Clock(Protocol):
    def __call__(self) -> datetime: ...


class Service:
    """A real service on a free port of the loopback interface; every tenant has a database of its own."""

    def __init__(self, directory: Path, model: dict[str, object]) -> None:
        settings = UnifiedSettings.for_testing(
            database={"url": url_of(directory / "memory.db")}, model=model, service={"rate_limit": "999999/minute"}
        )
        self._tokens = Tokens(tokens_path(settings.database.path))
        self._socket = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(create_app(settings), log_config=None, access_log=False, ws="none")
        self._server = uvicorn.Server(config)
        self._thread = Thread(target=self._server.run, args=([self._socket],), daemon=True)
        self._thread.start()
        self._made = 0

    def new_store(self) -> RemoteStore:
        """A client of a tenant that has nothing yet."""
        self._made += 1
        token = self._tokens.create(Tenant(f"tenant{self._made}"), EVERYTHING, env="test")
        return RemoteStore(f"http://127.0.0.1:{self._socket.getsockname()[1]}", token)

    def stop(self) -> None:
        """End it."""
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


class Services:
    """Services by their models, started when first asked for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._held: dict[str, Service] = {}

    def of(self, model: dict[str, object]) -> Service:
        """The service with this model."""
        name = repr(sorted(model.items()))
        if name not in self._held:
            self._held[name] = Service(self._directory / str(len(self._held)), model)
        return self._held[name]

    def stop(self) -> None:
        """End them all."""
        for service in self._held.values():
            service.stop()


class Stores:
    """Makes empty stores of one kind, and closes them."""

    def __init__(self, kind: str, services: Services) -> None:
        self._kind = kind
        self._services = services
        self._opened = ExitStack()

    def __call__(self, *, clock: Clock | None = None, **model: object) -> MemoryStore:
        """A new store; the clock is that of its part on this device."""
        settings = UnifiedSettings.for_testing(model=model, **({"security": SEALED} if self._kind == "sealed" else {}))
        local: dict[str, Any] = {} if clock is None else {"clock": clock}
        if self._kind == "remote":
            return self._opened.enter_context(self._services.of(model).new_store())
        store: LocalStore = self._opened.enter_context(open_store(settings, **local))
        if self._kind != "dual":
            return store
        return DualStore(store, self._opened.enter_context(self._services.of(model).new_store()))

    def close(self) -> None:
        """Close what was made."""
        self._opened.close()


def services_in(directory: Path) -> Iterator[Services]:
    """Services that end with the tests."""
    services = Services(directory)
    yield services
    services.stop()
