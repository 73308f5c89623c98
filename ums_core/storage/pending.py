"""Inserts that wait for each other: the works of one shared transaction write their rows in few statements."""

from ums_core.storage import journal, keyword
from ums_core.storage.codec import Codec
from ums_core.storage.connect import Connection
from ums_core.storage.table import INSERT, INSERT_PASSAGE

__all__ = ["Pending"]


class Pending:
    """Rows that are inserted before anything reads or the transaction ends.

    Args:
        connection: the writer, inside a transaction.
        codec: hides the words of terms; None leaves them readable.
    """

    __slots__ = ("codec", "connection", "entries", "passages", "rows", "terms")

    def __init__(self, connection: Connection, codec: Codec | None = None) -> None:
        self.connection = connection
        self.codec = codec
        self.rows: list[tuple[object, ...]] = []
        self.passages: list[tuple[int, str, bytes]] = []
        self.terms: list[keyword.Terms] = []
        self.entries: list[journal.Entry] = []

    def flush(self) -> None:
        """Insert what waits."""
        if self.rows:
            self.connection.executemany(INSERT, self.rows)
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
            self.entries = []
