"""Files that hold keys: made and read so that nobody else can look in or slip another one under."""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ums_core.errors import (
    DirectoryNotWritable,
    InvalidInput,
    KeyCorrupt,
    KeyFileUnsafe,
    KeyMissing,
    KeyUnavailable,
    StorageError,
)

__all__ = ["create", "destroy", "locked", "read", "replace"]

MAX_BYTES = 1 << 20


def read(path: Path) -> bytes:
    """The content of a file that belongs to this user and that nobody else may read or write.

    All is asked of the open file, so that nothing can be exchanged between the question and the reading.

    Raises:
        KeyMissing: there is no such file.
        KeyFileUnsafe: it is a link, no regular file, another user's, or open to the group or to others.
        KeyCorrupt: it is longer than 1 MiB.
        StorageError: it cannot be read.
    """
    try:
        # Not to wait for the other end, should it be a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise KeyMissing(
            f"there is no key file {path}; restore it from its backup, or make one: ums keys init"
        ) from error
    except OSError as error:
        if path.is_symlink():
            raise KeyFileUnsafe(f"the key file {path} is a symbolic link; name the file itself") from error
        raise StorageError(f"the key file {path} cannot be read: {error.strerror}") from error
    found = os.fstat(descriptor)
    if stat.S_ISDIR(found.st_mode):
        os.close(descriptor)
        raise KeyFileUnsafe(f"the key file {path} is a directory")
    with open(descriptor, "rb") as file:  # noqa: PTH123  # a descriptor, opened with its mode
        if not stat.S_ISREG(found.st_mode):
            raise KeyFileUnsafe(f"the key file {path} is no regular file")
        if found.st_uid != os.geteuid():
            raise KeyFileUnsafe(f"the key file {path} belongs to user {found.st_uid}, not to {os.geteuid()}: chown it")
        if found.st_mode & 0o077:
            raise KeyFileUnsafe(
                f"the key file {path} has mode {found.st_mode & 0o777:04o}, and must have 0600: chmod 600"
            )
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise KeyCorrupt(f"the key file {path} is longer than {MAX_BYTES} bytes, so it is none")
    return content


def create(path: Path, content: bytes) -> None:
    """Make a file that must not exist yet: complete and on the disk when this returns, or not there. Hold its lock.

    Raises:
        InvalidInput: it exists.
        StorageError: the file system refused.
    """
    with _written(path, content) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError as error:
            raise InvalidInput(f"{path} exists and is not overwritten; name another file, or move it away") from error


def replace(path: Path, content: bytes) -> None:
    """Put content in the place of a file, at once or not at all, on the disk when this returns. Hold its lock.

    Raises:
        StorageError: the file system refused; the old file stays.
    """
    with _written(path, content) as temporary:
        temporary.replace(path)


def destroy(path: Path) -> None:
    """Overwrite a file with zeros, and remove it and what killed writers left beside it. Hold its lock.

    A file system that copies on write, an SSD and a backup keep what they have.

    Raises:
        StorageError: the file system refused.
    """
    with _explained(path):
        for left in [path, *_left_over(path)]:
            with suppress(FileNotFoundError):
                descriptor = os.open(left, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    os.write(descriptor, bytes(os.fstat(descriptor).st_size))
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                left.unlink()
        _sync_directory(path)


@contextmanager
def locked(path: Path, wait_s: float = 10.0) -> Iterator[None]:
    """Hold the lock of a key file for a ``with`` block, against threads and processes alike.

    Raises:
        KeyUnavailable: somebody else held it for so many seconds.
        StorageError: the file system refused.
    """
    lock = FileLock(f"{path}.lock", timeout=wait_s, poll_interval=0.01, mode=0o600)
    try:
        with _explained(path):
            lock.acquire()
    except Timeout as error:
        raise KeyUnavailable(f"another process has held the lock of {path} for {wait_s:g} seconds; retry") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _written(path: Path, content: bytes) -> Iterator[Path]:
    """A temporary file with the content, on the disk; what the block does with it is on the disk after the block."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    with _explained(path):
        # The lock is held, so whoever wrote these was killed.
        for left in _left_over(path):
            left.unlink()
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:  # noqa: PTH123  # a descriptor, opened with its mode
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            yield temporary
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
        _sync_directory(path)


def _left_over(path: Path) -> list[Path]:
    return [left for left in path.parent.iterdir() if left.name.startswith(f".{path.name}.") and left.suffix == ".tmp"]


def _sync_directory(path: Path) -> None:
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (Timeout, StorageError):
        raise
    except PermissionError as error:
        raise DirectoryNotWritable(
            f"the key file {path} cannot be written: {error.strerror}; check its directory"
        ) from error
    except OSError as error:
        raise StorageError(f"the key file {path} cannot be written: {error.strerror}") from error
