"""New vectors beside the old ones, until one transaction takes them over."""

import json
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ums_core.ports.embedder import EmbedderIdentity
from ums_core.records import Memory, Passage
from ums_core.records.memory import TEXT
from ums_core.storage.connect import Connection
from ums_core.storage.database import Database
from ums_core.storage.reading import vectors_of
from ums_core.storage.table import COLUMNS, INSERTED, ORDINAL_BITS, decode
from ums_core.storage.transaction import SqlTransaction
from ums_core.storage.vectors import pack

__all__ = ["Aside"]

_BATCH = 256

Kept = tuple[int, Sequence[Passage], Sequence[npt.NDArray[np.float32]]]

_OWN = ", ".join(INSERTED)
# What is in the archive moves as well, to be comparable, and whole when it comes back.
_EVERY = f"(SELECT {_OWN}, 0 AS away FROM memories UNION ALL SELECT {_OWN}, 1 AS away FROM archived)"
_HAS_TEXT_VECTOR = (
    "(m.spans IS NULL AND m.modality = 'text' OR EXISTS "
    "(SELECT 1 FROM json_each(m.spans) WHERE json_extract(value, '$[0]') = 'text') OR m.spans = '[]')"
)

# Words to embed: a text, a caption in place of one, or those of a passage.
_HAS_WORDS = (
    "(trim(m.text) != '' OR trim(coalesce(m.caption, '')) != '' OR EXISTS (SELECT 1 FROM json_each(m.spans) "
    "WHERE json_extract(value, '$[0]') = 'text' AND json_extract(value, '$[3]') IS NOT NULL))"
)


def aim(connection: Connection, identity: EmbedderIdentity) -> int:
    """Note where a move goes, forget what was prepared for another embedder, and return how many rows are to do.

    Rows that have a text vector but no words to embed are counted as -1 for the whole.
    """
    wordless = connection.execute(
        f"SELECT 1 FROM {_EVERY} m WHERE {_HAS_TEXT_VECTOR} AND m.spans IS NULL AND NOT {_HAS_WORDS} LIMIT 1"
    ).fetchone()
    if wordless is not None:
        return -1
    row = connection.execute("SELECT value FROM meta WHERE key = 'reembed'").fetchone()
    if row is None or row[0] != str(identity):
        connection.execute("DELETE FROM main.reembedded")
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('reembed', ?)", (str(identity),))
    return int(connection.execute(f"SELECT count(*) FROM {_EVERY} m WHERE {_HAS_TEXT_VECTOR}").fetchone()[0])


def pending(connection: Connection, limit: int) -> list[tuple[int, Memory]]:
    """Rows that still need a new vector, at most ``limit``, oldest first."""
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM {_EVERY} m WHERE {_HAS_TEXT_VECTOR} AND {_HAS_WORDS} "
        "AND NOT EXISTS (SELECT 1 FROM reembedded r WHERE r.rid = m.rid) ORDER BY m.rid LIMIT ?",
        (limit,),
    ).fetchall()
    return [(row[0], decode(row, ())) for row in rows]


def keep(connection: Connection, rows: Sequence[Kept]) -> None:
    """Put the new text passages of some rows aside."""
    connection.executemany(
        "INSERT OR REPLACE INTO reembedded VALUES (?, ?, ?)",
        [(rid, _spans(passages), b"".join(vector.tobytes() for vector in vectors)) for rid, passages, vectors in rows],
    )


def switch(transaction: SqlTransaction, identity: EmbedderIdentity) -> int:
    """Take over all that was put aside, bind the database to its embedder, and return the number of rows."""
    connection = transaction.connection
    done = 0
    rows = connection.execute(
        f"SELECT r.spans, r.vectors, m.away, {COLUMNS} FROM reembedded r JOIN {_EVERY} m ON m.rid = r.rid "
        "ORDER BY r.rid"
    ).fetchall()
    for spans, blob, away, *values in rows:
        rid, memory = values[0], decode(values, ())
        table, vectors_in = ("archived", "archived_passages") if away else ("memories", "passages")
        others = [
            (passage, vector)
            for passage, vector in zip(
                memory.passages, vectors_of(connection, [rid], vectors_in).get(rid, []), strict=True
            )
            if passage.modality != TEXT
        ]
        texts = [
            Passage(modality=kind, start=start, end=end, text=text) for kind, start, end, text in json.loads(spans)
        ]
        passages = [*texts, *(passage for passage, _ in others)]
        vectors = [
            *np.frombuffer(blob, np.float32).reshape(len(texts), identity.dim),
            *(vector for _, vector in others),
        ]
        base = rid << ORDINAL_BITS
        connection.execute(
            f"DELETE FROM main.{vectors_in} WHERE pid >= ? AND pid < ?", (base, (rid + 1) << ORDINAL_BITS)
        )
        connection.executemany(
            f"INSERT INTO {vectors_in} (pid, modality, vector) VALUES (?, ?, ?)",
            [
                (base + place, p.modality, pack(v, transaction.vector_type))
                for place, (p, v) in enumerate(zip(passages, vectors, strict=True))
            ],
        )
        whole = memory.modality == TEXT and passages == [Passage()]
        connection.execute(f"UPDATE {table} SET spans = ? WHERE rid = ?", (None if whole else _spans(passages), rid))
        done += 1
    connection.execute("DELETE FROM main.reembedded")
    connection.execute("DELETE FROM meta WHERE key = 'reembed'")
    transaction.rebind(TEXT, identity)
    return done


def _spans(passages: Sequence[Passage]) -> str:
    return json.dumps([(p.modality, p.start, p.end, p.text) for p in passages], ensure_ascii=False)


class Aside:
    """The new vectors of one database, waiting.

    Args:
        database: gives readers, and takes writes.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def aim(self, identity: EmbedderIdentity) -> int:
        """Note where a move to another embedder goes; see ``aim``."""
        return self._database.write(lambda tx: aim(tx.connection, identity))

    def pending(self, limit: int) -> list[tuple[int, Memory]]:
        """Some memories that still need a new vector."""
        with self._database.reader() as connection:
            return pending(connection, limit)

    def keep(self, rows: Sequence[Kept]) -> None:
        """Put new passages aside, durably."""
        self._database.write(lambda tx: keep(tx.connection, rows))

    def kept(self) -> int:
        """How many memories have their new vectors aside."""
        with self._database.reader() as connection:
            return int(connection.execute("SELECT count(*) FROM reembedded").fetchone()[0])

    def switch(self, identity: EmbedderIdentity, last: Callable[[Sequence[tuple[int, Memory]]], list[Kept]]) -> int:
        """Embed what came meanwhile, take over everything, and return how many memories moved."""

        def work(tx: SqlTransaction) -> int:
            while rows := pending(tx.connection, _BATCH):
                keep(tx.connection, last(rows))
            return switch(tx, identity)

        return self._database.write(work)
