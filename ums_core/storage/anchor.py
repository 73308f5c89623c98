"""What a sealed database had reached, kept outside it, so that an older copy in its place is noticed.

The file holds two slots of 512 bytes; a change goes into the one of its number's parity, so that a torn write leaves
the one before it. A slot is authenticated with a key of the database. It is written after the commit is durable and is
not synced, so a power cut may take it back to an earlier change, but never to a later one than the database holds.
"""

import hashlib
import hmac
import os
from dataclasses import dataclass
from pathlib import Path
from struct import Struct

import numpy as np

from ums_core.storage import raw
from ums_core.storage.files import sync_directory

__all__ = ["Anchor", "Reached", "anchor_path", "digest_of_file", "digest_of_pages"]

_SLOT = 512
_FIELDS = Struct("<8sQQ32s")
_MAGIC = b"UMSANCH1"
_MAC = 32
_PAGE, _TAIL = 4096, 64
_BLOCK = 2048 * _PAGE


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
        """The last point noted; None where there is none that one of the keys wrote."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        slots = [self._slot(content[start : start + _SLOT]) for start in (0, _SLOT)]
        return max((slot for slot in slots if slot), key=lambda slot: slot.seq, default=None)

    def note(self, reached: Reached, *, sync: bool = False) -> None:
        """Write a point down. Costs some microseconds, or two fsyncs: of the file, and of its name."""
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
        """Believe in this point and in no other."""
        self.path.unlink(missing_ok=True)
        self.note(reached, sync=True)

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
    digest, size, begin = hashlib.sha256(), 0, b""
    for block in raw.blocks(path, _BLOCK):
        pages = np.frombuffer(block, np.uint8, len(block) // _PAGE * _PAGE).reshape(-1, _PAGE)
        digest.update(np.ascontiguousarray(pages[:, -_TAIL:]).data)
        begin = begin or block[: _TAIL // 4]
        size += len(block)
    digest.update(begin + size.to_bytes(8, "little"))
    return digest.digest()


def digest_of_file(path: Path) -> bytes:
    """A digest of a file in which no page is authenticated. Costs about 80 ms for 100 MB in the page cache."""
    digest = hashlib.sha256()
    for block in raw.blocks(path, _BLOCK):
        digest.update(block)
    return digest.digest()
