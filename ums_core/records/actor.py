"""Who is at work, as the history of memories names them."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

from ums_core.errors import InvalidField
from ums_core.records.check import check_label

__all__ = ["acting_as", "actor"]

_MAX_CHARS = 200
_acting: ContextVar[str] = ContextVar("ums_actor")


@contextmanager
def acting_as(name: str) -> Iterator[None]:
    """Let ``name`` be who changes memories within a ``with`` block, in this thread or task and in what it awaits.

    Args:
        name: such as ``token:9f2c`` or ``nightly import``, at most 200 characters; no secret, for it is kept.

    Raises:
        InvalidField: no such name.
    """
    if len(check_label(name, "actor", InvalidField)) > _MAX_CHARS:
        raise InvalidField(f"an actor is named by at most {_MAX_CHARS} characters, got {len(name)}")
    token = _acting.set(name)
    try:
        yield
    finally:
        _acting.reset(token)


def actor() -> str:
    """Who is at work here; unless somebody said it, the program and its process id, such as ``ums:4711``."""
    return _acting.get("") or f"{_program(sys.argv[0] if sys.argv else '')}:{os.getpid()}"


@cache
def _program(started: str) -> str:
    path = Path(started)
    name = path.parent.name if path.name == "__main__.py" else path.name
    return name[: _MAX_CHARS // 2] if name.isprintable() and name not in {"", "-c", "-m"} else "python"
