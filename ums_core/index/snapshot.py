r"""The file that an index is saved in: checked as a whole before anything reads it, replaced at once or not at all.

::

    magic       b"UMSINDEX1\n"
    length      of the header, 8 bytes, little endian
    header      JSON: what the index says about itself, the sections with their sizes, a digest of each chunk
    digest      SHA-256 of all of the above
    payload     the sections, one after the other; the chunks of 4 MiB run across them

Where the database is sealed, magic and digests give way to a sealed file, whose header is the same but for them; then
no vector is ever on the disk as it is, not even while the file is written.

A flipped bit, a cut, another database, another embedder: each gives None, and the index is rebuilt from storage.
"""

import errno
import fcntl
import glob
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt

from ums_core.errors import DirectoryNotWritable, DiskFull, SealBroken, StorageError
from ums_core.ports.sealing import FileSeal

__all__ = ["NOWHERE", "Home", "Section", "Sink", "Snapshot", "read", "section", "write"]

Bytes: TypeAlias = npt.NDArray[np.uint8]
Sink: TypeAlias = Callable[[bytes | memoryview], object]

_MAGIC = b"UMSINDEX1\n"
_PREFIX = len(_MAGIC) + 8
_DIGEST = 32
_CHUNK = 4 << 20
_READ = 512 << 10
_ALIGN = 64
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}


@dataclass(frozen=True, slots=True)
class Home:
    """Where an index is saved.

    Attributes:
        path: its snapshot; None for nowhere.
        binding: what a snapshot belongs to, such as the database and the embedder; another one is not loaded.
        seal: seals the snapshot and opens it; None leaves it readable. One kind is never loaded as the other.
    """

    path: Path | None = None
    binding: Mapping[str, str] | None = None
    seal: FileSeal | None = None


NOWHERE = Home()


