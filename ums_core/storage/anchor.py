"""What a sealed database had reached, kept outside it, so that an older copy in its place is noticed.

The file holds two slots of 512 bytes; a change goes into the one of its number's parity, so that a torn write leaves
the one before it. A slot is authenticated with a key of the database. It is written after the commit is durable and is
not synced, so a power cut may take it back to an earlier change, but never to a later one than the database holds.
"""

import hashlib
import hmac
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from struct import Struct

import numpy as np

from ums_core.storage import raw
from ums_core.storage.files import refusals, replace_durably, sync_directory, temporary

__all__ = ["Anchor", "Reached", "anchor_path", "digest_of_file", "digest_of_pages", "former_digest_of_file"]

_SLOT = 512
_FIELDS = Struct("<8sQQ32s")
_MAGIC = b"UMSANCH1"
_MAC = 32
_PAGE, _TAIL = 4096, 64
# Keeps the two uses of one key apart.
_PIECES = b"ums/pieces/v1"
_PIECE, _RUN = 512 << 10, 8


@dataclass(frozen=True, slots=True)
class Reached:
    """A point of the journal.

    Attributes:
        seq: number of a change.
        mark: of that very change.
        pages: digest of the whole file, where it was left alone at this point; empty while somebody wrote.
    """

    seq: int
    mark: int
    pages: bytes = b""


def anchor_path(database: Path) -> Path:
    """The anchor file of a database file: ``memory.db.anchor`` beside ``memory.db``."""
    return database.with_name(f"{database.name}.anchor")


class Anchor:
    """The anchor of one database. Several processes may write it.

    Args:
        database: the database file.
        database_id: whose anchor it is; that of another one says nothing.
        keys: authenticate it; the first one writes, any of them reads.
    """

    def __init__(self, database: Path, database_id: str, keys: tuple[bytes, ...]) -> None:
        self.path = anchor_path(database)
        self.keys = keys
        self._id = bytes.fromhex(database_id)

    def read(self) -> Reached | None:
        """The last point noted; None where there is none that one of the keys wrote, or no file that could hold it."""
        try:
            # Not to follow a link, nor to wait for the other end of a pipe.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                content = os.read(descriptor, 2 * _SLOT)
            finally:
                os.close(descriptor)
        except OSError:
            return None
        slots = [self._slot(content[start : start + _SLOT]) for start in (0, _SLOT)]
        return max((slot for slot in slots if slot), key=lambda slot: slot.seq, default=None)

    def note(self, reached: Reached, *, sync: bool = False) -> None:
        """Write a point down. Costs some microseconds, or two fsyncs: of the file, and of its name.

        Raises:
            StorageError: the file system refused.
        """
        with refusals(self.path):
            self._note(reached, sync=sync)

    def _note(self, reached: Reached, *, sync: bool) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(descriptor, self._encoded(reached), reached.seq % 2 * _SLOT)
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if sync:
            sync_directory(self.path.parent)

    def reset(self, reached: Reached) -> None:
        """Believe in this point and in no other; killed at any moment, in this one or in what was noted before.

        Raises:
            DatabaseBusy: somebody else is at it.
            StorageError: the file system refused, as where the anchor is a directory.
        """
        slots, at = bytearray(2 * _SLOT), reached.seq % 2 * _SLOT
        slots[at : at + _SLOT] = self._encoded(reached)
        with temporary(self.path) as new, refusals(self.path):
            new.write_bytes(slots)
            replace_durably(new, self.path)

    def _encoded(self, reached: Reached) -> bytes:
        fields = _FIELDS.pack(_MAGIC, reached.seq, reached.mark, reached.pages or bytes(32))
        return (fields + self._mac(self.keys[0], fields)).ljust(_SLOT, b"\0")

    def _slot(self, slot: bytes) -> Reached | None:
        fields, mac = slot[: _FIELDS.size], slot[_FIELDS.size : _FIELDS.size + _MAC]
        if len(fields) < _FIELDS.size or not any(hmac.compare_digest(self._mac(key, fields), mac) for key in self.keys):
            return None
        _, seq, mark, pages = _FIELDS.unpack(fields)
        return Reached(seq, mark, pages if any(pages) else b"")

    def _mac(self, key: bytes, fields: bytes) -> bytes:
        return hmac.new(key, self._id + fields, hashlib.sha256).digest()


def digest_of_pages(path: Path) -> bytes:
    """A digest of an encrypted file that shows when any page is exchanged, also for an older one of its own.

    Each page ends in a random IV and a MAC of 64 bytes over its content and place, so those stand for all of it.
    Costs about 10 ms for 100 MB that are in the page cache.
    """
    begin = b""

    def tails(number: int, piece: memoryview) -> bytes:
        nonlocal begin
        if number == 0:
            begin = bytes(piece[: _TAIL // 4])
        pages = np.frombuffer(piece, np.uint8, len(piece) // _PAGE * _PAGE).reshape(-1, _PAGE)
        return pages[:, -_TAIL:].tobytes()

    size, together = _pieces(path, tails)
    return hashlib.sha256(together + begin + size.to_bytes(8, "little")).digest()


def digest_of_file(path: Path, key: bytes, hasher: Callable[[bytes], Callable[[int, memoryview], bytes]]) -> bytes:
    """A keyed digest of a file in which no page is authenticated. Costs about 15 ms for 100 MB in the page cache.

    Args:
        path: of the file; whoever changes it meanwhile changes the digest.
        key: 32 bytes.
        hasher: as :meth:`~ums_core.ports.sealed.FieldSeal.hasher`.
    """
    size, together = _pieces(path, hasher(hmac.digest(key, _PIECES, "sha256")))
    return hmac.digest(key, _PIECES + size.to_bytes(8) + together, "sha256")


def former_digest_of_file(path: Path) -> bytes:
    """The digest that an anchor may still hold from before it was a keyed one."""
    digest = hashlib.sha256()
    for block in raw.blocks(path, _PIECE):
        digest.update(block)
    return digest.digest()


def _pieces(path: Path, work: Callable[[int, memoryview], bytes]) -> tuple[int, bytes]:
    """The size of a file, and what comes of its pieces of half a MiB, by their numbers and in their order.

    Two threads take some pieces each, and a piece stays in the cache of its processor.
    """
    with raw.opened(path) as descriptor, ThreadPoolExecutor(2) as threads:
        size = os.fstat(descriptor).st_size

        def run(first: int) -> bytes:
            room, found = memoryview(bytearray(_PIECE)), b""
            for number in range(first, first + _RUN):
                length = os.preadv(descriptor, [room], number * _PIECE)
                found += work(number, room[:length]) if length else b""
            return found

        each = threads.map if size > _RUN * _PIECE else map
        return size, b"".join(each(run, range(0, -(-size // _PIECE), _RUN)))
