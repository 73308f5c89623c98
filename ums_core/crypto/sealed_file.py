r"""Files that cannot be read without a key, nor changed without its showing.

::

    magic       b"UMSX"
    version     1 byte, 1
    key id      8 bytes: which data key of the database sealed it
    salt        32 random bytes, new for every file
    length      of the header, 4 bytes, big endian
    header      JSON, readable, at most 64 KiB: the database id, and what the writer says about the content
    chunks      AES-256-GCM, 1 MiB of content and a tag of 16 bytes each; only the last one may be shorter

The key is HKDF-SHA256 of the data key and the salt. The nonce of a chunk is 7 zero bytes, its number in 4 bytes big
endian, and 1 byte that is 1 for the last chunk and 0 for the others; everything before the chunks is the associated
data of each. So a flipped bit, a cut, chunks in another order or of another file, and another header all show.

Source: the STREAM construction, Hoang, Reyhanitabar, Rogaway, Vizar, CRYPTO 2015.
"""

import json
import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from struct import Struct
from types import TracebackType
from typing import BinaryIO, Self

from ums_core.crypto.cipher import TAG_BYTES, Aead, ForgedError
from ums_core.crypto.keys import DataKey
from ums_core.errors import InvalidField, SealBroken
from ums_core.ports import Header

__all__ = ["CHUNK_BYTES", "Files", "Reader", "Writer", "about"]

CHUNK_BYTES = 1 << 20
_MAGIC = b"UMSX\x01"
_SALT_BYTES = 32
_PREFIX = Struct(f">{len(_MAGIC)}s8s{_SALT_BYTES}sI")
_MAX_HEADER = 64 << 10
_MAX_CHUNKS = 1 << 32
_DATABASE = "database"
_SEALED_BYTES = CHUNK_BYTES + TAG_BYTES
# So many chunks are worth starting threads for.
_MANY = 4
_THREADS = 2


class Files:
    """Seals the files of one database: a :class:`~ums_core.ports.FileSeal`. Thread-safe.

    Args:
        key: seals new files.
        older: open files that were sealed before the key was rotated.
    """

    def __init__(self, key: DataKey, *older: DataKey) -> None:
        self._key = key
        self._keys = {known.key_id: known for known in (key, *older)}

    def writer(self, file: BinaryIO, header: Header) -> "Writer":
        """Write a sealed file from where the file stands; closing the file is the caller's.

        Args:
            file: binary and open for writing.
            header: JSON values, readable by anybody who has the file; ``database`` is added.

        Raises:
            InvalidField: the header is not JSON, longer than 64 KiB, or names the database itself.
        """
        return Writer(file, self._key, header)

    def reader(self, file: BinaryIO) -> "Reader":
        """Read a sealed file from where the file stands.

        Raises:
            SealBroken: it is not a sealed file of this database, or its beginning was changed.
        """
        return Reader(file, self._keys)


def about(file: BinaryIO) -> tuple[str, Header]:
    """What a sealed file says of itself, before anything of it is proved: the id of its key, and its header.

    Raises:
        SealBroken: it does not even look like one.
    """
    try:
        _, key_id, _, length = _PREFIX.unpack(_prefix_of(file))
        header: Header = json.loads(file.read(min(length, _MAX_HEADER)))
        return key_id.hex(), dict(header)
    except (ValueError, TypeError, RecursionError) as error:
        raise SealBroken("not a sealed file: its header cannot be read") from error


def _prefix_of(file: BinaryIO) -> bytes:
    prefix = file.read(_PREFIX.size)
    if len(prefix) < _PREFIX.size or not prefix.startswith(_MAGIC):
        raise SealBroken("not a sealed file: it begins with other bytes than b'UMSX\\x01'")
    return prefix


