"""Memories as rows: how one is written, and how it is read back."""

import json
import struct
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import compress, groupby, repeat
from operator import is_not, itemgetter
from typing import Any

from ums_core.errors import NotADatabase, UMSError
from ums_core.ports.ledger import Row, TurnRow, VectorType
from ums_core.ranking.words import heard
from ums_core.records import Memory, Namespace, Passage
from ums_core.records.assembled import assembled
from ums_core.records.match import micros
from ums_core.records.memory import WHOLE
from ums_core.storage.connect import Connection
from ums_core.storage.vectors import pack

__all__ = [
    "ARCHIVED_COLUMNS",
    "COLUMNS",
    "INSERTED",
    "INSERT_PASSAGE",
    "ORDINAL_BITS",
    "LazyNamespaces",
    "as_written",
    "chunked",
    "decode",
    "decode_archived",
    "decode_metadata",
    "decode_namespace",
    "encode",
    "encode_namespace",
    "insert_rows",
    "moment",
    "passages_of",
    "prefix_range",
    "read_turns",
    "source_of",
]

# A memory has at most 2**16 passages; its row id is the upper part of each one's key.
ORDINAL_BITS = 16

_NAMES = (
    *("rid", "birth", "nid", "id", "text", "role", "tags", "metadata", "level", "modality"),
    *("importance", "emotional_intensity", "valence", "created_at", "updated_at", "last_accessed_at", "expires_at"),
    *("source_ids", "final", "speaker", "session", "position", "occurred_at", "spans"),
    *("pinned", "accesses", "valid_from", "ttl", "caption"),
)
INSERTED = (*_NAMES, "telling", "asks")
# Of the values of a row, what its keyword terms come from: ``keyword.SOURCE``.
source_of = itemgetter(*map(_NAMES.index, ("rid", "nid", "text", "caption", "speaker", "occurred_at")))
COLUMNS = ", ".join(f"m.{name}" for name in _NAMES)
# Of the table ``archived m``: those of a memory, and what became of it.
ARCHIVED_COLUMNS = f"{COLUMNS}, m.why, m.under, m.valid_to, m.batch"
INSERT_PASSAGE = "INSERT INTO passages (pid, modality, vector) VALUES (?, ?, ?)"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Half the cost of json.loads: what was written here needs no look at its encoding and spaces.
_loads = json.JSONDecoder().raw_decode
_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def encode_namespace(namespace: Namespace) -> str:
    """A namespace as a path in which every label ends with ``/``: a prefix of labels is a prefix of the path."""
    return "".join(label.replace("%", "%25").replace("/", "%2F") + "/" for label in namespace)


def decode_namespace(path: str) -> Namespace:
    """The reverse of ``encode_namespace``."""
    return tuple(label.replace("%2F", "/").replace("%25", "%") for label in path.split("/")[:-1])


def prefix_range(namespace: Namespace) -> tuple[str, str]:
    """The half-open range of paths under a non-empty namespace: ``0`` follows ``/`` in every collation used."""
    path = encode_namespace(namespace)
    return path, path[:-1] + "0"


def encode(row: Row, rid: int, birth: int, nid: int) -> tuple[object, ...]:
    """The values of ``INSERTED``."""
    memory = row.memory
    created_at, updated_at, accessed_at = memory.created_at, memory.updated_at, memory.last_accessed_at
    created = micros(created_at)
    return (
        rid,
        birth,
        nid,
        memory.id,
        memory.text,
        memory.role,
        _dumps(memory.tags) if memory.tags else None,
        _dumps(memory.metadata) if memory.metadata else None,
        memory.level,
        memory.modality,
        memory.importance,
        memory.emotional_intensity,
        memory.valence,
        created,
        created if updated_at is created_at else micros(updated_at),
        created if accessed_at is created_at else micros(accessed_at),
        None if memory.expires_at is None else micros(memory.expires_at),
        _dumps(memory.source_ids) if memory.source_ids else None,
        int(memory.final),
        memory.speaker,
        memory.session,
        memory.position,
        None if memory.occurred_at is None else micros(memory.occurred_at),
        _encode_spans(memory),
        int(memory.pinned),
        memory.accesses,
        None if memory.valid_from is None else micros(memory.valid_from),
        None if memory.ttl_s is None else round(memory.ttl_s * 1e6),
        memory.caption,
        *heard(memory.text),
    )


def insert_rows(connection: Connection, rows: Iterable[Sequence[object]]) -> None:
    """Insert rows in their order, each as the values of ``INSERTED``.

    Only what is there is handed over: the driver takes a microsecond for None, and a tenth of that for any other value.
    """
    for given, alike in groupby(rows, lambda row: tuple(map(is_not, row, repeat(None)))):
        connection.executemany(_inserting(given), [tuple(compress(row, given)) for row in alike])


@lru_cache(256)
def _inserting(given: tuple[bool, ...]) -> str:
    """The statement that inserts values in those places."""
    names = list(compress(INSERTED, given))
    return f"INSERT INTO memories ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"


def passages_of(row: Row, rid: int, kind: VectorType) -> list[tuple[int, str, bytes]]:
    """The values of ``INSERT_PASSAGE``, one tuple a passage."""
    base = rid << ORDINAL_BITS
    return [
        (base + ordinal, passage.modality, pack(vector, kind))
        for ordinal, (passage, vector) in enumerate(zip(row.memory.passages, row.vectors, strict=True))
    ]


