"""What a driver's errors mean, as errors of this project."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from ums_core.errors import DatabaseBusy, DirectoryNotWritable, DiskFull, NotADatabase, StorageError, UMSError

__all__ = ["Told", "explain", "translated"]

Told: TypeAlias = Callable[[], UMSError | None]


def _nothing() -> None:
    return None


@contextmanager
def translated(path: Path, told: Told = _nothing) -> Iterator[None]:
    """Raise what a driver raises as this project's errors.

    Args:
        path: of the database, for the message.
        told: gives the error of a function of ours that SQL called: a driver says of it only that there was one.
    """
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in {"sqlite3", "sqlcipher3"}:
            raise
        raise explain(error, path, told) from error


_MEANINGS: tuple[tuple[str, type[StorageError], str], ...] = (
    ("disk is full", DiskFull, "free some space; everything acknowledged before is safe"),
    (
        "disk i/o error",
        DiskFull,
        "the disk refused a write: check its space, quota and health; acknowledged writes are safe",
    ),
    ("not a database", NotADatabase, "name another file in AI_DATABASE__URL, or restore a backup"),
    ("malformed", NotADatabase, "its pages are damaged: restore a backup"),
    ("database is locked", DatabaseBusy, "another process holds the write lock: retry, or end that process"),
    ("readonly", DirectoryNotWritable, "the file or its directory is read-only: change its permissions"),
    ("unable to open", DirectoryNotWritable, "check that the file and its directory can be read and written"),
)


def explain(error: Exception, path: Path, told: Told = _nothing) -> UMSError:
    """The error of this project that a driver's error stands for."""
    said = str(error)
    if "user-defined function" in said and (problem := told()) is not None:
        return problem
    for words, kind, remedy in _MEANINGS:
        if words in said.lower():
            return kind(f"{path}: {said}; {remedy}")
    return StorageError(f"{path}: {said}")
