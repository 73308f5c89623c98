"""Inserts that wait for each other: the works of one shared transaction write their rows in few statements."""

from typing import Any

from ums_core.storage import journal, keyword
from ums_core.storage.codec import Codec
from ums_core.storage.connect import Connection
from ums_core.storage.ink import Notes
from ums_core.storage.table import INSERT_PASSAGE, insert_rows

__all__ = ["Pending"]


class Pending:
    """Rows that are inserted before anything reads or the transaction ends.

    Args:
        connection: the writer, inside a transaction.
        link: what the next change continues.
        named: who made the last change, and so has a name there.
        codec: hides the words of terms; None leaves them readable.
    """

    __slots__ = ("_link", "_named", "actors", "changes", "codec", "connection", "entries", "passages", "rows", "terms")

    def __init__(self, connection: Connection, link: bytes, named: int | None, codec: Codec | None) -> None:
        self.connection = connection
        self.codec = codec
        self.rows: list[tuple[object, ...]] = []
        self.passages: list[tuple[int, str, bytes]] = []
        self.terms: list[keyword.Terms] = []
        self.entries: list[journal.Entry] = []
        self.changes: list[tuple[object, ...]] = []
        self.actors: dict[int, str] = {}
        self._link = link
        self._named = named

    def note(self, entry: tuple[Any, ...], notes: Notes, actor: str) -> None:
        """Let a change be entered: the first seven values of its entry, what it does to memories, and who made it."""
        link = self._link = notes.ink.link(self._link, entry, actor, notes)
        aid = notes.ink.aid(actor)
        if aid != self._named:
            self.actors[aid] = actor
        self.entries.append((*entry, aid, bytes(notes.digests) or None, bytes(notes.salts) or None, link))
        self.changes += [(entry[0], place, *change) for place, change in enumerate(notes.changes)]

    def flush(self) -> None:
        """Insert what waits."""
        if self.rows:
            insert_rows(self.connection, self.rows)
            self.rows = []
        if self.passages:
            self.connection.executemany(INSERT_PASSAGE, self.passages)
            self.passages = []
        if self.terms:
            terms = self.terms if self.codec is None else self.codec.hidden(self.terms)
            keyword.write_terms(self.connection, terms)
            self.terms = []
        if self.entries:
            journal.append(self.connection, self.entries)
            journal.name(self.connection, self.actors)
            self.entries, self.actors = [], {}
        if self.changes:
            self.connection.executemany("INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?, ?)", self.changes)
            self.changes = []
