"""Bytes of files that SQLite may have open.

POSIX drops every lock that a process has on a file as soon as the process closes any descriptor of it, whoever opened
that one; another process then takes itself for the last one, and removes the log in which this one goes on writing.
So what is read here is not closed while this process has the database open. Source: SQLite, "How To Corrupt An SQLite
Database File", section 2.2.
"""

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["blocks", "hold", "opened"]

_LOG_FILES = ("-wal", "-shm", "-journal")


@dataclass(slots=True)
class _Held:
    """A database that this process has open, so many times, and descriptors of its files that are to stay open."""

    times: int = 0
    spare: list[int] = field(default_factory=list)


# Locks belong to the process as a whole, and so does what must not be closed.
_held: dict[Path, _Held] = {}
_guard = threading.Lock()
# Databases that somebody let go of, until it is taken up: that may be said at any moment, by the garbage collector.
_gone: deque[Path] = deque()


def hold(owner: object, path: Path) -> Callable[[], object]:
    """Keep the locks on a database for an owner, until what this returns is called, or the owner is no more."""
    base = path.resolve()
    with _guard:
        _take_up()
        _held.setdefault(base, _Held()).times += 1
    return weakref.finalize(owner, _let_go, base)


@contextmanager
def opened(path: Path) -> Generator[int, None, None]:
    """A descriptor of a file, to read from in a ``with`` block; any thread may, at an offset that it names.

    Raises:
        FileNotFoundError: it is gone.
    """
    descriptor = _opened(path)
    try:
        yield descriptor
    finally:
        _done(path, descriptor)


def blocks(path: Path, size: int) -> Generator[bytes, None, None]:
    """A file in blocks of so many bytes, the last one shorter; nothing where it is gone."""
    with suppress(FileNotFoundError), opened(path) as descriptor:
        at = 0
        while block := os.pread(descriptor, size, at):
            yield block
            at += len(block)


def _opened(path: Path) -> int:
    """A descriptor of the file: one that was kept, or a new one."""
    now, base = path.stat(), _base(path)
    with _guard:
        _take_up()
        spare = _held.get(base, _Held()).spare
        for descriptor in spare:
            kept = os.fstat(descriptor)
            if (kept.st_dev, kept.st_ino) == (now.st_dev, now.st_ino):
                spare.remove(descriptor)
                return descriptor
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _done(path: Path, descriptor: int) -> None:
    base = _base(path)
    with _guard:
        _take_up()
        held = _held.get(base)
        # What has lost its name is opened by nobody any more.
        if held is not None and os.fstat(descriptor).st_nlink:
            held.spare.append(descriptor)
            return
        os.close(descriptor)


def _let_go(base: Path) -> None:
    _gone.append(base)
    # Whoever has the lock may be this very thread, in which an owner was collected; the next one takes it up.
    if _guard.acquire(blocking=False):
        try:
            _take_up()
        finally:
            _guard.release()


def _take_up() -> None:
    while _gone:
        base = _gone.popleft()
        held = _held[base]
        held.times -= 1
        if not held.times:
            del _held[base]
            for descriptor in held.spare:
                os.close(descriptor)


def _base(path: Path) -> Path:
    """The database that a file belongs to."""
    path = path.resolve()
    suffix = next((suffix for suffix in _LOG_FILES if path.name.endswith(suffix)), "")
    return path.with_name(path.name.removesuffix(suffix))
