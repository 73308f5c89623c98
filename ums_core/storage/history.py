"""Who did what to which memory: read, and forgotten as far as it must be."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from ums_core.errors import MemoryNotFound
from ums_core.records import Namespace
from ums_core.records.lifecycle import Change
from ums_core.storage import journal
from ums_core.storage.connect import Connection
from ums_core.storage.database import Database
from ums_core.storage.ink import DIGEST_BYTES, Ink
from ums_core.storage.keyword import MAX_LIMIT
from ums_core.storage.reading import find_nid
from ums_core.storage.table import as_written, encode_namespace, moment

__all__ = ["BLANK", "PUT", "Entry", "blotted", "changes_of", "entry_of", "prunable", "pruned", "salted"]

# What puts a memory into the archive, where its row is as it was.
PUT = "('consolidated', 'forgotten', 'superseded')"

# A digest that was pruned, or a salt that was forgotten.
BLANK = bytes(DIGEST_BYTES)


@dataclass(frozen=True, slots=True)
class Entry:
    """One change of the journal, with the digests of the rows that came with it.

    Attributes:
        seq: its number.
        at: microseconds since 1970.
        lo: the first of the rows.
        aid: who made it; None where that was not recorded, or is pruned.
        digests: of the rows, in their order; empty where there are none.
        salts: likewise.
    """

    seq: int
    at: int
    lo: int
    aid: int | None
    digests: bytes
    salts: bytes

    def digest(self, rid: int) -> bytes | None:
        """That of one of the rows; None where there is none."""
        return _piece(self.digests, rid - self.lo)

    def salt(self, rid: int) -> bytes | None:
        """Likewise."""
        return _piece(self.salts, rid - self.lo)


@dataclass(frozen=True, slots=True)
class _Past:
    """What is known of an identity.

    Attributes:
        noted: what was done to it but for its coming: seq, n, action, birth, before, after, batch.
        births: row ids that it began with; several, where it was deleted and came again.
        rids: of all its rows.
    """

    noted: list[tuple[Any, ...]]
    births: set[int]
    rids: set[int]


def changes_of(database: Database, id_: str, namespace: Namespace) -> list[Change]:
    """What was done to a memory, the first first, as far as it was recorded and is not pruned.

    Costs a few look-ups for each change, however many memories there are.

    Raises:
        MemoryNotFound: there is no such memory, and nothing is known of one.
        NotADatabase: there is what was never written, as on a damaged page.
    """
    with database.snapshot(), database.reader() as connection, as_written():
        nid = find_nid(connection, encode_namespace(namespace))
        past = _Past([], set(), set()) if nid is None else _past(connection, database.ink, nid, id_)
        if not past.births:
            raise MemoryNotFound(f"no memory {id_!r} was ever in namespace {namespace!r}, or its history is pruned")
        told: list[tuple[int, int, str, int | None, int | None, str | None]] = []
        for birth in past.births:
            entry = entry_of(connection, birth)
            if entry is not None and entry.aid is not None:
                told.append((entry.seq, -1, "added", None, birth, None))
        # What was brought back is what was put away, under another row id.
        same: dict[int | None, int] = {}
        for seq, n, action, _, before, after, batch in past.noted:
            if action == "restored":
                same[after] = same.get(before, before)
            told.append((seq, n, action, same.get(before, before), same.get(after, after), batch))
        return [_change(connection, each, (namespace, id_)) for each in sorted(told, key=lambda each: each[:2])]


def blotted(connection: Connection, ink: Ink, nid: int, ids: Iterable[str]) -> None:
    """Forget the salts of memories, so that no digest of what they ever said can be told from any other.

    To be called before they are deleted.
    """
    _blot(connection, {rid for id_ in ids for rid in _past(connection, ink, nid, id_).rids}, digests=False)


def salted(connection: Connection, ink: Ink, place: tuple[int, Sequence[str]], until: int) -> int:
    """How many rows of memories that were erased by a change still have their salt."""
    nid, ids = place
    rids = {
        rid
        for id_ in ids
        for seq, _, _, birth, before, after, _ in _past(connection, ink, nid, id_).noted
        for rid in (birth, before, after)
        if seq <= until and rid is not None
    }
    return sum(entry.salt(rid) is not None for entry, part in _by_entry(connection, rids) for rid in part)


def pruned(connection: Connection, before: int, limit: int) -> int:
    """Forget the oldest changes, at most so many, and return how many there were.

    The newest change stays, and so do the digests of rows that are still there; the chain goes on from a link that is
    kept. Neither a memory nor what an index replays is touched.

    Args:
        connection: the writer.
        before: microseconds since 1970; from that moment on everything stays.
        limit: of changes.
    """
    start, _ = journal.beginning(connection)
    # One more tells whether this is the last one of several batches.
    found = connection.execute(
        "SELECT seq, at, link FROM journal WHERE seq > ? AND seq < (SELECT max(seq) FROM journal) ORDER BY seq LIMIT ?",
        (start, min(limit, MAX_LIMIT - 1) + 1),
    ).fetchall()
    due = list(takewhile(lambda row: row[1] < before, found))
    if not due:
        return 0
    old = due[:limit]
    end, _, link = old[-1]
    dead = connection.execute(f"SELECT before FROM history WHERE seq <= ? AND action NOT IN {PUT}", (end,)).fetchall()
    connection.execute("DELETE FROM history WHERE seq <= ?", (end,))
    _blot(connection, {rid for (rid,) in dead}, digests=True)
    connection.execute("UPDATE journal SET actor = NULL, link = NULL WHERE seq > ? AND seq <= ?", (start, end))
    if len(old) == len(due):
        connection.execute(
            "DELETE FROM main.actors WHERE aid NOT IN (SELECT actor FROM journal WHERE actor IS NOT NULL)"
        )
    journal.begin_after(connection, end, link)
    return len(old)


def prunable(connection: Connection, before: int) -> int:
    """How many changes pruning would forget, all in all: up to the first that is not older, as a clock may go back."""
    start, _ = journal.beginning(connection)
    later = "SELECT seq FROM journal WHERE seq > ? AND at >= ? ORDER BY seq LIMIT 1"
    return int(
        connection.execute(
            "SELECT count(*) FROM journal WHERE seq > ? AND seq < (SELECT max(seq) FROM journal) "
            f"AND seq < coalesce(({later}), ?)",
            (start, start, before, MAX_LIMIT),
        ).fetchone()[0]
    )


def entry_of(connection: Connection, rid: int) -> Entry | None:
    """The change that a row came with, if any; row ids ascend with the numbers of changes."""
    # Both in one SELECT would be a pass over all changes.
    low, high = connection.execute("SELECT (SELECT min(seq) FROM journal), (SELECT max(seq) FROM journal)").fetchone()
    while low is not None and low < high:
        middle = (low + high + 1) // 2
        lo = connection.execute("SELECT lo FROM journal WHERE seq <= ? ORDER BY seq DESC LIMIT 1", (middle,)).fetchone()
        low, high = (middle, high) if lo[0] <= rid else (low, middle - 1)
    row = connection.execute(
        "SELECT seq, at, lo, actor, digests, salts FROM journal WHERE seq <= ? AND ? BETWEEN lo AND hi "
        "ORDER BY seq DESC LIMIT 1",
        (low, rid),
    ).fetchone()
    return None if row is None else Entry(row[0], row[1], row[2], row[3], row[4] or b"", row[5] or b"")


def _blot(connection: Connection, rids: Iterable[int], *, digests: bool) -> None:
    """Forget the salts of rows, and where told so their digests."""
    for entry, part in _by_entry(connection, rids):
        places = [rid - entry.lo for rid in part]
        kept = _without(entry.digests, places) if digests else entry.digests
        connection.execute(
            "UPDATE journal SET digests = ?, salts = ? WHERE seq = ?",
            (kept, _without(entry.salts, places), entry.seq),
        )


def _by_entry(connection: Connection, rids: Iterable[int]) -> Iterator[tuple[Entry, list[int]]]:
    """The changes with digests that rows came with, and the rows that came with each, ascending."""
    left = deque(sorted(rids))
    while left:
        entry = entry_of(connection, left[0])
        if entry is None or not entry.digests:
            left.popleft()
            continue
        part = []
        while left and left[0] < entry.lo + len(entry.digests) // DIGEST_BYTES:
            part.append(left.popleft())
        yield entry, part


def _without(pieces: bytes, places: Iterable[int]) -> bytes | None:
    """The pieces, those at some places blank; None where all are."""
    left = bytearray(pieces)
    for place in places:
        left[DIGEST_BYTES * place : DIGEST_BYTES * (place + 1)] = BLANK
    return bytes(left) if any(left) else None


def _past(connection: Connection, ink: Ink, nid: int, id_: str) -> _Past:
    noted = connection.execute(
        "SELECT seq, n, action, birth, before, after, batch FROM history WHERE who = ? ORDER BY seq, n",
        (ink.who(nid, id_),),
    ).fetchall()
    held = [
        row
        for table in ("memories", "archived")
        for row in connection.execute(f"SELECT rid, birth FROM main.{table} WHERE nid = ? AND id = ?", (nid, id_))
    ]
    births = {each[3] for each in noted} | {birth for _, birth in held}
    later = {rid for each in noted for rid in each[4:6] if rid is not None}
    return _Past(noted, births, births | later | {rid for rid, _ in held})


def _change(
    connection: Connection,
    told: tuple[int, int, str, int | None, int | None, str | None],
    identity: tuple[Namespace, str],
) -> Change:
    seq, _, action, before, after, batch = told
    at, actor = connection.execute(
        "SELECT j.at, a.name FROM journal j LEFT JOIN actors a ON a.aid = j.actor WHERE j.seq = ?", (seq,)
    ).fetchone()
    return Change(
        seq=seq,
        at=moment(at),
        actor=actor or "",
        action=action,  # type: ignore[arg-type]  # one of them is what was written
        id=identity[1],
        namespace=identity[0],
        before=_hex(connection, before),
        after=_hex(connection, after),
        batch=batch,
    )


def _hex(connection: Connection, rid: int | None) -> str | None:
    entry = None if rid is None else entry_of(connection, rid)
    digest = None if entry is None or rid is None else entry.digest(rid)
    return None if digest is None else digest.hex()


def _piece(pieces: bytes, place: int) -> bytes | None:
    piece = pieces[DIGEST_BYTES * place : DIGEST_BYTES * (place + 1)]
    return None if piece in {b"", BLANK} else piece
