"""What a driver's errors mean, as errors of this project."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ums_core.errors import DatabaseBusy, DirectoryNotWritable, DiskFull, NotADatabase, StorageError

__all__ = ["explain", "translated"]


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise what a driver raises as this project's errors."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in {"sqlite3", "sqlcipher3"}:
            raise
        raise explain(error, path) from error


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


def explain(error: Exception, path: Path) -> StorageError:
    """The error of this project that a driver's error stands for."""
    said = str(error)
    for words, kind, remedy in _MEANINGS:
        if words in said.lower():
            return kind(f"{path}: {said}; {remedy}")
    return StorageError(f"{path}: {said}")
