"""One change in the making: rows, vectors, terms, bindings and the journal entry, committed together."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ums_core.errors import EmbedderMismatch
from ums_core.ports.embedder import EmbedderIdentity
from ums_core.ports.index import Change
from ums_core.ports.ledger import Archiving, Row, VectorType
from ums_core.records import Memory, Namespace
from ums_core.records.lifecycle import Action
from ums_core.records.match import micros
from ums_core.storage import journal, keyword, shelf
from ums_core.storage.codec import Codec
from ums_core.storage.connect import Connection
from ums_core.storage.ink import Ink, Notes
from ums_core.storage.pending import Pending
from ums_core.storage.reading import find_nid, identities, read_bindings, read_memories, rows_of
from ums_core.storage.table import (
    ORDINAL_BITS,
    decode,
    encode,
    encode_namespace,
    moment,
    passages_of,
    source_of,
)
from ums_core.storage.vectors import unpack

__all__ = ["Known", "SqlTransaction", "in_name_of"]

T = TypeVar("T")

_NONE = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the database without reading it.

    Attributes:
        nids: ids of namespaces, by path.
        bindings: the embedder of each modality.
        secure_terms: whether FTS5 deletes terms for good by itself.
        vector_type: how vectors are kept.
        ink: what the history is written in.
        codec: of a database in field mode.
    """

    nids: Mapping[str, int]
    bindings: Mapping[str, EmbedderIdentity]
    secure_terms: bool
    vector_type: VectorType
    ink: Ink
    codec: Codec | None = None


@dataclass(frozen=True, slots=True)
class _Former:
    """What a memory keeps of the one that it replaces."""

    rid: int
    birth: int
    created_at: datetime
    last_accessed_at: datetime
    accesses: int

    def continued(self, memory: Memory) -> Memory:
        return replace(
            memory, created_at=self.created_at, last_accessed_at=self.last_accessed_at, accesses=self.accesses
        )


def in_name_of(name: str, work: Callable[["SqlTransaction"], T]) -> Callable[["SqlTransaction"], T]:
    """The work as somebody's: it may be run by a thread of another caller."""

    def run(transaction: SqlTransaction) -> T:
        transaction.actor = name
        return work(transaction)

    return run


