"""The archive as a search reads it: one pass over what is wanted, in blocks."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import numpy as np
import numpy.typing as npt

from ums_core.ports.bygone import Near, Wanted
from ums_core.ranking.lexical import Matches, WordRows, bm25, rows_of, union
from ums_core.records import Memory
from ums_core.records.match import micros
from ums_core.storage.allowed import condition_sql
from ums_core.storage.connect import Connection, load_driver
from ums_core.storage.database import Database
from ums_core.storage.keyword import SOURCE, TOKENIZER, WORDED, question_words, quoted, terms_of
from ums_core.storage.table import ARCHIVED_COLUMNS, ORDINAL_BITS, chunked, decode_archived, decode_namespace
from ums_core.storage.vectors import unpack_all

__all__ = ["SqlBygone"]

_BLOCK = 1024
_ORDINAL = (1 << ORDINAL_BITS) - 1


class SqlBygone:
    """Searches the archive of one database.

    Args:
        database: gives readers and the time.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def near(self, wanted: Wanted, vector: npt.NDArray[np.float32], modality: str) -> dict[int, Near]:
        """How near each row with a vector of the modality is; see the port."""
        sql, values = _where(wanted, self._database.clock())
        best: dict[int, Near] = {}
        with self._database.reader() as connection:
            rows = connection.execute(
                f"SELECT p.pid, p.vector FROM archived m JOIN archived_passages p ON p.pid >= m.rid << {ORDINAL_BITS} "
                f"AND p.pid < (m.rid + 1) << {ORDINAL_BITS} WHERE {sql} AND p.modality = ? ORDER BY p.pid",
                (*values, modality),
            )
            while part := rows.fetchmany(_BLOCK):
                cosines = np.clip(unpack_all([row[1] for row in part]) @ vector, -1.0, 1.0)
                for (pid, _), cosine in zip(part, cosines.tolist(), strict=True):
                    rid, near = pid >> ORDINAL_BITS, Near(cosine, pid & _ORDINAL)
                    best[rid] = max(best.get(rid, near), near, key=lambda each: each.cosine)
        return best

    def matching(self, wanted: Wanted, text: str) -> Matches:
        """The rows that hold a word of a text, cut by the tokenizer of the terms; see the port."""
        sql, values = _where(wanted, self._database.clock())
        lengths: dict[int, int] = {}
        with self._database.reader() as connection:
            rows = connection.execute(
                f"SELECT telling, {SOURCE} FROM archived m WHERE {sql} AND {WORDED}",
                values,
            )
            found = _holding(_terms(rows, lengths), question_words(text))
        if not found:
            return Matches(np.empty(0, np.int64), np.empty(0))
        rids = union([word.rids for word in found])
        telling = np.array([lengths[rid] for rid in rids.tolist()], np.int32)
        return Matches(rids, bm25(found, rids.searchsorted(rows_of(found)), telling, len(lengths)))

    def recalled(self, rids: Sequence[int]) -> dict[int, Memory]:
        """The memories of those rows that are still in the archive."""
        found: dict[int, Memory] = {}
        with self._database.reader() as connection:
            for part in chunked(rids):
                places = ",".join("?" * len(part))
                for path, *values in connection.execute(
                    f"SELECT n.path, {ARCHIVED_COLUMNS} FROM archived m JOIN namespaces n ON n.nid = m.nid "
                    f"WHERE m.rid IN ({places})",
                    part,
                ):
                    found[values[0]] = decode_archived(values, decode_namespace(path))
        return found


def _where(wanted: Wanted, now: datetime) -> tuple[str, list[object]]:
    """SQL over ``archived m``: what may still come back, has not expired, and was alive and true when it should be."""
    clauses = ["(m.until IS NULL OR m.until > ?)", "(m.expires_at IS NULL OR m.expires_at > ?)"]
    values: list[object] = [micros(now), micros(now)]
    if wanted.as_of is not None:
        moment = micros(wanted.as_of)
        clauses.append("coalesce(m.valid_from, m.created_at) <= ? AND coalesce(m.valid_to, m.at) > ?")
        values += [moment, moment]
    sql, bound = condition_sql(wanted.namespace, wanted.condition)
    return " AND ".join([*clauses, *([sql] if sql else [])]), [*values, *bound]


def _terms(rows: Connection, lengths: dict[int, int]) -> Iterator[tuple[int, str, str]]:
    while part := rows.fetchmany(_BLOCK):
        for telling, *row in part:
            rid, text, about, _ = terms_of(row)
            lengths[rid] = telling
            yield rid, text, about


def _holding(rows: Iterator[tuple[int, str, str]], words: Sequence[str]) -> list[WordRows]:
    """The rows that hold each word, by a table of terms in memory."""
    memory = load_driver().connect(":memory:", isolation_level=None)
    try:
        memory.execute(f"CREATE VIRTUAL TABLE terms USING fts5(body, about, content='', tokenize='{TOKENIZER}')")
        memory.execute("BEGIN")
        memory.executemany("INSERT INTO terms (rowid, body, about) VALUES (?, ?, ?)", rows)
        held = [
            memory.execute("SELECT rowid FROM terms WHERE terms MATCH ? ORDER BY rowid", (quoted(word),)).fetchall()
            for word in words
        ]
    finally:
        memory.close()
    return [WordRows(np.fromiter((row[0] for row in part), np.int64, len(part)), len(part)) for part in held]
