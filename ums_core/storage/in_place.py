"""What use changes of a memory: in place, without another version of the row, and so without work for any index."""

from collections.abc import Sequence
from datetime import datetime

from ums_core.records.match import micros
from ums_core.storage.connect import Connection

__all__ = ["refresh", "reinforce"]


def reinforce(connection: Connection, nid: int, ids: Sequence[str], now: datetime, spacing_us: int) -> int:
    """Note a use of those that live, and return how many there were.

    Args:
        connection: the writer.
        nid: id of their namespace.
        ids: each counts once.
        now: the moment; none moves back.
        spacing_us: a use that comes so many microseconds after the one before, or is the first one, strengthens.
    """
    at = micros(now)
    return sum(
        connection.execute(
            "UPDATE main.memories SET accesses = accesses + (accesses = 0 OR ? - last_accessed_at >= ?), "
            "last_accessed_at = max(last_accessed_at, ?) "
            "WHERE nid = ? AND id = ? AND (expires_at IS NULL OR expires_at > ?)",
            (at, spacing_us, at, nid, id_, at),
        ).rowcount
        for id_ in dict.fromkeys(ids)
    )


def refresh(connection: Connection, nid: int, ids: Sequence[str], now: datetime) -> None:
    """Let the time to live of those that have one and live begin anew."""
    at = micros(now)
    connection.executemany(
        "UPDATE main.memories SET expires_at = max(expires_at, ? + ttl) "
        "WHERE nid = ? AND id = ? AND ttl IS NOT NULL AND expires_at > ?",
        [(at, nid, id_, at) for id_ in ids],
    )
