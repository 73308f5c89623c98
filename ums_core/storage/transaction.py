"""One change in the making: rows, vectors, terms, bindings and the journal entry, committed together."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from ums_core.errors import EmbedderMismatch
from ums_core.ports.embedder import EmbedderIdentity
from ums_core.ports.index import Change
from ums_core.ports.ledger import Row
from ums_core.records import Memory, Namespace, Passage
from ums_core.records.match import micros
from ums_core.storage import journal, keyword
from ums_core.storage.connect import Connection
from ums_core.storage.pending import Pending
from ums_core.storage.table import (
    COLUMNS,
    OCCURRED_AT,
    ORDINAL_BITS,
    SPEAKER,
    chunked,
    decode,
    encode,
    encode_namespace,
    passages_of,
)

__all__ = ["Known", "SqlTransaction", "read_bindings", "vectors_of"]

_NONE = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the database without reading it.

    Attributes:
        nids: ids of namespaces, by path.
        bindings: the embedder of each modality.
        secure_terms: whether FTS5 deletes terms for good by itself.
    """

    nids: Mapping[str, int]
    bindings: Mapping[str, EmbedderIdentity]
    secure_terms: bool


class SqlTransaction:
    """What one work of a shared transaction does to the database; it becomes one journal entry, if it did anything.

    Args:
        pending: what the works of this transaction insert.
        head: the end of the journal before this work.
        now: the time that it happens at.
        known: what needs no look into the database.
    """

    def __init__(self, pending: Pending, head: journal.Head, now: datetime, known: Known) -> None:
        self.now = now
        self.new_nids: dict[str, int] = {}
        self.bound: dict[str, EmbedderIdentity] = {}
        self.rebound = False
        self._pending = pending
        self._known = known
        self._seq = head.seq + 1
        self._mark = int.from_bytes(os.urandom(7), "little") + 1
        self._lo = self._next = head.hi + 1
        self._removed: list[int] = []
        self._vectors: dict[str, tuple[list[int], list[npt.NDArray[np.float32]]]] = {}
        self._kind = "add"

    @property
    def connection(self) -> Connection:
        """The writer, with everything that this transaction did before."""
        self._pending.flush()
        return self._pending.connection

    @property
    def seq(self) -> int:
        """Number of the last change, this one included if it changed anything so far."""
        return self._seq if self._removed or self._next > self._lo or self.rebound else self._seq - 1

    @property
    def size(self) -> int:
        """How many rows came and went so far."""
        return self._next - self._lo + len(self._removed)

    @property
    def mark(self) -> int:
        """Random mark of this change."""
        return self._mark

    def bind(self, modality: str, identity: EmbedderIdentity) -> None:
        """Bind the modality, or check that it is bound to this identity; see the port."""
        bound = self.bound.get(modality) or self._known.bindings.get(modality)
        if bound is None:
            bound = read_bindings(self.connection).get(modality)
        if bound is None:
            self.connection.execute(
                "INSERT INTO embedders VALUES (?, ?, ?, ?)", (modality, identity.name, identity.revision, identity.dim)
            )
            self.bound[modality] = identity
        elif bound != identity:
            raise EmbedderMismatch(
                f"the {modality} vectors of this database come from {bound}, not from {identity}: open it with the "
                "former, give vectors of your own of that dimension, or move it with store.reembed()"
            )

    def add(self, rows: Sequence[Row]) -> list[Memory]:
        """Insert or replace; see the port."""
        if len(rows) == 1 and rows[0].fresh:
            last, places = rows, [0]
        else:
            last, places = _last_of_each(rows)
        replaced = self._replaced([row for row in last if not row.fresh])
        pending = self._pending
        stored: list[Memory] = []
        for row in last:
            rid, birth, final = self._next, self._next, row
            self._next += 1
            nid = self._nid(row.memory.namespace)
            old = replaced.get((nid, row.memory.id))
            if old is not None:
                birth, created_at, accessed_at = old
                kept = replace(row.memory, created_at=created_at, last_accessed_at=accessed_at)
                final = replace(row, memory=kept)
            memory = final.memory
            encoded: tuple[Any, ...] = encode(final, rid, birth, nid)
            pending.rows.append(encoded)
            pending.passages += passages_of(final, rid)
            if memory.text:
                pending.terms.append(keyword.terms_of(rid, nid, memory.text, memory.speaker, encoded[OCCURRED_AT]))
            stored.append(memory)
            self._note_vectors(final, rid)
        return [stored[place] for place in places]

    def get(self, ids: Sequence[str], namespace: Namespace, *, vectors: bool = False) -> list[Memory | None]:
        """What this transaction sees; see the port."""
        nid = self._find_nid(namespace)
        return read_memories(self.connection, ids, (namespace, nid), vectors=vectors)

    def delete(self, ids: Sequence[str], namespace: Namespace) -> int:
        """Delete and return how many there were; see the port."""
        nid = self._find_nid(namespace)
        found = [] if nid is None else _identities(self.connection, nid, ids)
        self._remove(found)
        if self._kind == "add" and self._next == self._lo:
            self._kind = "delete"
        return len(found)

    def rebind(self, modality: str, identity: EmbedderIdentity) -> None:
        """Bind the modality to another embedder; its vectors must have been replaced in this transaction."""
        self.connection.execute(
            "INSERT OR REPLACE INTO embedders VALUES (?, ?, ?, ?)",
            (modality, identity.name, identity.revision, identity.dim),
        )
        self.bound[modality] = identity
        self.rebound = True
        self._kind = journal.REBIND

    def finish(self) -> journal.Head:
        """Write the journal entry, if anything was changed, and return the new end of the journal."""
        if not self._removed and self._next == self._lo and not self.rebound:
            return journal.Head(self._seq - 1, self._lo - 1)
        removed = np.array(self._removed, np.int64).tobytes() if self._removed else None
        entry = (self._seq, self._mark, micros(self.now), self._kind, self._lo, self._next - 1, removed)
        self._pending.entries.append(entry)
        return journal.Head(self._seq, self._next - 1)

    def change(self, modality: str, dim: int) -> Change:
        """What this work means for the index of a modality."""
        rids, vectors = self._vectors.get(modality, ([], []))
        if self._removed:
            # What came and went within this work never was.
            gone = set(self._removed)
            kept = [place for place, rid in enumerate(rids) if rid not in gone]
            rids, vectors = [rids[place] for place in kept], [vectors[place] for place in kept]
        matrix = np.array(vectors, np.float32) if vectors else np.empty((0, dim), np.float32)
        removed = np.array(self._removed, np.int64) if self._removed else _NONE
        return Change(seq=self._seq, mark=self._mark, removed=removed, added=np.array(rids, np.int64), vectors=matrix)

    def _note_vectors(self, row: Row, rid: int) -> None:
        for passage, vector in zip(row.memory.passages, row.vectors, strict=True):
            rids, vectors = self._vectors.setdefault(passage.modality, ([], []))
            rids.append(rid)
            vectors.append(vector)

    def _replaced(self, rows: Sequence[Row]) -> dict[tuple[int, str], tuple[int, datetime, datetime]]:
        by_nid: dict[int, list[str]] = {}
        for row in rows:
            nid = self._find_nid(row.memory.namespace)
            if nid is not None:
                by_nid.setdefault(nid, []).append(row.memory.id)
        gone: dict[tuple[int, str], tuple[int, datetime, datetime]] = {}
        for nid, ids in by_nid.items():
            found = _identities(self.connection, nid, ids)
            for values in found:
                old = decode(values, ())
                gone[nid, old.id] = (int(values[1]), old.created_at, old.last_accessed_at)
            self._remove(found)
        return gone

    def _remove(self, found: Sequence[Sequence[Any]]) -> None:
        if not found:
            return
        rids = [int(values[0]) for values in found]
        terms = [
            keyword.terms_of(rid, int(v[2]), str(v[4]), v[SPEAKER], v[OCCURRED_AT])
            for rid, v in zip(rids, found, strict=True)
            if v[4]
        ]
        if terms:
            keyword.remove_terms(self.connection, terms, secure=self._known.secure_terms)
        self.connection.executemany("DELETE FROM memories WHERE rid = ?", [(rid,) for rid in rids])
        self.connection.executemany("DELETE FROM reembedded WHERE rid = ?", [(rid,) for rid in rids])
        self.connection.executemany(
            "DELETE FROM passages WHERE pid >= ? AND pid < ?",
            [(rid << ORDINAL_BITS, (rid + 1) << ORDINAL_BITS) for rid in rids],
        )
        self._removed += rids

    def _nid(self, namespace: Namespace) -> int:
        nid = self._find_nid(namespace)
        if nid is None:
            path = encode_namespace(namespace)
            nid = int(self.connection.execute("INSERT INTO namespaces (path) VALUES (?)", (path,)).lastrowid)
            self.new_nids[path] = nid
        return nid

    def _find_nid(self, namespace: Namespace) -> int | None:
        path = encode_namespace(namespace)
        nid = self._known.nids.get(path) or self.new_nids.get(path)
        if nid is None:
            nid = find_nid(self.connection, path)
            if nid is not None:
                self.new_nids[path] = nid
        return nid


