"""What an owner does to a whole local store now and then: erase, rotate, destroy."""

import json
from dataclasses import replace
from functools import partial

from ums_core.errors import SealBroken, SettingsError
from ums_core.pipeline.indexing import Indexes
from ums_core.ports.sealed import KeyRing, KeyState
from ums_core.ports.tending import Progress
from ums_core.records import Namespace, Receipt
from ums_core.records.check import check_label
from ums_core.storage.database import Database
from ums_core.storage.erase import erase, files_of
from ums_core.storage.idempotency import digest_of, once
from ums_core.storage.refit import check_values
from ums_core.storage.rotation import rotate_fields, rotate_pages, share_under
from ums_core.storage.sealed_columns import rows_in
from ums_core.storage.transaction import SqlTransaction

__all__ = ["destroyed", "erased", "ring_of", "rotated", "state_of", "verified"]


def ring_of(database: Database) -> KeyRing | None:
    """The keys of a database; None where it is not sealed."""
    return None if database.guard.sealing is None else database.guard.sealing.keys


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


def state_of(database: Database) -> KeyState:
    """Where the keys of a database stand; while a rotation is under way that costs a pass over its rows."""
    ring, codec = ring_of(database), database.codec
    if ring is None:
        return KeyState()
    state = ring.state()
    if state.pending is None:
        return state
    if codec is None:
        return replace(state, done=0.0)
    with database.reader() as connection:
        return replace(state, done=share_under(connection, codec))


def rotated(database: Database, indexes: Indexes, progress: Progress | None) -> KeyState:
    """Begin a rotation or go on with one, and return where the keys stand."""
    ring = ring_of(database)
    if ring is None:
        raise SettingsError(
            f"{database.path} is not sealed, so it has no key to rotate: encrypt it with `ums db encrypt`"
        )
    ring.refresh()
    state = ring.state()
    if database.codec is not None:
        rotate_fields(database, database.codec, ring, progress)
    elif state.pending is not None or not state.former:
        rotate_pages(database, ring)
    # Under a former key there is nothing left but snapshots, and they are written anew before it goes.
    indexes.save()
    ring.retire()
    return ring.state()


def verified(database: Database, indexes: Indexes, progress: Progress | None) -> list[str]:
    """Where the indexes differ from storage, and a sealed field that does not open, in words."""
    said = indexes.verify()
    try:
        with database.snapshot(), database.reader() as connection:
            rows = 0 if database.codec is None else rows_in(connection)
            # The comparison counts as one more.
            told = partial(_told, progress, rows + 1)
            told(0)
            if database.codec is not None:
                check_values(connection, told)
    except SealBroken as error:
        said.append(str(error))
    return said


def _told(progress: Progress | None, total: int, done: int) -> None:
    if progress is not None:
        progress(min(done + 1, total), total)


def destroyed(database: Database) -> None:
    """Destroy the keys of a closed database, and remove its files."""
    ring = ring_of(database)
    if ring is not None:
        ring.destroy()
    for file in files_of(database.path):
        file.unlink(missing_ok=True)
