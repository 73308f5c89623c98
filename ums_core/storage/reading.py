"""What one transaction sees: memories by their ids, vectors by their rows, and what a modality is bound to."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from ums_core.ports.embedder import EmbedderIdentity
from ums_core.records import Memory, Namespace, Passage
from ums_core.records.match import micros
from ums_core.storage.connect import Connection
from ums_core.storage.table import (
    COLUMNS,
    ORDINAL_BITS,
    as_written,
    chunked,
    decode,
    decode_namespace,
    encode_namespace,
)
from ums_core.storage.vectors import unpack

__all__ = [
    "arrived",
    "find_nid",
    "identities",
    "labels_of",
    "lives",
    "read_bindings",
    "read_memories",
    "rids_of",
    "rows_of",
    "saying",
    "vectors_of",
]


def find_nid(connection: Connection, path: str) -> int | None:
    """The id of a namespace, or None if nothing was ever stored in it."""
    row = connection.execute("SELECT nid FROM namespaces WHERE path = ?", (path,)).fetchone()
    return None if row is None else int(row[0])


def labels_of(connection: Connection, nid: int) -> Namespace:
    """The labels of a namespace id that a row names."""
    return decode_namespace(connection.execute("SELECT path FROM namespaces WHERE nid = ?", (nid,)).fetchone()[0])


def read_bindings(connection: Connection) -> dict[str, EmbedderIdentity]:
    """What each modality is bound to.

    Raises:
        NotADatabase: what is there is no binding, as on a damaged page.
    """
    found = connection.execute("SELECT modality, name, revision, dim FROM embedders").fetchall()
    with as_written():
        if not all(isinstance(dim, int) and all(isinstance(name, str) for name in names) for *names, dim in found):
            raise TypeError(found)
    return {modality: EmbedderIdentity(name, revision, dim) for modality, name, revision, dim in found}


def read_memories(
    connection: Connection, ids: Sequence[str], place: tuple[Namespace, int | None], *, vectors: bool
) -> list[Memory | None]:
    """The memories of one namespace in the order of the ids, None where there is none."""
    namespace, nid = place
    if nid is None:
        return [None] * len(ids)
    found = identities(connection, nid, ids)
    memories = {str(values[3]): decode(values, namespace) for values in found}
    if vectors:
        held = vectors_of(connection, [int(values[0]) for values in found])
        for values in found:
            memory = memories[str(values[3])]
            memories[memory.id] = _with_vectors(memory, held.get(values[0], []))
    return [memories.get(id_) for id_ in ids]


def arrived(connection: Connection, hi: int, namespace: Namespace, now: datetime) -> list[Memory]:
    """The memories of one namespace in versions that came after a row id, with vectors; what has expired is left out.

    Costs a look at every version after it.
    """
    nid = find_nid(connection, encode_namespace(namespace))
    # By the row id alone, of which there are few: the index on namespaces would be a pass over the whole one.
    found = connection.execute(
        "SELECT id FROM main.memories WHERE rid > ? AND +nid IS ? AND (expires_at IS NULL OR expires_at > ?)",
        (hi, nid, micros(now)),
    ).fetchall()
    memories = read_memories(connection, [id_ for (id_,) in found], (namespace, nid), vectors=True)
    return [memory for memory in memories if memory is not None]


def lives(memory: Memory | None, now: datetime) -> bool:
    """Whether there is a memory that has not expired."""
    return memory is not None and (memory.expires_at is None or memory.expires_at > now)


def saying(connection: Connection, memory: Memory, now: datetime) -> list[Memory]:
    """The first memories of a memory's namespace and level that hold its very text; what has expired is left out.

    Two at most, one of which may be an earlier version of it. Costs a pass over the namespace.
    """
    nid = find_nid(connection, encode_namespace(memory.namespace))
    found = connection.execute(
        f"SELECT {COLUMNS} FROM memories m WHERE m.nid IS ? AND m.level = ? AND CAST(m.text AS BLOB) = ? "
        "AND (m.expires_at IS NULL OR m.expires_at > ?) ORDER BY m.birth LIMIT 2",
        (nid, memory.level, memory.text.encode(), micros(now)),
    ).fetchall()
    return [decode(values, memory.namespace) for values in found]


def rids_of(connection: Connection, modality: str) -> npt.NDArray[np.int64]:
    """The rows that have a vector of the modality, ascending. Costs a pass over the passages."""
    found = connection.execute(
        f"SELECT DISTINCT pid >> {ORDINAL_BITS} FROM passages WHERE modality = ?", (modality,)
    ).fetchall()
    return np.sort(np.fromiter((row[0] for row in found), np.int64, len(found)))


def vectors_of(
    connection: Connection, rids: Sequence[int], table: str = "passages"
) -> dict[int, list[npt.NDArray[np.float32]]]:
    """The vectors of each row's passages, in their order; nothing for a row without any."""
    held: dict[int, list[npt.NDArray[np.float32]]] = {}
    # One statement for all rows: each is a range of keys.
    for pid, blob in connection.execute(
        f"SELECT p.pid, p.vector FROM json_each(?) r CROSS JOIN {table} p "
        f"ON p.pid >= r.value << {ORDINAL_BITS} AND p.pid < (r.value + 1) << {ORDINAL_BITS} ORDER BY p.pid",
        (json.dumps(list(rids)),),
    ):
        held.setdefault(pid >> ORDINAL_BITS, []).append(unpack(blob))
    return held


def identities(connection: Connection, nid: int, ids: Sequence[str]) -> list[tuple[Any, ...]]:
    """The rows of some ids in one namespace, as the values of ``COLUMNS``."""
    found: list[tuple[Any, ...]] = []
    for part in chunked(list(dict.fromkeys(ids))):
        places = ",".join("?" * len(part))
        found += connection.execute(
            f"SELECT {COLUMNS} FROM memories m WHERE m.nid = ? AND m.id IN ({places})", (nid, *part)
        ).fetchall()
    return found


def rows_of(connection: Connection, rids: Sequence[int]) -> list[tuple[Any, ...]]:
    """The rows of some row ids that still exist, as the values of ``COLUMNS``."""
    found: list[tuple[Any, ...]] = []
    for part in chunked(rids):
        places = ",".join("?" * len(part))
        found += connection.execute(f"SELECT {COLUMNS} FROM memories m WHERE m.rid IN ({places})", part).fetchall()
    return found


def _with_vectors(memory: Memory, vectors: Sequence[npt.NDArray[np.float32]]) -> Memory:
    passages = tuple(
        Passage(modality=p.modality, start=p.start, end=p.end, text=p.text, vector=vector)
        for p, vector in zip(memory.passages, vectors, strict=True)
    )
    return replace(memory, passages=passages)
