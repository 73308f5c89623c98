"""Sealed files as those who write and read them see them: bytes in, bytes out, and nothing that could not be proved."""

from collections.abc import Iterator, Mapping
from typing import BinaryIO, Protocol, TypeAlias

__all__ = ["FileSeal", "Header", "SealedReader", "SealedWriter"]

# Strings, numbers, booleans, None, and lists and mappings of them. It stays readable, but cannot be changed.
Header: TypeAlias = Mapping[str, object]


class SealedWriter(Protocol):
    """Takes the content of one file in pieces of any size."""

    def write(self, data: "bytes | bytearray | memoryview", /) -> int:
        """Take the next piece, and return its number of bytes."""
        ...

    def close(self) -> None:
        """Write what is left and the mark of the end, without which the file cannot be read. It is not synced."""
        ...


class SealedReader(Protocol):
    """Gives the content of one file, each chunk proved before it is given."""

    @property
    def header(self) -> Header:
        """What was written beside the content, proved."""
        ...

    def chunks(self) -> Iterator[bytes]:
        """The rest of the content, in pieces of at most 1 MiB.

        Raises:
            SealBroken: the next chunk is not what was written; a cut shows only at the end.
        """
        ...

    def readinto(self, buffer: "bytearray | memoryview", /) -> int:
        """Fill the buffer with the next bytes, and return how many; fewer than it holds only at the end.

        Raises:
            SealBroken: as ``chunks``.
        """
        ...


class FileSeal(Protocol):
    """Seals files of one database."""

    def writer(self, file: BinaryIO, header: Header) -> SealedWriter:
        """Write a sealed file from where the file stands; closing the file is the caller's."""
        ...

    def reader(self, file: BinaryIO) -> SealedReader:
        """Read a sealed file from where the file stands.

        Raises:
            SealBroken: it is not a sealed file of this database, or its beginning was changed.
        """
        ...