class SqlTransaction:
    """What one work of a shared transaction does to the database; it becomes one journal entry, if it did anything.

    Args:
        pending: what the works of this transaction insert.
        head: the end of the journal before this work.
        now: the time that it happens at.
        known: what needs no look into the database.

    Attributes:
        now: as given.
        actor: who does this work.
        ink: what the history is written in.
    """

    def __init__(self, pending: Pending, head: journal.Head, now: datetime, known: Known) -> None:
        self.now = now
        self.actor = ""
        self.ink = known.ink
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
        self._notes = Notes(known.ink)
        self._kind = "add"

    @property
    def connection(self) -> Connection:
        """The writer, with everything that this transaction did before."""
        self._pending.flush()
        return self._pending.connection

    @property
    def seq(self) -> int:
        """Number of the last change, this one included if it changed anything so far."""
        return self._seq if self._changed() else self._seq - 1

    @property
    def vector_type(self) -> VectorType:
        """How vectors are kept."""
        return self._known.vector_type

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

    def add(self, rows: Sequence[Row], action: Action = "replaced") -> list[Memory]:
        """Insert or replace; see the port."""
        if len(rows) == 1 and rows[0].fresh:
            last, places = rows, [0]
        else:
            last, places = _last_of_each(rows)
        replaced = self._replaced([row for row in last if not row.fresh])
        pending = self._pending
        stored: list[Memory] = []
        came: list[tuple[Any, ...]] = []
        nids = {space: self._nid(space) for space in dict.fromkeys(row.memory.namespace for row in last)}
        for row in last:
            rid, birth, final = self._next, self._next, row
            self._next += 1
            nid = nids[row.memory.namespace]
            old = replaced.get((nid, row.memory.id))
            if old is not None:
                birth, final = old.birth, replace(row, memory=old.continued(row.memory))
                self._notes.changed(action, (nid, row.memory.id), birth, (old.rid, rid))
            memory = final.memory
            encoded: tuple[Any, ...] = encode(final, rid, birth, nid)
            came.append(encoded)
            pending.rows.append(encoded)
            passages = passages_of(final, rid, self._known.vector_type)
            pending.passages += passages
            if memory.text or memory.caption:
                pending.terms.append(keyword.terms_of(source_of(encoded)))
            stored.append(memory)
            self._note_vectors(final, rid, passages)
        self._notes.came(came)
        if replaced:
            # What a summary no longer stands for is not to be lost with it.
            self._release({(nids[row.memory.namespace], row.memory.id): row.memory.source_ids for row in last})
        return [stored[place] for place in places]

    def get(self, ids: Sequence[str], namespace: Namespace, *, vectors: bool = False) -> list[Memory | None]:
        """What this transaction sees; see the port."""
        nid = self._find_nid(namespace)
        return read_memories(self.connection, ids, (namespace, nid), vectors=vectors)

    def delete(self, ids: Sequence[str], namespace: Namespace) -> int:
        """Delete and return how many there were; see the port."""
        nid = self._find_nid(namespace)
        return 0 if nid is None else self.discard(nid, ids, "deleted")

    def discard(self, nid: int, ids: Sequence[str], action: Action, batch: str | None = None) -> int:
        """As ``delete``, where the id of the namespace is known, by the name of what is done."""
        found = identities(self.connection, nid, ids)
        self._notes.gone(action, nid, [(values[0], values[3], values[1]) for values in found], batch)
        self._remove(found)
        if self._kind == "add" and self._next == self._lo:
            self._kind = "delete"
        held = shelf.find(self.connection, nid, ids)
        self._notes.gone(action, nid, [row[:3] for row in held], batch)
        shelf.drop(self.connection, [row[0] for row in held])
        gone = [str(row[3]) for row in found] + [row[1] for row in held]
        if gone:
            self._release({(nid, id_): () for id_ in gone}, batch)
        return len(gone)

    def purge(self, nid: int, ids: Sequence[str]) -> int:
        """Delete what is archived, with all that is archived under it, and return how many memories went."""
        held = shelf.drop_whole(self.connection, nid, ids)
        self._notes.gone("purged", nid, [row[:3] for row in held])
        return len(held)

    def archive(self, rids: Sequence[int], archiving: Archiving) -> list[int]:
        """Put rows into the archive and return those there were; see the port."""
        found = rows_of(self.connection, rids)
        held = [int(values[0]) for values in found]
        for rid, birth, nid, id_, *_ in found:
            self._notes.changed(archiving.why, (nid, id_), birth, (rid, rid), archiving.batch)
        shelf.put(self.connection, held, archiving, self.now)
        self._remove(found)
        return held

    def restore(self, rids: Sequence[int], batch: str | None = None) -> int:
        """Make archived rows live again and return how many there were; see the port."""
        taken = shelf.take(self.connection, rids)
        pending = self._pending
        for values, passages in taken:
            rid = self._next
            self._next += 1
            former, birth, nid, id_, *_ = values
            self._notes.changed("restored", (nid, id_), birth, (former, rid), batch)
            pending.rows.append((rid, *values[1:]))
            terms = keyword.terms_of((rid, *source_of(values)[1:]))
            if terms[1]:
                pending.terms.append(terms)
            for ordinal, (modality, vector) in enumerate(passages):
                pending.passages.append(((rid << ORDINAL_BITS) + ordinal, modality, vector))
                self._note(modality, rid, unpack(vector))
        self._notes.came([values for values, _ in taken])
        return len(taken)

    def merge(self, rids: Sequence[int], summary: Row, batch: str) -> str | None:
        """Store a summary in place of its sources; see the port."""
        found = rows_of(self.connection, rids)
        nid, id_ = self._find_nid(summary.memory.namespace), summary.memory.id
        if not rids or len(found) < len(set(rids)):
            return "a source was changed or removed meanwhile"
        if any(values[2] != nid for values in found):
            return f"a source is in another namespace than {summary.memory.namespace!r}"
        if identities(self.connection, found[0][2], [id_]) or shelf.find(self.connection, found[0][2], [id_]):
            return f"there is a memory {id_!r} already"
        self.add([summary])
        self.archive(rids, Archiving(why="consolidated", batch=batch, under=id_))
        return None

    def mark_final(self, rids: Sequence[int]) -> None:
        """Mark rows as final; see the port."""
        self.connection.executemany("UPDATE main.memories SET final = 1 WHERE rid = ?", [(rid,) for rid in rids])

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
        if not self._changed():
            return journal.Head(self._seq - 1, self._lo - 1)
        removed = np.array(self._removed, np.int64).tobytes() if self._removed else None
        entry = (self._seq, self._mark, micros(self.now), self._kind, self._lo, self._next - 1, removed)
        self._pending.note(entry, self._notes, self.actor)
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

    def _changed(self) -> bool:
        return bool(self._next > self._lo or self._notes.changes or self.rebound)

    def _note_vectors(self, row: Row, rid: int, passages: Sequence[tuple[int, str, bytes]]) -> None:
        """Tell the index the very vectors that storage will give back."""
        exact = self._known.vector_type == "float32"
        for (_, modality, blob), vector in zip(passages, row.vectors, strict=True):
            self._note(modality, rid, vector if exact else unpack(blob))

    def _note(self, modality: str, rid: int, vector: npt.NDArray[np.float32]) -> None:
        rids, vectors = self._vectors.setdefault(modality, ([], []))
        rids.append(rid)
        vectors.append(vector)

    def _replaced(self, rows: Sequence[Row]) -> "dict[tuple[int, str], _Former]":
        """Take out what the rows replace, alive or in the archive."""
        by_nid: dict[int, list[str]] = {}
        for row in rows:
            nid = self._find_nid(row.memory.namespace)
            if nid is not None:
                by_nid.setdefault(nid, []).append(row.memory.id)
        gone: dict[tuple[int, str], _Former] = {}
        for nid, ids in by_nid.items():
            found = identities(self.connection, nid, ids)
            for values in found:
                old = decode(values, ())
                gone[nid, old.id] = _Former(
                    int(values[0]), int(values[1]), old.created_at, old.last_accessed_at, old.accesses
                )
            self._remove(found)
            held = shelf.find(self.connection, nid, ids)
            for rid, id_, birth, created, accessed, accesses in held:
                gone[nid, id_] = _Former(rid, birth, moment(created), moment(accessed), accesses)
            shelf.drop(self.connection, [row[0] for row in held])
        return gone

    def _release(self, sources: Mapping[tuple[int, str], Sequence[str]], batch: str | None = None) -> None:
        """Make live again what is archived under memories that changed or went, but for the sources that they keep."""
        by_nid: dict[int, list[str]] = {}
        for nid, id_ in sources:
            by_nid.setdefault(nid, []).append(id_)
        for nid, ids in by_nid.items():
            held = shelf.under(self.connection, nid, ids)
            self.restore([rid for rid, id_, summary in held if id_ not in sources[nid, summary]], batch)

    def _remove(self, found: Sequence[Sequence[Any]]) -> None:
        if not found:
            return
        rids = [int(values[0]) for values in found]
        terms = [keyword.terms_of(source_of(values)) for values in found]
        terms = [each for each in terms if each[1]]
        if terms:
            if self._known.codec is not None:
                terms = self._known.codec.hidden_as_written(self.connection, terms)
            keyword.remove_terms(self.connection, terms, secure=self._known.secure_terms)
        self.connection.executemany("DELETE FROM main.memories WHERE rid = ?", [(rid,) for rid in rids])
        self.connection.executemany("DELETE FROM main.reembedded WHERE rid = ?", [(rid,) for rid in rids])
        self.connection.executemany(
            "DELETE FROM main.passages WHERE pid >= ? AND pid < ?",
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


def _last_of_each(rows: Sequence[Row]) -> tuple[Sequence[Row], list[int]]:
    last: dict[tuple[Namespace, str], int] = {}
    for place, row in enumerate(rows):
        last[row.memory.namespace, row.memory.id] = place
    if len(last) == len(rows):
        return rows, list(range(len(rows)))
    kept = sorted(last.values())
    position = {place: order for order, place in enumerate(kept)}
    return [rows[place] for place in kept], [position[last[row.memory.namespace, row.memory.id]] for row in rows]
