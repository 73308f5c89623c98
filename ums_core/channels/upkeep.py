"""What an owner does to a whole local store now and then: erase, rotate, destroy."""

import json

from ums_core.errors import SettingsError
from ums_core.pipeline.indexing import Indexes
from ums_core.ports.sealed import KeyRing, KeyState
from ums_core.records import Namespace, Receipt
from ums_core.records.check import check_label
from ums_core.storage.database import Database
from ums_core.storage.erase import erase, files_of
from ums_core.storage.idempotency import digest_of, once
from ums_core.storage.rotation import rotate_pages
from ums_core.storage.transaction import SqlTransaction

__all__ = ["destroyed", "erased", "ring_of", "rotated"]


def ring_of(database: Database) -> KeyRing | None:
    """The keys of a database; None where it is not sealed."""
    return None if database.sealing is None else database.sealing.keys


def erased(database: Database, ids: list[str], namespace: Namespace, idempotency_key: str | None) -> Receipt:
    """Erase in the database, once for a key, and return the receipt."""
    name = database.database_id
    if idempotency_key is None:
        return database.write(lambda tx: erase(tx, ids, namespace, name))
    key = check_label(idempotency_key, "idempotency_key")
    digest = digest_of(json.dumps(part).encode() for part in (["erase", *namespace], ids))

    def work(tx: SqlTransaction) -> dict[str, object]:
        at = int(tx.now.timestamp() * 1e6)
        return once(tx.connection, key, digest, at, lambda: erase(tx, ids, namespace, name).to_dict())

    return Receipt.from_dict(database.write(work))


def rotated(database: Database, indexes: Indexes) -> KeyState:
    """Begin a rotation or go on with one, and return where the keys stand."""
    ring = ring_of(database)
    if ring is None:
        raise SettingsError(
            f"{database.path} is not sealed, so it has no key to rotate: encrypt it with `ums db encrypt`"
        )
    state = ring.state()
    if state.pending is not None or not state.former:
        rotate_pages(database, ring)
    # Under a former key there is nothing left but snapshots, and they are written anew before it goes.
    indexes.save()
    ring.retire()
    return ring.state()


def destroyed(database: Database) -> None:
    """Destroy the keys of a closed database, and remove its files."""
    ring = ring_of(database)
    if ring is not None:
        ring.destroy()
    for file in files_of(database.path):
        file.unlink(missing_ok=True)
