"""The data key of a database exchanged for another one, while the store stays open."""

from ums_core.ports.sealed import KeyRing
from ums_core.storage.database import Database
from ums_core.storage.exclusive import rekey

__all__ = ["rotate_pages"]


def rotate_pages(database: Database, ring: KeyRing) -> None:
    """Put every page under a new key of the ring; reads and writes wait meanwhile, about a second for 60 MB.

    Killed at any moment, the database opens with one of the two keys in the ring, and the next call goes on.

    Raises:
        DatabaseBusy: another process has the file open.
        TamperSuspected: nobody accepted the database as it is.
        StorageError: the disk refused; the former key still opens the file.
    """
    database.guard.refuse()
    sealing = ring.begin()
    with database.let_go() as connector:
        rekey(connector, sealing.page_key or b"")
        # Before the step after which the former key reads no anchor any more.
        database.guard.rekeyed(sealing.anchor_keys)
        ring.promote()
        database.sealing = sealing
