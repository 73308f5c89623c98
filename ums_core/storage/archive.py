"""What is asked of the archive of one database, and what is put into it and taken out."""

import uuid
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ums_core.errors import InvalidField, MemoryNotFound
from ums_core.ports.forgetting import Standing
from ums_core.ports.ledger import Archiving
from ums_core.records import Filter, Memory, Namespace, Receipt
from ums_core.records.match import micros
from ums_core.storage import forgetting, in_place, shelf
from ums_core.storage.connect import Connection
from ums_core.storage.database import Database
from ums_core.storage.erase import erase
from ums_core.storage.reading import find_nid, identities, lives, read_memories
from ums_core.storage.table import encode_namespace
from ums_core.storage.transaction import SqlTransaction

__all__ = ["Archive", "reinforced", "superseded"]

# So many come back in one transaction.
_BATCH = 256


class Archive:
    """The archive of one database.

    Args:
        database: gives readers and the time, and takes writes.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def expand(self, id_: str, namespace: Namespace) -> list[Memory]:
        """What a memory was made from, in the order of its ``source_ids``, archived or alive, as far as it is there.

        Raises:
            MemoryNotFound: there is no such memory, not in the archive either.
        """
        now = self._database.clock()
        with self._database.snapshot(), self._database.reader() as connection:
            nid = find_nid(connection, encode_namespace(namespace))
            place = namespace, -1 if nid is None else nid
            (memory,) = _either(connection, place, [id_])
            if memory is None:
                raise MemoryNotFound(f"no memory {id_!r} in namespace {namespace!r}, so it has no sources")
            sources = _either(connection, place, memory.source_ids)
        return [memory for memory in sources if memory is not None and lives(memory, now)]

    def reinforce(self, ids: Sequence[str], namespace: Namespace, spacing_us: int) -> int:
        """Note a use of those that live, and return how many there were."""
        return self._database.write(lambda tx: reinforced(tx, ids, namespace, spacing_us))

    def standing(self, namespace: Namespace, condition: Filter | None) -> Standing:
        """All that live under a namespace prefix and meet a condition; see the port."""
        with self._database.reader() as connection:
            return forgetting.standing(connection, namespace, condition, self._database.clock())

    def named(self, rids: Sequence[int]) -> dict[int, tuple[Namespace, str]]:
        """Which memories those rows are, as far as they still exist."""
        with self._database.reader() as connection:
            return forgetting.named(connection, rids)

    def put_away(self, rids: Sequence[int], archiving: Archiving) -> list[int]:
        """Archive rows in one transaction, and return those that still existed."""
        return self._database.write(lambda tx: tx.archive(rids, archiving))

    def erasable(self, rids: Sequence[int]) -> list[tuple[Namespace, dict[str, list[str]]]]:
        """What those rows stand for, by namespace; see the port."""
        by_place: dict[Namespace, list[str]] = {}
        with self._database.snapshot(), self._database.reader() as connection:
            for namespace, id_ in forgetting.named(connection, rids).values():
                by_place.setdefault(namespace, []).append(id_)
            found = []
            for namespace, ids in by_place.items():
                nid = find_nid(connection, encode_namespace(namespace))
                found.append((namespace, forgetting.erasable(connection, -1 if nid is None else nid, ids)))
        return found

    def erase(self, ids: Sequence[str], namespace: Namespace) -> Receipt:
        """Delete for good, in the database."""
        return self._database.write(lambda tx: erase(tx, ids, namespace, self._database.database_id))

    def refresh(self, ids: Sequence[str], namespace: Namespace) -> None:
        """Let the time to live of those that have one begin anew."""

        def work(tx: SqlTransaction) -> None:
            # No namespace has the number 0.
            nid = find_nid(tx.connection, encode_namespace(namespace)) or 0
            in_place.refresh(tx.connection, nid, ids, tx.now)

        self._database.write(work)

    def undo(self, batch: str) -> int:
        """Take a batch back, as far as its time has not ended, and return how many memories live again."""
        held = self._held(batch)
        after: int | None = -1
        while after is not None:
            after = self._database.write(partial(_undone, batch=batch, after=after))
        return held - self._held(batch)

    def _held(self, batch: str) -> int:
        with self._database.reader() as connection:
            return int(connection.execute("SELECT count(*) FROM archived WHERE batch = ?", (batch,)).fetchone()[0])

    def purge(self, limit: int) -> int:
        """Delete for good what can no longer be undone, and return how many memories went.

        At most so many, but for what is archived under a summary, which goes with it.
        """
        return self._database.write(lambda tx: _purged(tx, limit))

    def sweep(self, limit: int) -> int:
        """Delete what has expired, at most so many, the oldest first, and return how many there were."""
        return self._database.write(lambda tx: _swept(tx, limit))

    def due(self, *, expired: bool) -> int:
        """How many a sweep of what has expired, or a purge, would delete now."""
        conditions = (("memories", "expires_at"), ("archived", "expires_at")) if expired else (("archived", "until"),)
        with self._database.reader() as connection:
            return sum(
                connection.execute(
                    f"SELECT count(*) FROM main.{table} WHERE {column} <= ?", (micros(self._database.clock()),)
                ).fetchone()[0]
                for table, column in conditions
            )


def reinforced(tx: SqlTransaction, ids: Sequence[str], namespace: Namespace, spacing_us: int) -> int:
    """Note a use of those that live, and return how many there were."""
    nid = find_nid(tx.connection, encode_namespace(namespace))
    return 0 if nid is None else in_place.reinforce(tx.connection, nid, ids, tx.now, spacing_us)


def superseded(tx: SqlTransaction, old_id: str, new: Memory, write: Callable[[], Memory]) -> Memory:
    """Store a successor and archive what it supersedes; it is returned.

    Args:
        tx: in which both happen.
        old_id: of what is superseded.
        new: what the successor is to be, in the namespace of both.
        write: stores it; it says since when it is valid.

    Raises:
        MemoryNotFound: there is no such memory that lives.
        InvalidField: there is a memory of the new id.
    """
    nid = find_nid(tx.connection, encode_namespace(new.namespace))
    place = new.namespace, -1 if nid is None else nid
    (old,) = read_memories(tx.connection, [old_id], place, vectors=False)
    if not lives(old, tx.now):
        raise MemoryNotFound(f"no memory {old_id!r} lives in namespace {new.namespace!r}, so nothing is superseded")
    if _either(tx.connection, place, [new.id]) != [None]:
        raise InvalidField(f"there is a memory {new.id!r} already; give the successor an id of its own")
    stored = write()
    rids = [int(row[0]) for row in identities(tx.connection, place[1], [old_id])]
    batch = uuid.uuid4().hex
    tx.archive(rids, Archiving(why="superseded", batch=batch, under=stored.id, valid_to=stored.valid_from))
    return stored


def _undone(tx: SqlTransaction, batch: str, after: int) -> int | None:
    """Take a part of a batch back; after which birth to go on, or None at its end."""
    rows = tx.connection.execute(
        "SELECT rid, birth, nid, why, under FROM main.archived WHERE batch = ? AND birth > ? "
        "AND (until IS NULL OR until > ?) ORDER BY birth LIMIT ?",
        (batch, after, micros(tx.now), _BATCH),
    ).fetchall()
    # What came in their place goes first. The sources of a summary come back with that.
    gone = {place: _without(tx, *place, batch) for place in {(row[2], row[4]) for row in rows if row[4] is not None}}
    back = [row for row in rows if gone.get((row[2], row[4]), True)]
    tx.restore([rid for rid, _, _, why, _ in back if why != "consolidated"], batch)
    return rows[-1][1] if len(rows) == _BATCH else None


def _without(tx: SqlTransaction, nid: int, id_: str, batch: str) -> bool:
    """Take back a summary or a successor, with the summaries that were made of it.

    Returns:
        False where it was forgotten or superseded itself, which is to be undone before.
    """
    row = tx.connection.execute("SELECT why, under FROM main.archived WHERE nid = ? AND id = ?", (nid, id_)).fetchone()
    if row is not None and not (row[0] == "consolidated" and _without(tx, nid, row[1], batch)):
        return False
    tx.discard(nid, [id_], "deleted", batch)
    return True


def _purged(tx: SqlTransaction, limit: int) -> int:
    by_nid = _by_nid(
        tx.connection.execute(
            "SELECT nid, id FROM main.archived WHERE until <= ? ORDER BY until LIMIT ?", (micros(tx.now), limit)
        ).fetchall()
    )
    return sum(tx.purge(nid, ids) for nid, ids in by_nid.items())


def _swept(tx: SqlTransaction, limit: int) -> int:
    rows: list[Any] = []
    for table in ("memories", "archived"):
        rows += tx.connection.execute(
            f"SELECT nid, id FROM main.{table} WHERE expires_at <= ? ORDER BY expires_at LIMIT ?",
            (micros(tx.now), limit - len(rows)),
        ).fetchall()
    return sum(tx.discard(nid, ids, "expired") for nid, ids in _by_nid(rows).items())


def _by_nid(rows: Sequence[tuple[int, str]]) -> dict[int, list[str]]:
    by_nid: dict[int, list[str]] = {}
    for nid, id_ in rows:
        by_nid.setdefault(nid, []).append(id_)
    return by_nid


def _either(connection: Connection, place: tuple[Namespace, int], ids: Sequence[str]) -> list[Memory | None]:
    living = read_memories(connection, ids, place, vectors=False)
    away = {memory.id: memory for memory in shelf.memories(connection, place, ids)}
    return [memory or away.get(id_) for id_, memory in zip(ids, living, strict=True)]
