"""The archive as SQL: rows that left ``memories`` as they were, and what became of them.

A row moves between the two tables as it is, sealed or not, and keeps its row id while it is away. Nothing here decides
what is to be archived.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ums_core.ports.ledger import Archiving
from ums_core.records import Memory, Namespace
from ums_core.records.match import micros
from ums_core.storage.connect import Connection
from ums_core.storage.table import ARCHIVED_COLUMNS, INSERTED, ORDINAL_BITS, chunked, decode_archived

__all__ = ["Held", "drop", "drop_whole", "find", "memories", "put", "take", "under"]

_OWN = ", ".join(INSERTED)
_PUT = (
    f"INSERT INTO main.archived ({_OWN}, why, at, until, under, batch, valid_to) "
    f"SELECT {_OWN}, ?, ?, ?, ?, ?, ? FROM main.memories WHERE rid = ?"
)
_PUT_PASSAGES = "INSERT INTO main.archived_passages SELECT * FROM main.passages WHERE pid >= ? AND pid < ?"

# rid, id, birth, created_at, last_accessed_at, accesses
Held = tuple[int, str, int, int, int, int]


def put(connection: Connection, rids: Sequence[int], archiving: Archiving, now: datetime) -> None:
    """Copy rows, with their passages, into the archive; whoever calls takes them out of ``memories``."""
    label = (
        archiving.why,
        micros(now),
        None if archiving.until is None else micros(archiving.until),
        archiving.under,
        archiving.batch,
        None if archiving.valid_to is None else micros(archiving.valid_to),
    )
    connection.executemany(_PUT, [(*label, rid) for rid in rids])
    connection.executemany(_PUT_PASSAGES, [_span(rid) for rid in rids])


def find(connection: Connection, nid: int, ids: Sequence[str]) -> list[Held]:
    """Those of the ids that are in the archive of a namespace."""
    held: list[Held] = []
    for part in chunked(list(dict.fromkeys(ids))):
        places = ",".join("?" * len(part))
        held += connection.execute(
            "SELECT rid, id, birth, created_at, last_accessed_at, accesses FROM main.archived "
            f"WHERE nid = ? AND id IN ({places})",
            (nid, *part),
        ).fetchall()
    return held


def memories(connection: Connection, place: tuple[Namespace, int], ids: Sequence[str]) -> list[Memory]:
    """Those of the ids that are in the archive of a namespace, as memories, by birth."""
    namespace, nid = place
    found: list[tuple[Any, ...]] = []
    for part in chunked(list(dict.fromkeys(ids))):
        places = ",".join("?" * len(part))
        found += connection.execute(
            f"SELECT {ARCHIVED_COLUMNS} FROM archived m WHERE m.nid = ? AND m.id IN ({places})", (nid, *part)
        ).fetchall()
    return [decode_archived(values, namespace) for values in sorted(found, key=lambda values: values[1])]


def under(connection: Connection, nid: int, ids: Sequence[str]) -> list[tuple[int, str, str]]:
    """The sources that summaries of some ids stand for: row id, id, and the id of the summary."""
    held: list[tuple[int, str, str]] = []
    for part in chunked(list(dict.fromkeys(ids))):
        places = ",".join("?" * len(part))
        held += connection.execute(
            f"SELECT rid, id, under FROM main.archived WHERE nid = ? AND under IN ({places}) "
            "AND why = 'consolidated' ORDER BY birth",
            (nid, *part),
        ).fetchall()
    return held


def take(connection: Connection, rids: Sequence[int]) -> list[tuple[list[Any], list[tuple[str, bytes]]]]:
    """Take rows out of the archive: the values of ``INSERTED``, and modality and vector of each passage, by birth."""
    rows: list[tuple[Any, ...]] = []
    for part in chunked(rids):
        places = ",".join("?" * len(part))
        rows += connection.execute(f"SELECT {_OWN} FROM archived WHERE rid IN ({places})", part).fetchall()
    rows.sort(key=lambda values: values[1])
    taken = [
        (
            list(values),
            connection.execute(
                "SELECT modality, vector FROM archived_passages WHERE pid >= ? AND pid < ? ORDER BY pid",
                _span(values[0]),
            ).fetchall(),
        )
        for values in rows
    ]
    drop(connection, [values[0] for values in rows])
    return taken


def drop(connection: Connection, rids: Sequence[int]) -> None:
    """Delete rows from the archive for good."""
    connection.executemany("DELETE FROM main.archived WHERE rid = ?", [(rid,) for rid in rids])
    # Passages and vectors of a move to another embedder that has not ended yet.
    connection.executemany("DELETE FROM main.reembedded WHERE rid = ?", [(rid,) for rid in rids])
    connection.executemany(
        "DELETE FROM main.archived_passages WHERE pid >= ? AND pid < ?", [_span(rid) for rid in rids]
    )


def drop_whole(connection: Connection, nid: int, ids: Sequence[str]) -> list[Held]:
    """Delete archived memories for good, with all that is archived under them, and return which there were."""
    gone: list[Held] = []
    while ids:
        held = find(connection, nid, ids)
        drop(connection, [row[0] for row in held])
        gone += held
        ids = [id_ for _, id_, _ in under(connection, nid, [row[1] for row in held])]
    return gone


def _span(rid: int) -> tuple[int, int]:
    return rid << ORDINAL_BITS, (rid + 1) << ORDINAL_BITS
