"""Files that take the place of others, for good."""

import os
from pathlib import Path

__all__ = ["replace_durably", "sync_directory"]


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
