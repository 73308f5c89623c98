"""Plain files, where an encrypted one may be asked for."""

from contextlib import closing
from pathlib import Path

from ums_core.errors import DatabaseNotEncrypted
from ums_core.storage import raw

__all__ = ["is_plain", "not_encrypted"]

_MAGIC = b"SQLite format 3\0"


def is_plain(path: Path) -> bool:
    """Whether a file begins as a plain SQLite database does."""
    with closing(raw.blocks(path, len(_MAGIC))) as begin:
        return next(begin, b"") == _MAGIC


def not_encrypted(path: Path) -> DatabaseNotEncrypted:
    """The error about a plain file where an encrypted one was asked for."""
    return DatabaseNotEncrypted(
        f"{path} is a plain database, and an encrypted one was asked for: encrypt it with `ums db encrypt`, or remove "
        "the AI_SECURITY__… settings; the file was left as it is"
    )