def find_nid(connection: Connection, path: str) -> int | None:
    """The id of a namespace, or None if nothing was ever stored in it."""
    row = connection.execute("SELECT nid FROM namespaces WHERE path = ?", (path,)).fetchone()
    return None if row is None else int(row[0])


def read_bindings(connection: Connection) -> dict[str, EmbedderIdentity]:
    """What each modality is bound to."""
    found = connection.execute("SELECT modality, name, revision, dim FROM embedders").fetchall()
    return {modality: EmbedderIdentity(name, revision, dim) for modality, name, revision, dim in found}


def read_memories(
    connection: Connection, ids: Sequence[str], place: tuple[Namespace, int | None], *, vectors: bool
) -> list[Memory | None]:
    """The memories of one namespace in the order of the ids, None where there is none."""
    namespace, nid = place
    if nid is None:
        return [None] * len(ids)
    found = _identities(connection, nid, ids)
    memories = {str(values[3]): decode(values, namespace) for values in found}
    if vectors:
        held = vectors_of(connection, [int(values[0]) for values in found])
        for values in found:
            memory = memories[str(values[3])]
            memories[memory.id] = with_vectors(memory, held.get(values[0], []))
    return [memories.get(id_) for id_ in ids]


def with_vectors(memory: Memory, vectors: Sequence[npt.NDArray[np.float32]]) -> Memory:
    """The memory with its passages' vectors."""
    passages = tuple(
        Passage(modality=p.modality, start=p.start, end=p.end, text=p.text, vector=vector)
        for p, vector in zip(memory.passages, vectors, strict=True)
    )
    return replace(memory, passages=passages)