@dataclass(frozen=True, slots=True)
class Section:
    """A named part of the payload.

    Attributes:
        name: unique in its snapshot.
        size: bytes.
        write: gives exactly that many bytes to a sink, in any number of pieces.
    """

    name: str
    size: int
    write: Callable[[Sink], object]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot whose every byte was checked.

    Attributes:
        header: as written.
        sections: bytes by name, views of one buffer; the last one ends on a multiple of 64 bytes.
    """

    header: Mapping[str, Any]
    sections: Mapping[str, Bytes]

    @property
    def reached(self) -> tuple[int, int]:
        """Seq and mark of the last change that the index had taken up."""
        return int(self.header["seq"]), int(self.header["mark"])

    def array(self, name: str, dtype: npt.DTypeLike, *columns: int) -> npt.NDArray[Any]:
        """A section as an array of as many rows as it holds; copied only where it stands unaligned.

        Raises:
            ValueError: the size of the section is not a whole number of rows.
            KeyError: there is no such section.
        """
        return np.require(self.sections[name].view(dtype).reshape(-1, *columns), requirements="A")


def section(name: str, pieces: Sequence[npt.NDArray[Any]] | Iterator[npt.NDArray[Any]], size: int) -> Section:
    """A section out of arrays, which are made as they are written."""

    def put(sink: Sink) -> None:
        for piece in pieces:
            sink(np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data)

    return Section(name, size, put)


def write(path: Path, header: Mapping[str, Any], sections: Sequence[Section], seal: FileSeal | None = None) -> None:
    """Put a snapshot in the place of the file, mode 0600; on an error the old file stays.

    Costs one pass over the payload for SHA-256 or AES-256-GCM, about 1.5 GB/s, and no second copy of it in memory.

    Raises:
        DiskFull, DirectoryNotWritable, StorageError: the file system refused.
    """
    try:
        _remove_stale(path)
        with _replacing(path) as file:
            if seal is None:
                _stream(file, header, sections)
            else:
                _stream_sealed(file, header, sections, seal)
    except OSError as error:
        raise _refusal(error, path) from error


def read(path: Path, expected: Mapping[str, Any], seal: FileSeal | None = None) -> Snapshot | None:
    """The snapshot, or None where there is none whose every byte is right and whose header has the expected values.

    Two threads check it: a plain payload half a MiB at a time, which stays in the cache, a sealed one by chunks. It is
    given to nobody before its last byte was proved.
    """
    _remove_stale(path)
    try:
        if not path.is_file():
            # A pipe would be waited for.
            return None
        with path.open("rb", buffering=0) as file:
            if seal is not None:
                return _read_sealed(file, expected, seal)
            size = os.fstat(file.fileno()).st_size
            header, start = _header(file, size)
            if any(header[key] != value for key, value in expected.items()):
                return None
            payload = _payload(file.fileno(), start, size - start, header["digests"])
            return Snapshot(header, _cut(payload, header["sections"]))
    except (OSError, ValueError, KeyError, TypeError, SealBroken):
        return None


def _read_sealed(file: BinaryIO, expected: Mapping[str, Any], seal: FileSeal) -> Snapshot | None:
    reader = seal.reader(file)
    header: Mapping[str, Any] = reader.header
    if any(header[key] != value for key, value in expected.items()):
        return None
    payload = _room(sum(size for _, size in header["sections"]))
    # One byte more than there may be, so that the reader comes to the end and proves that there is no more.
    if reader.readinto(payload.data) != len(payload) or reader.readinto(bytearray(1)):
        raise ValueError("the sections do not fill the payload")
    return Snapshot(header, _cut(payload, header["sections"]))


def _stream_sealed(file: BinaryIO, header: Mapping[str, Any], sections: Sequence[Section], seal: FileSeal) -> None:
    writer = seal.writer(file, dict(header) | {"sections": [[part.name, part.size] for part in sections]})
    written = 0

    def count(data: bytes | memoryview) -> None:
        nonlocal written
        written += writer.write(data)

    for part in sections:
        part.write(count)
    if written != (size := sum(part.size for part in sections)):
        raise ValueError(f"sections of {size} bytes were announced, {written} were written")
    writer.close()


def _stream(file: BinaryIO, header: Mapping[str, Any], sections: Sequence[Section]) -> None:
    """Write room for the header, the payload, and then the header with the digests found on the way."""
    size = sum(part.size for part in sections)
    layout = dict(header) | {"sections": [[part.name, part.size] for part in sections]}
    blank = _framed(layout | {"digests": ["0" * 2 * _DIGEST] * -(-size // _CHUNK)})
    file.write(blank)
    digests = _Digests(file)
    for part in sections:
        part.write(digests)
    framed = _framed(layout | {"digests": digests.close()})
    if len(framed) != len(blank) or file.tell() != len(blank) + size:
        raise ValueError(f"sections of {size} bytes were announced, {file.tell() - len(blank)} were written")
    file.seek(0)
    file.write(framed)


def _framed(header: Mapping[str, Any]) -> bytes:
    text = json.dumps(header, separators=(",", ":")).encode()
    head = _MAGIC + len(text).to_bytes(8, "little") + text
    return head + hashlib.sha256(head).digest()


class _Digests:
    """A sink that writes to a file and hashes chunk by chunk."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._done = file, list[str]()
        self._hash, self._room = hashlib.sha256(), _CHUNK

    def __call__(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            part, view = view[: self._room], view[self._room :]
            self._hash.update(part)
            self._file.write(part)
            self._room -= len(part)
            if not self._room:
                self._done.append(self._hash.hexdigest())
                self._hash, self._room = hashlib.sha256(), _CHUNK

    def close(self) -> list[str]:
        """The digests of all chunks, the last of which may be short."""
        return self._done if self._room == _CHUNK else [*self._done, self._hash.hexdigest()]


def _header(file: BinaryIO, size: int) -> tuple[Mapping[str, Any], int]:
    """The header and the offset of the payload.

    Raises:
        ValueError: it is not one, or not as it was written.
    """
    prefix = file.read(_PREFIX)
    length = int.from_bytes(prefix[len(_MAGIC) :], "little")
    if prefix[: len(_MAGIC)] != _MAGIC or length > size:
        raise ValueError("not a snapshot")
    text, digest = file.read(length), file.read(_DIGEST)
    if hashlib.sha256(prefix + text).digest() != digest:
        raise ValueError("the header was changed or cut")
    return json.loads(text), _PREFIX + length + _DIGEST


def _payload(descriptor: int, start: int, size: int, digests: Sequence[str]) -> Bytes:
    """The payload in one buffer that ends on a multiple of 64 bytes.

    Raises:
        ValueError: a chunk is not as it was written.
    """
    payload = _room(size)
    if len(digests) != -(-size // _CHUNK):
        raise ValueError("a chunk is missing")

    def intact(number: int) -> bool:
        digest, end = hashlib.sha256(), min((number + 1) * _CHUNK, size)
        for offset in range(number * _CHUNK, end, _READ):
            part = payload[offset : min(offset + _READ, end)].data
            os.preadv(descriptor, [part], start + offset)  # what a short read leaves out fails the comparison
            digest.update(part)
        return digest.hexdigest() == digests[number]

    with ThreadPoolExecutor(2) as threads:
        check = threads.map if len(digests) > 1 else map
        if not all(check(intact, range(len(digests)))):
            raise ValueError("the payload was changed or cut")
    return payload


def _room(size: int) -> Bytes:
    """A buffer that ends on a multiple of 64 bytes."""
    # numpy would ask for huge pages, and on a busy machine it takes longer to find them than to read the file.
    buffer = np.frombuffer(mmap(-1, size + _ALIGN, flags=MAP_PRIVATE | MAP_ANONYMOUS), np.uint8)
    first = -(buffer.ctypes.data + size) % _ALIGN
    return buffer[first : first + size]


def _cut(payload: Bytes, sizes: Sequence[tuple[str, int]]) -> dict[str, Bytes]:
    if sum(size for _, size in sizes) != len(payload):
        raise ValueError("the sections do not fill the payload")
    sections, start = {}, 0
    for name, size in sizes:
        sections[name] = payload[start : start + size]
        start += size
    return sections


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file in the same directory that takes the place of ``path`` once everything is on the disk."""
    temporary, descriptor = _new_beside(path)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123  # a descriptor, opened with its mode
            yield file
            file.flush()
            os.fsync(descriptor)
            temporary.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _new_beside(path: Path) -> tuple[Path, int]:
    """A new file in the same directory, and its descriptor, which holds a lock on it as long as the process writes.

    A file that nobody holds was left by a process that was killed.
    """
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if temporary.exists():
            return temporary, descriptor
        # Taken for a left-over in the moment before it was locked.
        os.close(descriptor)


def _remove_stale(path: Path) -> None:
    """Remove what a killed process left, but not what a living one is writing."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with suppress(OSError), left.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()


def _refusal(error: OSError, path: Path) -> StorageError:
    if error.errno in _FULL:
        return DiskFull(f"no room for the index snapshot {path}; memories are safe, and it is rebuilt from them")
    if error.errno in _REFUSED:
        return DirectoryNotWritable(f"the index snapshot {path} cannot be written: {error}")
    return StorageError(f"the index snapshot {path} cannot be written: {error}")
