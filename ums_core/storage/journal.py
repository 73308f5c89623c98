"""The change journal: what an index replays to catch up with storage."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ums_core.ports.index import Change
from ums_core.ports.ledger import Head
from ums_core.storage import secret
from ums_core.storage.connect import Connection
from ums_core.storage.ink import GENESIS, Ink
from ums_core.storage.table import ORDINAL_BITS
from ums_core.storage.vectors import unpack_all

__all__ = [
    "REBIND",
    "Entry",
    "Head",
    "append",
    "begin_after",
    "beginning",
    "begun",
    "changes_since",
    "head",
    "mark_of",
    "name",
    "rebound_since",
    "removed_since",
    "tip",
]

# A change of the database's embedder: every vector of the modality is another one.
REBIND = "rebind"

_BATCH_ROWS = 16_384
_BEGINNING, _SEQ_BYTES = "history_beginning", 8

# seq, mark, time in microseconds, kind, first and last new row id, rows gone as int64; who made it, digests and salts
# of the new rows, and the link of the chain.
Entry = tuple[int, int, int, str, int, int, bytes | None, int, bytes | None, bytes | None, bytes]


def head(connection: Connection) -> Head:
    """The end of the journal, as the connection sees it now."""
    row = connection.execute("SELECT seq, hi FROM journal ORDER BY seq DESC LIMIT 1").fetchone()
    return Head(*row) if row else Head(0, 0)


def append(connection: Connection, entries: Sequence[Entry]) -> None:
    """Note changes, one entry each."""
    connection.executemany("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", entries)


def tip(connection: Connection) -> tuple[Head, bytes, int | None]:
    """As ``head``, with the link that the next change continues, and who made the last one."""
    row = connection.execute("SELECT seq, hi, link, actor FROM journal ORDER BY seq DESC LIMIT 1").fetchone()
    return (Head(*row[:2]), row[2] or GENESIS, row[3]) if row else (Head(0, 0), GENESIS, None)


def begun(connection: Connection) -> Ink:
    """What the history is written in; where there is none yet, it begins here."""
    if secret.read(connection, _BEGINNING) is None:
        first = connection.execute("SELECT min(seq) FROM journal WHERE link IS NOT NULL").fetchone()[0]
        begin_after(connection, head(connection).seq if first is None else first - 1, GENESIS)
    return Ink(secret.made(connection, "history_key"))


def beginning(connection: Connection) -> tuple[int, bytes]:
    """The change after which the history begins, and its link."""
    kept = secret.read(connection, _BEGINNING) or bytes(_SEQ_BYTES) + GENESIS
    return int.from_bytes(kept[:_SEQ_BYTES], "little"), kept[_SEQ_BYTES:]


def begin_after(connection: Connection, seq: int, link: bytes) -> None:
    """Let the history begin after a change."""
    secret.keep(connection, _BEGINNING, seq.to_bytes(_SEQ_BYTES, "little") + link)


def name(connection: Connection, actors: Mapping[int, str]) -> None:
    """Note the names of those who made changes, once each."""
    for aid, actor in actors.items():
        if connection.execute("SELECT 1 FROM main.actors WHERE aid = ?", (aid,)).fetchone() is None:
            connection.execute("INSERT INTO actors VALUES (?, ?)", (aid, actor))


def mark_of(connection: Connection, seq: int) -> int:
    """The mark of a change; 0 where there is no such change."""
    row = connection.execute("SELECT mark FROM journal WHERE seq = ?", (seq,)).fetchone()
    return 0 if row is None else int(row[0])


def rebound_since(connection: Connection, seq: int) -> bool:
    """Whether the database changed its embedder after a change."""
    return (
        connection.execute("SELECT 1 FROM journal WHERE seq > ? AND kind = ? LIMIT 1", (seq, REBIND)).fetchone()
        is not None
    )


def removed_since(connection: Connection, seq: int, until: int = 2**63 - 1) -> npt.NDArray[np.int64]:
    """Row ids that went after a change, up to and including another one."""
    rows = connection.execute(
        "SELECT removed FROM journal WHERE seq > ? AND seq <= ? AND removed IS NOT NULL", (seq, until)
    ).fetchall()
    return np.frombuffer(b"".join(row[0] for row in rows), np.int64)


def changes_since(connection: Connection, seq: int, modality: str, dim: int) -> Iterator[Change]:
    """All that an index which has reached ``seq`` must take up, in few large changes.

    Rows that came and went meanwhile are not among those that came.
    """
    entries = connection.execute(
        "SELECT seq, lo, hi, removed, mark FROM journal WHERE seq > ? ORDER BY seq", (seq,)
    ).fetchall()
    start = 0
    while start < len(entries):
        stop, size = start, 0
        while stop < len(entries) and size < _BATCH_ROWS:
            size += entries[stop][2] - entries[stop][1] + 1
            stop += 1
        part = entries[start:stop]
        start = stop
        added, vectors = _vectors_between(connection, (part[0][1], part[-1][2]), modality, dim)
        gone = b"".join(entry[3] for entry in part if entry[3])
        yield Change(
            seq=part[-1][0], mark=part[-1][4], removed=np.frombuffer(gone, np.int64), added=added, vectors=vectors
        )


def _vectors_between(
    connection: Connection, span: tuple[int, int], modality: str, dim: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    lo, hi = span
    found = connection.execute(
        "SELECT pid, vector FROM passages WHERE pid >= ? AND pid < ? AND modality = ? ORDER BY pid",
        (lo << ORDINAL_BITS, (hi + 1) << ORDINAL_BITS, modality),
    ).fetchall()
    rids = np.fromiter((row[0] for row in found), np.int64, len(found)) >> ORDINAL_BITS
    vectors = unpack_all([row[1] for row in found]) if found else np.empty((0, dim), np.float32)
    return rids, vectors
