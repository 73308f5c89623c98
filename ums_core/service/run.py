"""Runs the service under uvicorn: in this process, or in several workers on the one database."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from threading import Thread
from time import sleep
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ums_core.errors import RemoteError
from ums_core.service.app import create_app
from ums_core.service.metrics import MULTIPROCESS
from ums_core.service.patience import Patience
from ums_core.settings import UnifiedSettings

__all__ = ["Guarded", "run", "running"]

_APP = "ums_core.service.app:create_app"
_GRACE_S = 5.0
_KEEP_ALIVE_S = 15
_CONNECTIONS_FOR_EACH = 16
_HERE = "127.0.0.1"
_LOOK_S = 0.01


class Guarded(Patience, HttpToolsProtocol):
    """HTTP as uvicorn speaks it, with an end to its patience."""


def run(settings: UnifiedSettings) -> None:
    """Serve until a signal ends it; requests that were accepted are finished.

    Several workers read their settings from the environment, so what was given otherwise must be there too.
    """
    own = settings.service
    options = _options(settings)
    with ExitStack() as stack:
        if own.workers > 1 and settings.monitoring.enable_metrics and MULTIPROCESS not in os.environ:
            os.environ[MULTIPROCESS] = stack.enter_context(tempfile.TemporaryDirectory(prefix="ums-metrics-"))
            stack.callback(os.environ.pop, MULTIPROCESS, None)
        if own.workers > 1:
            uvicorn.run(_APP, factory=True, workers=own.workers, **options)
        else:
            uvicorn.run(create_app(settings), **options)


@contextmanager
def running(settings: UnifiedSettings) -> Iterator[str]:
    """The address of a service that runs in a thread of this process for a ``with`` block, on this machine alone.

    It takes a free port, whatever the settings say.

    Raises:
        RemoteError: it could not start.
    """
    server = uvicorn.Server(uvicorn.Config(create_app(settings), **_options(settings) | {"host": _HERE, "port": 0}))

    def serve() -> None:
        # A start that failed ends the process where the service is one; here it is told below.
        with suppress(SystemExit):
            server.run()

    thread = Thread(target=serve, name="ums-service")
    thread.start()
    try:
        while not server.started and thread.is_alive():
            sleep(_LOOK_S)
        if not server.started:
            raise RemoteError("the service did not start; its log says why")
        yield f"http://{_HERE}:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def _options(settings: UnifiedSettings) -> dict[str, Any]:
    own = settings.service
    return {
        "host": own.host,
        "port": own.port,
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "http": Guarded,
        "timeout_keep_alive": _KEEP_ALIVE_S,
        "timeout_graceful_shutdown": int(own.time_budget + _GRACE_S),
        "limit_concurrency": _CONNECTIONS_FOR_EACH * (own.max_in_flight + own.max_streams),
        # What is somewhat too large is answered; beyond that the connection is closed.
        "ws_max_size": 2 * own.max_body_bytes,
        "ssl_certfile": own.tls_certificate or None,
        "ssl_keyfile": own.tls_key or None,
    }
