"""Which rows a namespace prefix and a filter allow: read once, then only extended by what is new.

A row id stands for one version of a memory and is never used twice, so whether it meets a condition never changes, but
for the few fields that change in place: what was read up to some row id stays right. Rows that went stay in a set, and
tell there that something took their place, until it is twice as large as when it was read.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from ums_core.ports.index import RowSet
from ums_core.ranking.lexical import among
from ums_core.records import Filter, Namespace
from ums_core.storage.connect import Connection, Reader
from ums_core.storage.filters import compile_filter
from ums_core.storage.table import prefix_range

__all__ = ["AllowedRows", "changes_in_place", "condition_sql", "read_rids"]

_CACHE_BYTES = 32 * 2**20
# So many rows may come to a set, beside as many as it had, before it is read anew.
_GROWTH = 1000
# What use and consolidation change without a new version of the row.
_IN_PLACE = frozenset({"last_accessed_at", "accesses", "expires_at", "final"})


def condition_sql(namespace: Namespace, condition: Filter | None, *, passing: bool = False) -> tuple[str, list[object]]:
    """SQL over ``memories m`` and its values; an empty string allows every row.

    With ``passing`` the namespace is tested row by row as they pass, and its index left alone.
    """
    clauses: list[str] = []
    values: list[object] = []
    if namespace:
        clauses.append(f"{'+' if passing else ''}m.nid IN (SELECT nid FROM namespaces WHERE path >= ? AND path < ?)")
        values += prefix_range(namespace)
    if condition is not None:
        sql, bound = compile_filter(condition)
        clauses.append(f"({sql})")
        values += bound
    return " AND ".join(clauses), values


def changes_in_place(condition: Filter) -> bool:
    """Whether rows may come to meet a condition, or cease to, while they stay the rows that they are."""
    return condition.field in _IN_PLACE or any(changes_in_place(part) for part in condition.parts)


@dataclass(slots=True)
class _Entry:
    rows: RowSet
    read_to: int
    begun_with: int

    @property
    def outgrown(self) -> bool:
        """Whether most of its rows may have gone."""
        return len(self.rows) > 2 * self.begun_with + _GROWTH


class AllowedRows:
    """A cache of row sets by condition, bounded by bytes, least recently used out. Thread-safe."""

    def __init__(self, max_bytes: int = _CACHE_BYTES) -> None:
        self._entries: OrderedDict[tuple[str, tuple[object, ...]], _Entry] = OrderedDict()
        self._bytes = 0
        self._max_bytes = max_bytes
        self._mutex = threading.Lock()
        # By a set: what had expired, and the rows without that.
        self._unexpired: WeakKeyDictionary[RowSet, tuple[bytes, RowSet]] = WeakKeyDictionary()

    def of(
        self, reader: Callable[[], Reader], namespace: Namespace, condition: Filter | None, hi: int
    ) -> RowSet | None:
        """The rows under a prefix that meet a condition, up to row id ``hi`` at least; None is all."""
        sql, values = condition_sql(namespace, condition)
        if not sql:
            return None
        with reader() as connection:
            if condition is not None and changes_in_place(condition):
                return RowSet(read_rids(connection, sql, values))
            return self.get(connection, sql, values, hi)

    def unexpired(
        self, reader: Callable[[], Reader], namespace: Namespace, condition: Filter | None, hi: int, now: int
    ) -> RowSet:
        """The same without those that have expired; the same set as before, as long as nothing came or expired.

        Args:
            reader: lends a connection.
            namespace: a prefix.
            condition: None is every row.
            hi: a row id.
            now: in us since 1970.
        """
        rows = self.of(reader, namespace, condition, hi)
        with reader() as connection:
            rows = self.get(connection, "TRUE", [], hi) if rows is None else rows
            expired = read_rids(connection, "m.expires_at <= ?", [now])
        known, left = self._unexpired.get(rows, (b"", rows))
        if known != expired.tobytes():
            left = RowSet(rows.rids[~among(rows.rids, expired)])
            with self._mutex:
                self._unexpired[rows] = expired.tobytes(), left
        return left

    def get(self, connection: Connection, sql: str, values: Sequence[object], hi: int) -> RowSet:
        """The rows that meet a condition, up to row id ``hi`` at least.

        Cost: the first call reads the table or its namespace index; a later one only the rows since, or all again
        where they have doubled.
        """
        # A bool equals 1 as a key, and must not share its rows.
        key = (sql, tuple((type(value), value) for value in values))
        with self._mutex:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
        if entry is not None and entry.read_to >= hi:
            return entry.rows
        if entry is None or entry.outgrown:
            entry = _Entry(RowSet(np.empty(0, np.int64)), 0, 0)
        new = read_rids(connection, f"m.rid > ? AND {sql}", [entry.read_to, *values])
        rows = RowSet(np.concatenate([entry.rows.rids, new])) if len(new) else entry.rows
        self._put(key, _Entry(rows, max([hi, *new[-1:].tolist()]), entry.begun_with or len(new)))
        return rows

    def clear(self) -> None:
        """Forget everything."""
        with self._mutex:
            self._entries.clear()
            self._bytes = 0

    def _put(self, key: tuple[str, tuple[object, ...]], entry: _Entry) -> None:
        with self._mutex:
            old = self._entries.pop(key, None)
            self._bytes += entry.rows.rids.nbytes - (old.rows.rids.nbytes if old else 0)
            self._entries[key] = entry
            while self._bytes > self._max_bytes:
                self._bytes -= self._entries.popitem(last=False)[1].rows.rids.nbytes


def read_rids(connection: Connection, sql: str, values: Sequence[object]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The ids of the rows that meet a condition over ``memories m``, ascending."""
    found = connection.execute(f"SELECT m.rid FROM memories m WHERE {sql}", values).fetchall()
    rids = np.fromiter((row[0] for row in found), np.int64, len(found))
    rids.sort()
    return rids