class Writer:
    """Takes the content in pieces; ``with`` closes it, but leaves it unreadable where an error ended the block."""

    def __init__(self, file: BinaryIO, key: DataKey, header: Header) -> None:
        self._file = file
        salt = secrets.token_bytes(_SALT_BYTES)
        text = _encoded(header, key.database_id)
        self._bound = _PREFIX.pack(_MAGIC, bytes.fromhex(key.key_id), salt, len(text)) + text
        self._cipher = Aead(key.derive("files", salt=salt))
        self._pending = bytearray()
        self._number = 0
        self._closed = False
        file.write(self._bound)

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        """Take the next piece, and return its number of bytes."""
        if self._closed:
            raise ValueError("the sealed file was closed")
        view = memoryview(data).cast("B")
        start = 0
        # What fills the buffer is kept back, for it may be the last chunk.
        while len(self._pending) + len(view) - start > CHUNK_BYTES:
            if self._pending or len(view) - start <= CHUNK_BYTES:
                end = start + CHUNK_BYTES - len(self._pending)
                self._pending += view[start:end]
                self._put(self._pending, last=False)
                self._pending.clear()
            else:
                end = start + CHUNK_BYTES
                self._put(view[start:end], last=False)
            start = end
        self._pending += view[start:]
        return len(view)

    def close(self) -> None:
        """Write what is left and the mark of the end; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self._put(self._pending, last=True)

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        """Close the file, unless something went wrong."""
        if kind is None:
            self.close()
        self._closed = True

    def _put(self, content: bytearray | memoryview, *, last: bool) -> None:
        if self._number >= _MAX_CHUNKS:
            raise InvalidField(f"a sealed file holds at most {_MAX_CHUNKS} chunks of {CHUNK_BYTES} bytes")
        self._file.write(self._cipher.seal(_nonce(self._number, last=last), content, self._bound))
        self._number += 1


class Reader:
    """Gives the content, each chunk proved before it is given. Not thread-safe."""

    def __init__(self, file: BinaryIO, keys: dict[str, DataKey]) -> None:
        self._file = file
        prefix = _prefix_of(file)
        _, key_id, salt, length = _PREFIX.unpack(prefix)
        key = keys.get(key_id.hex())
        if key is None:
            raise SealBroken(f"sealed by the key {key_id.hex()}, but this database holds {', '.join(keys)}")
        text = file.read(length) if length <= _MAX_HEADER else b""
        self._bound = prefix + text
        self._cipher = Aead(key.derive("files", salt=salt))
        self._number = 0
        self._ahead = file.read(_SEALED_BYTES)
        self._last = False
        self._broken: SealBroken | None = None
        self._content = memoryview(self._next())
        # Proved by the first chunk, so it is what the writer wrote.
        header: dict[str, object] = json.loads(text)
        if header.pop(_DATABASE) != key.database_id:
            raise SealBroken(f"a sealed file of another database than {key.database_id}")
        self._header = header

    @property
    def header(self) -> Header:
        """What was written beside the content, proved."""
        return self._header

    def chunks(self) -> Iterator[bytes]:
        """The rest of the content, in pieces of at most 1 MiB.

        Raises:
            SealBroken: the next chunk is not what was written; a cut shows only at the end.
        """
        while self._fill():
            content, self._content = self._content, memoryview(b"")
            yield bytes(content)

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Fill the buffer with the next bytes, and return how many; fewer than it holds only at the end.

        Many chunks are opened by two threads, in the buffer itself: 1 to 2 GB/s each. After an error it holds bytes
        that were proved, and zeros.

        Raises:
            SealBroken: as ``chunks``.
        """
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view) and self._fill():
            size = min(len(view) - done, len(self._content))
            view[done : done + size] = self._content[:size]
            self._content = self._content[size:]
            done += size
            if not self._content and len(view) - done >= _MANY * CHUNK_BYTES:
                done += self._open_whole(view[done:])
        return done

    def prove(self) -> int:
        """Read to the end without giving anything out, and return the number of bytes passed over.

        Raises:
            SealBroken: as ``chunks``.
        """
        return sum(len(chunk) for chunk in self.chunks())

    def _open_whole(self, view: memoryview) -> int:
        """Open as many full chunks as the view holds, or as there are, and return how many bytes they are."""
        start, reading = self._number, threading.Lock()

        def work() -> None:
            while True:
                with reading:
                    place = (self._number - start) * CHUNK_BYTES
                    full = len(self._ahead) == _SEALED_BYTES and place + CHUNK_BYTES <= len(view)
                    if self._broken or not full:
                        return
                    number, sealed, last = self._taken()
                self._prove(number, sealed, view[place : place + CHUNK_BYTES], last=last)

        with ThreadPoolExecutor(_THREADS) as threads:
            # All of them have come to an end before the first error is raised.
            for each in wait([threads.submit(work) for _ in range(_THREADS)]).done:
                each.result()
        return (self._number - start) * CHUNK_BYTES

    def _fill(self) -> bool:
        """Whether there is content, after the next chunk was opened where there was none.

        Raises:
            SealBroken: also after another chunk was broken: a reader that met one must not look like one at the end.
        """
        if self._broken is not None:
            raise self._broken
        while not self._content and not self._last:
            self._content = memoryview(self._next())
        return bool(self._content)

    def _next(self) -> bytearray:
        number, sealed, last = self._taken()
        content = bytearray(max(0, len(sealed) - TAG_BYTES))
        self._prove(number, sealed, memoryview(content), last=last)
        return content

    def _taken(self) -> tuple[int, bytes, bool]:
        """The next chunk as it lies in the file: its number, its bytes, and whether it is the last one."""
        sealed, self._ahead = self._ahead, self._file.read(_SEALED_BYTES)
        number, self._number, self._last = self._number, self._number + 1, not self._ahead
        return number, sealed, self._last

    def _prove(self, number: int, sealed: bytes, room: memoryview, *, last: bool) -> None:
        try:
            self._cipher.open_into(_nonce(number, last=last), sealed, self._bound, room)
        except ForgedError:
            self._broken = SealBroken(
                f"chunk {number} of a sealed file is not what was written: the file was changed, cut, "
                "or comes from another database"
            )
            raise self._broken from None


def _encoded(header: Header, database_id: str) -> bytes:
    if _DATABASE in header:
        raise InvalidField(f"the header of a sealed file may not hold {_DATABASE!r}, which is added to it")
    try:
        text = json.dumps({_DATABASE: database_id, **header}, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise InvalidField(f"the header of a sealed file must be JSON: {error}") from error
    if len(text) > _MAX_HEADER:
        raise InvalidField(f"the header of a sealed file has at most {_MAX_HEADER} bytes, got {len(text)}")
    return text


def _nonce(number: int, *, last: bool) -> bytes:
    return bytes(7) + number.to_bytes(4, "big") + bytes([last])
