"""Memories by their rows, those that were asked for before from memory: hits come again.

A row id stands for one version of a memory and is never used twice, so of what was read only a few columns can be
otherwise later, or the whole row gone. SQLite tells a connection whether anybody has committed since it looked last: if
nobody has, nothing is read at all; if somebody has, those few columns are, and of a sealed row all, which are opened
again only where they differ.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import count
from operator import itemgetter
from typing import Any, TypeAlias

from ums_core.records import Memory, Namespace
from ums_core.records.assembled import assembled
from ums_core.storage.connect import Connection
from ums_core.storage.table import COLUMNS, as_written, chunked, decode, decode_metadata

__all__ = ["RowCache"]

# What ``in_place``, ``SqlTransaction`` and ``reembed`` change without another version of the row.
_CHANGING = ("m.rid", "m.last_accessed_at", "m.expires_at", "m.final", "m.spans", "m.accesses")
_NAMES = COLUMNS.split(", ")
_changing: Callable[[Sequence[Any]], tuple[Any, ...]] = itemgetter(*map(_NAMES.index, _CHANGING))
_METADATA = _NAMES.index("m.metadata")
# What may be long.
_long = itemgetter(
    *(_NAMES.index(f"m.{name}") for name in ("text", "caption", "metadata", "tags", "source_ids", "spans"))
)
# Rows that are kept, and characters of one.
_ROWS, _SMALL = 8192, 4096

Opened: TypeAlias = Callable[[Sequence[Any], Namespace], Sequence[Any]]


class RowCache:
    """Reads memories by their rows. Thread-safe; a connection has one caller at a time.

    A row that is remembered takes some 2 kB where its text has 200 characters; one of more than 4,096 is not.

    Args:
        namespaces: labels by namespace id.
        opened: opens the values of ``table.COLUMNS`` in that namespace; None where they are not sealed.
        rows: how many are remembered at most.
    """

    def __init__(self, namespaces: Mapping[int, Namespace], opened: Opened | None = None, *, rows: int = _ROWS) -> None:
        self._namespaces = namespaces
        self._size = rows
        self._opened = opened
        # What is sealed is compared as well: whoever puts other bytes there is found out.
        self._compared = ", ".join(_CHANGING) if opened is None else COLUMNS
        self._part = _changing if opened is None else tuple
        self._readings = count()
        self.forget()

    def select(self, connection: Connection, rids: Sequence[int]) -> dict[int, Memory]:
        """The memories of those rows that exist, by row id.

        Raises:
            NotADatabase: a row holds what was never written, as on a damaged page.
            SealBroken, KeyFailure: as the codec.
        """
        kept, sure = self._kept, self._sure(connection)
        held = kept.among(rids)
        found = {rid: row.memory() for rid, row in held.items() if row.reading in sure}
        if len(found) < len(held):
            doubtful = {rid: row for rid, row in held.items() if row.reading not in sure}
            found |= self._compare(connection, doubtful, sure)
            kept.drop(doubtful.keys() - found.keys())
        if len(found) < len(rids):
            found |= self._read(connection, [rid for rid in rids if rid not in found] if found else rids, sure, kept)
        return found

    def forget(self) -> None:
        """Drop what is remembered; a search that is under way remembers nothing more."""
        self._kept = _Kept(self._size)
        self._seen: dict[Connection, tuple[int, set[int]]] = {}

    def _sure(self, connection: Connection) -> set[int]:
        """The readings that were right for this connection since anybody committed.

        Readings and not rows: another thread may look at an earlier moment, and keep what a row held then.
        """
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        known, sure = self._seen.get(connection, (None, set[int]()))
        if known != version or len(sure) >= self._size:
            _, sure = self._seen[connection] = version, set()
        return sure

    def _compare(self, connection: Connection, doubtful: Mapping[int, "_Row"], sure: set[int]) -> dict[int, Memory]:
        """Those that are as they were."""
        found: dict[int, Memory] = {}
        for part in chunked(list(doubtful)):
            for values in connection.execute(_selecting(self._compared, len(part)), part).fetchall():
                row = doubtful[values[0]]
                if values == row.compared:
                    found[values[0]] = row.memory()
                    sure.add(row.reading)
        return found

    def _read(self, connection: Connection, rids: Sequence[int], sure: set[int], kept: "_Kept") -> dict[int, Memory]:
        found: dict[int, Memory] = {}
        again = kept.meet(rids)
        for part in chunked(rids):
            rows = connection.execute(_selecting(COLUMNS, len(part)), part).fetchall()
            with as_written():
                for bare in rows:
                    rid, namespace = bare[0], self._namespaces[bare[2]]
                    values = bare if self._opened is None else self._opened(bare, namespace)
                    memory = found[rid] = decode(values, namespace)
                    if rid in again and sum(map(len, filter(None, _long(values)))) <= _SMALL:
                        row = _Row(next(self._readings), self._part(bare), memory, values[_METADATA])
                        kept.put(rid, row)
                        sure.add(row.reading)
        return found


class _Row:
    """What a row held.

    Attributes:
        reading: number of it.
        compared: values as they stand in the table; while they do, the rest does, too.
    """

    __slots__ = ("_fields", "_flat", "_metadata", "compared", "reading")

    def __init__(self, reading: int, compared: tuple[Any, ...], memory: Memory, metadata: str | None) -> None:
        self.reading = reading
        self.compared = compared
        self._fields = vars(memory).copy()
        self._metadata = metadata
        nested = any(isinstance(value, dict | list) for value in memory.metadata.values())
        self._flat = None if nested else memory.metadata.copy()

    def memory(self) -> Memory:
        """It as a memory, with metadata that whoever gets it may change."""
        fields, flat = self._fields.copy(), self._flat
        fields["metadata"] = decode_metadata(self._metadata) if flat is None else flat.copy()
        return assembled(Memory, fields)


class _Kept:
    """The rows that were asked for again; of others, which are most, it is only known that they were read.

    Two generations: what nobody asked for while a whole one came goes. Races cost a row, no more.

    Args:
        rows: how many are kept at most.
    """

    def __init__(self, rows: int) -> None:
        self._met = set[int]()
        self._young: dict[int, _Row] = {}
        self._old: dict[int, _Row] = {}
        self._most = rows

    def among(self, rids: Iterable[int]) -> dict[int, _Row]:
        """Those of the rows that are kept."""
        young, old, held = self._young, self._old, dict[int, _Row]()
        for rid in rids:
            row = young.get(rid)
            if row is None:
                row = old.get(rid)
                if row is None:
                    continue
                self.put(rid, row)
            held[rid] = row
        return held

    def put(self, rid: int, row: _Row) -> None:
        """Keep a row."""
        if len(self._young) >= self._most // 2:
            self._old, self._young = self._young, {}
        self._young[rid] = row

    def drop(self, rids: Iterable[int]) -> None:
        """Keep them no longer."""
        for rid in rids:
            self._young.pop(rid, None)
            self._old.pop(rid, None)

    def meet(self, rids: Sequence[int]) -> set[int]:
        """Those of the rows that were read before; from now on all of them were."""
        again = self._met.intersection(rids)
        if len(self._met) >= 2 * self._most:
            self._met = set()
        self._met.update(rids)
        return again


@cache
def _selecting(columns: str, count: int) -> str:
    """The statement that reads so many bare rows; one text each, as the driver finds what it has prepared by text."""
    return f"SELECT {columns} FROM main.memories m WHERE m.rid IN ({','.join('?' * count)})"
