"""Erasing: what goes with a memory, what is told about it, and what may be left of it."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ums_core.errors import InvalidInput
from ums_core.records import Memory, Namespace, Receipt
from ums_core.storage import secret, shelf
from ums_core.storage.connect import Connection
from ums_core.storage.database import Database
from ums_core.storage.history import blotted, salted
from ums_core.storage.reading import find_nid
from ums_core.storage.table import ORDINAL_BITS, chunked, encode_namespace
from ums_core.storage.traces import blocks_of, fingerprints, found
from ums_core.storage.transaction import SqlTransaction
from ums_core.storage.vectors import unpack

__all__ = ["erase", "leftovers"]

_KEY = "erasure_key"
_ROWS, _VECTORS = ("memories", "archived"), ("passages", "archived_passages")


def erase(tx: SqlTransaction, ids: Sequence[str], namespace: Namespace, database_id: str) -> Receipt:
    """Delete memories of one exact namespace and what was derived from them, and return the receipt.

    Derived is what names an erased memory among its ``source_ids``, in the same namespace, and so on. The archive is
    erased from as well; what an erased summary stood for, and is not erased itself, becomes live again.
    """
    connection = tx.connection
    nid = find_nid(connection, encode_namespace(namespace))
    gone: dict[str, int] = {} if nid is None else _rids(connection, nid, ids)
    asked = set(gone)
    wave = list(gone)
    while nid is not None and wave:
        wave = [id_ for id_ in _derived(connection, nid, wave) if id_ not in gone]
        gone |= _rids(connection, nid, wave)
    memories = [memory for memory in tx.get(list(gone), namespace) if memory is not None]
    memories += [] if nid is None else shelf.memories(connection, (namespace, nid), list(gone))
    pieces = [piece for memory in memories for piece in _pieces(memory)]
    for table in _VECTORS:
        for span in _spans(list(gone.values())):
            for (blob,) in connection.execute(f"SELECT vector FROM {table} WHERE pid >= ? AND pid < ?", span):
                pieces += _forms(blob)
    traces = fingerprints(secret.made(connection, _KEY), pieces) if gone else ()
    if nid is not None:
        blotted(connection, tx.ink, nid, gone)
        tx.discard(nid, list(gone), "erased")
    return Receipt(
        database_id=database_id,
        seq=tx.seq,
        at=tx.now,
        namespace=namespace,
        ids=tuple(gone),
        derived=tuple(id_ for id_ in gone if id_ not in asked),
        rids=tuple(gone.values()),
        traces=traces,
    )


def leftovers(database: Database, receipt: Receipt, indexed: Mapping[str, npt.NDArray[np.int64]]) -> list[str]:
    """What is left of an erasure, in words; empty when nothing is.

    Every file that bears the name of the database is searched byte by byte. A trace that something living holds as
    well, or the name of a namespace, is not counted. Costs a pass over the files, and another one over the rows if any
    trace is found.

    Args:
        database: whose files are searched.
        receipt: of the erasure.
        indexed: row ids by modality.

    Raises:
        InvalidInput: it is no receipt, or one of another database.
    """
    if not isinstance(receipt, Receipt):
        raise InvalidInput(f"a Receipt was due, got {type(receipt).__name__}; Receipt.from_dict reads a stored one")
    if receipt.database_id != database.database_id:
        raise InvalidInput(
            f"the receipt is of database {receipt.database_id}, this is {database.database_id}: open that one"
        )
    said = [
        f"the {modality} index still holds {int(held.sum())} of the erased rows"
        for modality, rids in indexed.items()
        if (held := np.isin(receipt.rids, rids)).any()
    ]
    with database.snapshot(), database.reader() as connection:
        rows = sum(_count(connection, part) for part in chunked(receipt.rids))
        if rows:
            said.append(f"the database still holds {rows} of the erased rows")
        nid = find_nid(connection, encode_namespace(receipt.namespace))
        salts = 0 if nid is None else salted(connection, database.ink, (nid, receipt.ids), receipt.seq)
        if salts:
            said.append(f"the history can still confirm a guess of {salts} texts that were erased")
        key = secret.read(connection, _KEY)
        if key is None:
            return said
        by_file = {path: found(key, receipt.traces, blocks_of(path)) for path in _beside(database.path)}
        ours = chain(_living(connection), blocks_of(database.path.with_name(f"{database.path.name}.keys.json")))
        living = found(key, receipt.traces, ours) if any(by_file.values()) else set()
    said += [f"{path.name} still holds {len(t - living)} traces" for path, t in by_file.items() if t - living]
    return said


def files_of(path: Path) -> list[Path]:
    """The files that a database is made of, temporary ones included; a backup or a neighbour is none of them."""
    own = re.compile(
        rf"{re.escape(path.name)}(|-wal|-shm|-journal|\.lock|\.anchor|\.keys\.json(\.lock)?|\.[^/]+\.index)"
        rf"|\.{re.escape(path.name)}\..*\.tmp(-wal|-shm|-journal)?"
    )
    return sorted(file for file in path.parent.iterdir() if file.is_file() and own.fullmatch(file.name))


def _beside(path: Path) -> list[Path]:
    """The files of a database, and all else that bears its name, such as a copy that somebody made."""
    names = (f"{path.name}.", f"{path.name}-", f".{path.name}.")
    return sorted(
        file
        for file in path.parent.iterdir()
        if file.is_file() and (file.name == path.name or file.name.startswith(names))
    )


def _pieces(memory: Memory) -> Iterator[bytes]:
    yield memory.text.encode()
    yield from (value.encode() for value in (memory.caption, memory.speaker, memory.session, *memory.tags) if value)
    yield from (passage.text.encode() for passage in memory.passages if passage.text)
    if memory.metadata:
        yield json.dumps(memory.metadata, ensure_ascii=False, separators=(",", ":")).encode()


def _living(connection: Connection) -> Iterator[bytes]:
    """All that rows hold, as the bytes that stand in the file; labels, which stay; and answers, which hold moments."""
    for table in _ROWS:
        for row in connection.execute(
            f"SELECT id, source_ids, text, caption, speaker, session, tags, metadata, spans FROM {table}"
        ):
            yield "\0".join(value for value in row if value).encode()
    for (told,) in connection.execute("SELECT path FROM namespaces UNION ALL SELECT answer FROM idempotency"):
        yield told.encode()
    for table in (*_VECTORS, "kv"):
        column = "value" if table == "kv" else "vector"
        for (blob,) in connection.execute(f"SELECT {column} FROM {table}"):
            yield from [blob] if table == "kv" else _forms(blob)


def _forms(blob: bytes) -> list[bytes]:
    """A vector as it stands in the database, and as in an index."""
    return list(dict.fromkeys([blob, unpack(blob).tobytes()]))


def _spans(rids: Sequence[int]) -> list[tuple[int, int]]:
    """The keys of the passages of each row, half open."""
    return [(rid << ORDINAL_BITS, (rid + 1) << ORDINAL_BITS) for rid in rids]


def _rids(connection: Connection, nid: int, ids: Sequence[str]) -> dict[str, int]:
    held: dict[str, int] = {}
    for part in chunked(list(dict.fromkeys(ids))):
        places = ",".join("?" * len(part))
        for table in _ROWS:
            held |= connection.execute(
                f"SELECT id, rid FROM main.{table} WHERE nid = ? AND id IN ({places})", (nid, *part)
            )
    return {id_: held[id_] for id_ in dict.fromkeys(ids) if id_ in held}


def _derived(connection: Connection, nid: int, ids: Iterable[str]) -> list[str]:
    named = json.dumps(list(ids), ensure_ascii=False)
    return [
        row[0]
        for table in _ROWS
        for row in connection.execute(
            f"SELECT id FROM {table} m WHERE nid = ? AND source_ids IS NOT NULL AND EXISTS ("
            "SELECT 1 FROM json_each(m.source_ids) s WHERE s.value IN (SELECT w.value FROM json_each(?) w)) "
            "ORDER BY rid",
            (nid, named),
        )
    ]


def _count(connection: Connection, rids: Sequence[object]) -> int:
    places = ",".join("?" * len(rids))
    spans = _spans([int(str(rid)) for rid in rids])
    rows = sum(
        connection.execute(f"SELECT count(*) FROM main.{table} WHERE rid IN ({places})", rids).fetchone()[0]
        for table in _ROWS
    )
    passages = sum(
        connection.execute(f"SELECT count(*) FROM main.{table} WHERE pid >= ? AND pid < ?", span).fetchone()[0]
        for table in _VECTORS
        for span in spans
    )
    return int(rows + passages)
