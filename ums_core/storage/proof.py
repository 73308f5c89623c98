"""Whether a history is what was written, and memories are what it says of them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from ums_core.errors import InvalidInput, NotADatabase
from ums_core.ports.tending import Progress
from ums_core.storage import journal
from ums_core.storage.connect import Connection
from ums_core.storage.database import Database
from ums_core.storage.history import PUT, Entry
from ums_core.storage.ink import Ink, Notes
from ums_core.storage.keyword import MAX_LIMIT
from ums_core.storage.table import COLUMNS, as_written

__all__ = ["Mark", "doubts", "mark_of"]

# So many memories are compared between two reports.
_STEP = 1000


@dataclass(frozen=True, slots=True)
class Mark:
    """A change that a history had reached, as somebody keeps it who does not trust the place of the database.

    Attributes:
        seq: its number.
        link: authenticates it with all before it.
    """

    seq: int
    link: bytes

    def __str__(self) -> str:
        """Return number and link in one word, to be printed and kept."""
        return f"{self.seq}:{self.link.hex()}"

    @classmethod
    def parse(cls, text: str) -> "Mark":
        """The reverse.

        Raises:
            InvalidInput: it is no mark.
        """
        found = re.fullmatch(r"([0-9]{1,18}):([0-9a-f]{64})", text) if isinstance(text, str) else None
        if found is None:
            raise InvalidInput(f"a mark is what history_mark() gives, such as 17:9f86…, got {str(text)[:80]!r}")
        return cls(int(found[1]), bytes.fromhex(found[2]))


def mark_of(database: Database) -> Mark:
    """Where the history of a database ends now."""
    with database.reader() as connection:
        head, link, _ = journal.tip(connection)
    return Mark(head.seq, link)


def doubts(database: Database, progress: Progress | None = None, reached: Mark | None = None) -> Iterator[str]:
    """What is wrong with the history, in words; nothing where all is right.

    The chain of changes is followed from where it begins, or was pruned, to its end; every memory is compared with the
    digest of what was written; and the rows that are there with those that came and did not go.

    Args:
        database: whose history.
        progress: told how many memories were compared, and of how many.
        reached: what it is known to have reached.

    Raises:
        NotADatabase: there is what was never written, as on a damaged page.

    Costs a pass over the journal and all rows, some 10 microseconds for each memory.
    """
    # Before the snapshot, which then holds at least as much.
    anchor = database.guard.anchor
    noted = None if anchor is None else anchor.read()
    with database.snapshot() as head, database.reader() as connection, as_written():
        if noted is not None and noted.seq > head.seq:
            yield _cut(head.seq, noted.seq)
        if reached is not None:
            yield from _reached(connection, head.seq, reached)
        yield from _chain(connection, database.ink)
        yield from _presence(connection, head.hi)
        counts = {table: _count(connection, table) for table in ("memories", "archived")}
        done, total = 0, sum(counts.values())
        for table, count in counts.items():
            for place, doubt in enumerate(_contents(connection, database.ink, table), 1):
                if progress is not None and (place % _STEP == 0 or place == count):
                    progress(done + place, total)
                yield from doubt
            done += count


def _cut(end: int, reached: int) -> str:
    return f"the history ends with change {end}, and had reached {reached}: its end is missing"


def _reached(connection: Connection, end: int, mark: Mark) -> Iterator[str]:
    begins, link = journal.beginning(connection)
    if mark.seq > end:
        yield _cut(end, mark.seq)
    elif mark.seq < begins:
        yield f"change {mark.seq}, which was reached, is pruned, so nothing can be said of it: take a newer mark"
    else:
        row = connection.execute("SELECT link FROM journal WHERE seq = ?", (mark.seq,)).fetchone()
        found = link if mark.seq == begins else row and row[0]
        if found != mark.link:
            yield f"change {mark.seq} is another one than was reached: this history went its own way before it"


def _chain(connection: Connection, ink: Ink) -> Iterator[str]:
    last, former = journal.beginning(connection)
    names = dict(connection.execute("SELECT aid, name FROM actors").fetchall())
    noted = connection.execute("SELECT seq, who, action, birth, before, after, batch FROM history ORDER BY seq, n")
    groups = groupby(noted, key=lambda row: row[0])
    group = next(groups, None)
    entries = connection.execute(
        "SELECT seq, mark, at, kind, lo, hi, removed, actor, digests, link FROM journal WHERE seq > ? ORDER BY seq",
        (last,),
    )
    for *entry, aid, digests, link in entries:
        seq = entry[0]
        if seq != last + 1:
            yield f"of the changes, {last + 1} to {seq - 1} are missing"
        notes = Notes(ink)
        notes.digests += digests or b""
        while group is not None and group[0] <= seq:
            if group[0] == seq:
                notes.changes += [tuple(row[1:]) for row in group[1]]
            else:
                yield f"the history tells of change {group[0]}, which is none"
            group = next(groups, None)
        if link is None:
            yield f"change {seq} has no entry in the history"
        elif link != ink.link(former, entry, names.get(aid, ""), notes):
            yield f"change {seq} is not what was written, or does not follow the one before it"
        last, former = seq, link or former
    while group is not None:
        yield f"the history tells of change {group[0]}, which is none"
        group = next(groups, None)


def _presence(connection: Connection, hi: int) -> Iterator[str]:
    """Whether the rows that are there are those that came and did not go."""
    hi = min(hi, MAX_LIMIT - 1)
    gone = journal.removed_since(connection, 0)
    held = _numbers(connection, "SELECT rid FROM main.memories ORDER BY rid")
    known = np.union1d(held, gone)
    # What is missing lies between two that are known; one by one, as a number that was tampered with may be huge.
    ends = np.concatenate([[0], known[(known >= 1) & (known <= hi)], [hi + 1]])
    yield from (
        f"row {rid} is gone, and no change took it"
        for place in np.flatnonzero(np.diff(ends) > 1)
        for rid in range(int(ends[place]) + 1, int(ends[place + 1]))
    )
    odd = held[(held < 1) | (held > hi) | np.isin(held, gone)]
    yield from (f"row {rid} is there, and no change brought it" for rid in odd)
    put = _numbers(connection, f"SELECT before FROM history WHERE action IN {PUT}")
    taken = _numbers(connection, f"SELECT before FROM history WHERE action NOT IN {PUT}")
    away = _numbers(connection, "SELECT rid FROM main.archived")
    yield from (
        f"row {rid} is gone from the archive, and no change took it"
        for rid in np.setdiff1d(np.setdiff1d(put, taken), away)
    )
    yield from (f"row {rid} is in the archive, and no change put it there" for rid in np.setdiff1d(away, gone))


def _contents(connection: Connection, ink: Ink, table: str) -> Iterator[tuple[str, ...]]:
    """What is wrong with each row, as far as there is a digest of what was written."""
    entries = _entries(connection)
    entry, end = next(entries, (None, 0))
    for values in connection.execute(f"SELECT {COLUMNS} FROM {table} m ORDER BY m.rid"):
        rid = values[0]
        while entry is not None and rid > end:
            entry, end = next(entries, (None, 0))
        digest = None if entry is None or rid < entry.lo else entry.digest(rid)
        salt = b"" if entry is None else entry.salt(rid) or b""
        right = digest is None or digest == _digest(ink, values, salt)
        yield () if right else (f"memory {values[3]!r} (row {rid} of {table}) does not say what was written",)


def _entries(connection: Connection) -> Iterator[tuple[Entry | None, int]]:
    for *row, digests, salts, hi in connection.execute(
        "SELECT seq, at, lo, actor, digests, salts, hi FROM journal WHERE digests IS NOT NULL ORDER BY seq"
    ):
        yield Entry(row[0], row[1], row[2], row[3], digests, salts or b""), hi


def _digest(ink: Ink, values: Sequence[Any], salt: bytes) -> bytes:
    try:
        with as_written():
            return ink.digest(values, salt)
    except NotADatabase:
        return b""


def _count(connection: Connection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM main.{table}").fetchone()[0])


def _numbers(connection: Connection, sql: str) -> "np.ndarray[Any, np.dtype[np.int64]]":
    found: Iterable[tuple[int]] = connection.execute(sql).fetchall()
    return np.array([row[0] for row in found], np.int64)