def decode(values: Sequence[Any], namespace: Namespace) -> Memory:
    """A memory from the values of ``COLUMNS``. What was checked when it was written is not checked again.

    Raises:
        NotADatabase: the values are none that were ever written, as on a damaged page.
    """
    try:
        return _decoded(values, namespace)
    except (TypeError, ValueError, OverflowError) as error:
        raise _damaged() from error


@contextmanager
def as_written() -> Iterator[None]:
    """Let what is read in a ``with`` block be what was written once.

    Raises:
        NotADatabase: it is not, as on a damaged page.
    """
    try:
        yield
    except UMSError:
        raise
    except (TypeError, ValueError, OverflowError, struct.error) as error:
        raise _damaged() from error


def _damaged() -> NotADatabase:
    return NotADatabase("a row holds what was never written there, so its page is damaged: restore a backup")


def _decoded(values: Sequence[Any], namespace: Namespace) -> Memory:
    (
        _, _, _, id_, text, role, tags, metadata, level, modality, importance, emotional_intensity, valence, created,
        updated, accessed, expires, source_ids, final, speaker, session, position, occurred, spans,
        pinned, accesses, valid_from, ttl, caption,
    ) = values  # fmt: skip
    created_at = _EPOCH + timedelta(0, 0, created)
    return assembled(
        Memory,
        {
            "id": id_,
            "namespace": namespace,
            "text": text,
            "role": role,
            "tags": tuple(_loads(tags, 0)[0]) if tags else (),
            "metadata": decode_metadata(metadata),
            "level": level,
            "modality": modality,
            "importance": importance,
            "emotional_intensity": emotional_intensity,
            "valence": valence,
            "created_at": created_at,
            "updated_at": created_at if updated == created else moment(updated),
            "last_accessed_at": created_at if accessed == created else moment(accessed),
            "expires_at": None if expires is None else moment(expires),
            "source_ids": tuple(_loads(source_ids, 0)[0]) if source_ids else (),
            "final": final == 1,
            "speaker": speaker,
            "session": session,
            "position": position,
            "occurred_at": None if occurred is None else moment(occurred),
            "passages": _decode_spans(spans, modality),
            "pinned": pinned == 1,
            "ttl_s": None if ttl is None else ttl / 1e6,
            "valid_from": None if valid_from is None else moment(valid_from),
            "accesses": accesses,
            "valid_to": None,
            "archived": None,
            "under": None,
            "batch": None,
            "caption": caption,
        },
    )


def decode_metadata(metadata: str | None) -> dict[str, object]:
    """A memory's metadata from what a row holds of them; another mapping every time."""
    return _loads(metadata, 0)[0] if metadata else {}


def decode_archived(values: Sequence[Any], namespace: Namespace) -> Memory:
    """A memory from the values of ``ARCHIVED_COLUMNS``."""
    *own, why, under, valid_to, batch = values
    return replace(
        decode(own, namespace),
        archived=why,
        under=under,
        batch=batch,
        valid_to=None if valid_to is None else moment(valid_to),
    )


def moment(since_1970: int) -> datetime:
    """The moment so many microseconds after the start of 1970 in UTC."""
    return _EPOCH + timedelta(0, 0, since_1970)


_WHOLE_TEXT = (WHOLE,)


def _encode_spans(memory: Memory) -> str | None:
    whole = memory.passages == (_WHOLE_TEXT if memory.modality == "text" else (Passage(modality=memory.modality),))
    return None if whole else _dumps([(p.modality, p.start, p.end, p.text) for p in memory.passages])


def _decode_spans(spans: str | None, modality: str) -> tuple[Passage, ...]:
    if spans is None:
        return _WHOLE_TEXT if modality == "text" else (Passage(modality=modality),)
    return tuple(
        Passage(modality=kind, start=start, end=end, text=text) for kind, start, end, text in json.loads(spans)
    )


def chunked(values: Sequence[object], size: int = 500) -> list[Sequence[object]]:
    """Slices short enough for one statement's parameters."""
    return [values[start : start + size] for start in range(0, len(values), size)]


def read_turns(connection: Connection, hi: int) -> list[TurnRow]:
    """What the rows after a row id say about their place in a conversation, ascending.

    Raises:
        NotADatabase: a number is none, as on a damaged page.
    """
    rows = connection.execute(
        "SELECT rid, nid, session, position, speaker, role, telling, asks, coalesce(occurred_at, created_at) "
        "FROM memories WHERE rid > ? ORDER BY rid",
        (hi,),
    ).fetchall()
    turns = [TurnRow(*row) for row in rows]
    if not all(isinstance(turn.telling, int) and isinstance(turn.cues, int) for turn in turns):
        raise _damaged()
    if not all(isinstance(turn.moment, int) and isinstance(turn.position, int | None) for turn in turns):
        raise _damaged()
    return turns


class LazyNamespaces(defaultdict[int, Namespace]):
    """Labels by namespace id, read when first met; an id never changes its labels."""

    def __init__(self, read: Callable[[int], Namespace]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, nid: int) -> Namespace:
        """Read them."""
        self[nid] = labels = self._read(nid)
        return labels
