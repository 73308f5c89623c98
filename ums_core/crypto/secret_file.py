"""Secrets that a setting names by file: a token, a passphrase."""

from pathlib import Path

from ums_core.errors import InvalidKey, KeyMissing, StorageError

__all__ = ["read_secret"]

_MAX_BYTES = 64 * 1024


def read_secret(path: Path, what: str) -> str:
    """The text of a file, without the end of its last line; ``/dev/fd/3`` reads a file descriptor.

    Its permissions are the business of whoever puts it there, such as an orchestrator.

    Raises:
        KeyMissing: there is no such file.
        InvalidKey: it is empty, longer than 64 KiB, or not UTF-8. The message does not repeat it.
        StorageError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise KeyMissing(f"the file of {what}, {path}, does not exist") from error
    except OSError as error:
        raise StorageError(f"the file of {what}, {path}, cannot be read: {error.strerror}") from error
    try:
        text = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise InvalidKey(f"the file of {what}, {path}, is not UTF-8") from None
    if not text or len(content) > _MAX_BYTES:
        raise InvalidKey(f"the file of {what}, {path}, is {'too long' if text else 'empty'}")
    return text
