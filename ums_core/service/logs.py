"""Log lines of the service: JSON with an allow-list of fields, so that nothing of a caller can get into one."""

import json
import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

__all__ = ["FIELDS", "JsonLines", "crash_of", "written"]

# All that a line may hold, beside time, level, logger and event. Ids and tenants come as keyed hashes.
FIELDS = ("request_id", "route", "method", "status", "ms", "tenant", "code", "items", "crash")

# Whose messages are constant sentences; of any other logger only that it spoke is told. Uvicorn's hold whole URLs, and
# are told without what it fills in, except where it says on which address it listens.
_OURS, _SERVER, _LISTENS = "ums_core", "uvicorn.error", "Uvicorn running on "


class JsonLines(logging.Formatter):
    """One JSON object a line, of the fields in ``FIELDS``."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; of an exception its class and where it was raised, never its message."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": _event(record),
        }
        line |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if record.exc_info and record.exc_info[0] is not None:
            line["crash"] = crash_of(record.exc_info[1])
        return json.dumps(line)


def _event(record: logging.LogRecord) -> str:
    sentence = str(record.msg)
    if record.name.startswith(_OURS) or (record.name == _SERVER and sentence.startswith(_LISTENS)):
        return record.getMessage()
    return sentence if record.name == _SERVER else "not shown"


def crash_of(error: BaseException | None) -> dict[str, object]:
    """The class of an error and the lines that led to it, without its message, which may hold what was sent."""
    frames = traceback.extract_tb(error.__traceback__) if error else []
    return {"class": type(error).__name__, "at": [f"{frame.filename}:{frame.lineno}" for frame in frames[-12:]]}


@contextmanager
def written(level: str) -> Iterator[None]:
    """Write the service's lines to stderr from a level on, for a ``with`` block.

    Uvicorn's own lines about requests, which would hold whole URLs, are not written meanwhile.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    ours, access = [logging.getLogger(name) for name in ("ums_core", "uvicorn")], logging.getLogger("uvicorn.access")
    before = [(logger, logger.handlers, logger.propagate, logger.level) for logger in ours]
    disabled, access.disabled = access.disabled, True
    for logger in ours:
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level.upper())
    try:
        yield
    finally:
        access.disabled = disabled
        for logger, handlers, propagate, former in before:
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(former)
