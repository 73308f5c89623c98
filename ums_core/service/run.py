"""Runs the service under uvicorn: in this process, or in several workers on the one database."""

import os
import tempfile
from contextlib import ExitStack
from typing import Any

import uvicorn

from ums_core.service.app import create_app
from ums_core.service.metrics import MULTIPROCESS
from ums_core.settings import UnifiedSettings

__all__ = ["run"]

_APP = "ums_core.service.app:create_app"
_GRACE_S = 5.0
_KEEP_ALIVE_S = 15
_HEADER_BYTES = 16_384
_CONNECTIONS_FOR_EACH = 16


def run(settings: UnifiedSettings) -> None:
    """Serve until a signal ends it; requests that were accepted are finished.

    Several workers read their settings from the environment, so what was given otherwise must be there too.
    """
    own = settings.service
    options: dict[str, Any] = {
        "host": own.host,
        "port": own.port,
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "timeout_keep_alive": _KEEP_ALIVE_S,
        "timeout_graceful_shutdown": int(own.time_budget + _GRACE_S),
        "limit_concurrency": _CONNECTIONS_FOR_EACH * (own.max_in_flight + own.max_streams),
        "h11_max_incomplete_event_size": _HEADER_BYTES,
        "ws_max_size": own.max_body_bytes,
    }
    with ExitStack() as stack:
        if own.workers > 1 and settings.monitoring.enable_metrics and MULTIPROCESS not in os.environ:
            os.environ[MULTIPROCESS] = stack.enter_context(tempfile.TemporaryDirectory(prefix="ums-metrics-"))
            stack.callback(os.environ.pop, MULTIPROCESS, None)
        if own.workers > 1:
            uvicorn.run(_APP, factory=True, workers=own.workers, **options)
        else:
            uvicorn.run(create_app(settings), **options)
