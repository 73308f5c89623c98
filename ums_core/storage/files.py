"""Files that take the place of others, for good."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ums_core.errors import DatabaseBusy, DirectoryNotWritable, DiskFull, StorageError

__all__ = [
    "copy_path",
    "has_content",
    "prepare_directory",
    "refusals",
    "replace_durably",
    "stamps",
    "swept",
    "sync_directory",
    "temporary",
]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}


def prepare_directory(path: Path) -> None:
    """Create the directory of a database, private to its owner where it is new.

    Raises:
        DirectoryNotWritable: it cannot be created, is no directory, or cannot be written.
    """
    parent = path.parent
    try:
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DirectoryNotWritable(
            f"cannot create {parent} for the database: {error.strerror}; choose another AI_DATABASE__URL"
        ) from error
    if not os.access(parent, os.W_OK | os.X_OK):
        raise DirectoryNotWritable(
            f"{parent} is not writable; SQLite needs to create files beside {path.name}: "
            "change its permissions or choose another AI_DATABASE__URL"
        )
    if path.is_dir():
        raise DirectoryNotWritable(f"{path} is a directory; name a file in AI_DATABASE__URL, such as {path}/memory.db")


@contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Raise what a file system says about a file beside a database as this project's errors.

    Raises:
        DiskFull, DirectoryNotWritable, StorageError: by what it said.
    """
    try:
        yield
    except OSError as error:
        kind = DiskFull if error.errno in _FULL else DirectoryNotWritable if error.errno in _REFUSED else StorageError
        raise kind(
            f"{path} cannot be written: {error.strerror}; move away what is in its place, or make room"
        ) from error


def stamps(*paths: Path) -> list[tuple[int, int, int]]:
    """Inode, size in bytes and time of the last write in nanoseconds of each file that is there."""
    found = []
    for path in paths:
        with suppress(FileNotFoundError):
            status = path.stat()
            found.append((status.st_ino, status.st_size, status.st_mtime_ns))
    return found


def has_content(path: Path) -> bool:
    """Whether a file is there and not empty."""
    return any(size for _, size, _ in stamps(path))


def copy_path(path: Path) -> Path:
    """Where a file is copied to, before the copy takes its place."""
    return path.with_name(f".{path.name}.copy.tmp")


@contextmanager
def temporary(beside: Path) -> Iterator[Path]:
    """An empty file of one's own in the directory of another one, gone after the block unless it was moved.

    It is locked as long as the block runs: what nobody holds was left by a process that was killed.

    Raises:
        DatabaseBusy: somebody else is at it.
    """
    path = copy_path(beside)
    if not swept(beside):
        raise DatabaseBusy(f"{path} is being written by somebody else: retry when that is done")
    with refusals(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not path.exists():
            raise DatabaseBusy(f"{path} was taken for a left-over in the moment before it was locked: retry")
        yield path
    finally:
        _remove(path)
        os.close(descriptor)


def swept(beside: Path) -> bool:
    """Remove the copy of a file that a killed process left; False where somebody is at it.

    Raises:
        StorageError: it cannot be removed.
    """
    path = copy_path(beside)
    with refusals(path):
        if path.is_symlink():
            path.unlink()
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(path)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
    return True


def _remove(path: Path) -> None:
    for suffix in ("", "-journal", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def replace_durably(new: Path, old: Path) -> None:
    """Put a file in the place of another one at once, on the disk when this returns."""
    descriptor = os.open(new, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    new.replace(old)
    sync_directory(old.parent)


def sync_directory(directory: Path) -> None:
    """Have the names in a directory on the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