def vectors_of(connection: Connection, rids: Sequence[int]) -> dict[int, list[npt.NDArray[np.float32]]]:
    """The vectors of each row's passages, in their order; nothing for a row without any."""
    held: dict[int, list[npt.NDArray[np.float32]]] = {}
    for rid in rids:
        for (blob,) in connection.execute(
            "SELECT vector FROM passages WHERE pid >= ? AND pid < ? ORDER BY pid",
            (rid << ORDINAL_BITS, (rid + 1) << ORDINAL_BITS),
        ):
            held.setdefault(rid, []).append(np.frombuffer(blob, np.float32))
    return held


def _identities(connection: Connection, nid: int, ids: Sequence[str]) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for part in chunked(list(dict.fromkeys(ids))):
        places = ",".join("?" * len(part))
        found += connection.execute(
            f"SELECT {COLUMNS} FROM memories m WHERE m.nid = ? AND m.id IN ({places})", (nid, *part)
        ).fetchall()
    return found


def _last_of_each(rows: Sequence[Row]) -> tuple[Sequence[Row], list[int]]:
    last: dict[tuple[Namespace, str], int] = {}
    for place, row in enumerate(rows):
        last[row.memory.namespace, row.memory.id] = place
    if len(last) == len(rows):
        return rows, list(range(len(rows)))
    kept = sorted(last.values())
    position = {place: order for order, place in enumerate(kept)}
    return [rows[place] for place in kept], [position[last[row.memory.namespace, row.memory.id]] for row in rows]
