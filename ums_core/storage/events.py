"""The journal, as somebody reads it who follows the store."""

from bisect import bisect_left, bisect_right
from datetime import UTC, datetime, timedelta

from ums_core.records.event import Event, Identity
from ums_core.storage.connect import Connection
from ums_core.storage.table import decode_namespace

__all__ = ["read"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RID_BYTES = 8


def read(connection: Connection, after: int, limit: int) -> list[Event]:
    """The changes after a number, ascending, at most ``limit``."""
    entries = connection.execute(
        "SELECT seq, at, lo, hi, length(removed) FROM journal WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit)
    ).fetchall()
    if not entries:
        return []
    # The rows of consecutive changes are consecutive.
    rows = connection.execute(
        "SELECT m.rid, n.path, m.id FROM memories m JOIN namespaces n ON n.nid = m.nid "
        "WHERE m.rid BETWEEN ? AND ? ORDER BY m.rid",
        (entries[0][2], entries[-1][3]),
    ).fetchall()
    rids = [row[0] for row in rows]
    return [
        Event(
            seq=seq,
            at=_EPOCH + timedelta(microseconds=at),
            stored=tuple(
                Identity(namespace=decode_namespace(path), id=id_)
                for _, path, id_ in rows[bisect_left(rids, lo) : bisect_right(rids, hi)]
            ),
            removed=(removed or 0) // _RID_BYTES,
        )
        for seq, at, lo, hi, removed in entries
    ]
