"""Keyword terms: one FTS5 row a memory, without a copy of its text.

The table is contentless: it holds terms, not texts, and a row leaves it by giving back the words it came with. The
column ``scope`` holds the namespace as a term, so that a search within few namespaces never reads the others'.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ums_core.ranking.lexical import WordRows
from ums_core.ranking.words import telling, words
from ums_core.storage.connect import Connection

__all__ = [
    "MAX_LIMIT",
    "MAX_SCOPES",
    "Candidates",
    "Terms",
    "create_terms",
    "question_words",
    "remove_terms",
    "rows_with",
    "terms_of",
    "write_terms",
]

Terms = tuple[int, str, str, str]
Ids: TypeAlias = npt.NDArray[np.int64]

_INSERT = "INSERT INTO terms (rowid, body, about, scope) VALUES (?, ?, ?, ?)"
_REMOVE = "INSERT INTO terms (terms, rowid, body, about, scope) VALUES ('delete', ?, ?, ?, ?)"
_MAX_WORDS = 64
# Rows read of a word before it is called frequent, and of all words where more than a few are rare. A row costs 0.3 us.
_PROBED, _READ = 200, 2000
MAX_SCOPES = 64
# The most that SQLite takes.
MAX_LIMIT = 2**63 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def create_terms(connection: Connection, *, secure: bool) -> None:
    """Create the table; ``secure`` needs SQLite 3.42 and deletes terms from the file at once."""
    connection.execute(
        "CREATE VIRTUAL TABLE terms USING fts5("
        "body, about, scope, content='', tokenize='porter unicode61 remove_diacritics 2')"
    )
    if secure:
        connection.execute("INSERT INTO terms (terms, rank) VALUES ('secure-delete', 1)")
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('terms', ?)", ("secure" if secure else "plain",))


def terms_of(rid: int, nid: int, text: str, speaker: str | None, occurred_at: int | None) -> Terms:
    """The words of a memory: its text, who said it and when, and its namespace."""
    about = speaker or ""
    if occurred_at is not None:
        about = f"{about} {_EPOCH + timedelta(microseconds=occurred_at):%d %B %Y}".lstrip(" 0")
    return rid, text, about, f"ns{nid}"


def write_terms(connection: Connection, rows: Sequence[Terms]) -> None:
    """Insert the terms of new rows."""
    connection.executemany(_INSERT, rows)


def remove_terms(connection: Connection, rows: Sequence[Terms], *, secure: bool) -> None:
    """Delete the terms of rows, given the very words they came with.

    Without ``secure`` the segments are rewritten, since deleted terms would stay in the file: linear in all terms.
    """
    connection.executemany(_REMOVE, rows)
    if not secure:
        connection.execute("INSERT INTO terms (terms) VALUES ('optimize')")


def question_words(text: str) -> list[str]:
    """The distinct words that a question is searched by, in their order; none where it has no word."""
    return list(dict.fromkeys(telling(text) or words(text)))[:_MAX_WORDS]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Row ids that are known to be among those that may match: those given, or all from 1 on.

    Attributes:
        hi: the greatest row id.
        rids: ascending, at least one; None is all.
    """

    hi: int
    rids: Ids | None = None

    def share_up_to(self, rid: int) -> float:
        """The share of them up to a row id, greater than 0."""
        if self.rids is None:
            return min(1.0, rid / self.hi)
        return max(1, int(np.searchsorted(self.rids, rid, side="right"))) / len(self.rids)


def rows_with(
    connection: Connection, text: str, scopes: Sequence[int] | None, candidates: Candidates, *, prune: bool
) -> list[WordRows]:
    """The rows that hold each word of a text, the rarest word first.

    Stop words are dropped unless nothing else is left. Every word is quoted, so nothing in the text is syntax. Where
    rows are pruned, frequent words only add to rows that hold a rarer word too: they tell little, and reading all
    their rows would take longer than all else.

    Args:
        connection: a reader.
        text: a question.
        scopes: ids of the namespaces to look in; None is all.
        candidates: the row ids that may match, as far as they are known: where rows are not pruned, no others count.
        prune: whether to read a bounded number of rows.
    """
    known = candidates.rids
    span = (1, MAX_LIMIT) if prune or known is None else (int(known[0]), int(known[-1]))
    terms = _Terms(connection, scopes, span)
    probes = [(word, terms.first(f'"{word}"', _PROBED)) for word in question_words(text)]
    found: list[WordRows] = []
    frequent: list[tuple[int, str, Ids]] = []
    for word, rids in probes:
        if len(rids) < _PROBED:
            found.append(WordRows(rids, len(rids)))
        else:
            # As dense as at its beginning.
            frequent.append((int(len(rids) / candidates.share_up_to(int(rids[-1]))), word, rids))
    read = sum(rows.count for rows in found)
    rarer = [f'"{word}"' for word, rids in probes if len(rids) < _PROBED and len(rids)]
    for count, word, rids in sorted(frequent, key=lambda each: each[:2]):
        if not prune or not rarer or read + count <= _READ:
            every = np.concatenate([rids, terms.after(f'"{word}"', int(rids[-1]))])
            found.append(WordRows(every, len(every)))
            rarer.append(f'"{word}"')
            read += len(every)
        else:
            found.append(WordRows(terms.first(f'({" OR ".join(rarer)}) AND "{word}"', MAX_LIMIT), count))
    return sorted(found, key=lambda rows: rows.count)


class _Terms:
    """Reads row ids by FTS5 expressions, in ascending order."""

    def __init__(self, connection: Connection, scopes: Sequence[int] | None, span: tuple[int, int]) -> None:
        self._connection = connection
        places = None if scopes is None else " OR ".join(f'"ns{nid}"' for nid in scopes)
        self._scope = "" if places is None else f"scope : ({places}) AND "
        self._low, self._high = span

    def first(self, expression: str, limit: int) -> Ids:
        return self._read(expression, self._low, limit)

    def after(self, expression: str, rid: int) -> Ids:
        return self._read(expression, rid + 1, MAX_LIMIT)

    def _read(self, expression: str, low: int, limit: int) -> Ids:
        found = self._connection.execute(
            "SELECT rowid FROM terms WHERE terms MATCH ? AND rowid BETWEEN ? AND ? ORDER BY rowid LIMIT ?",
            (f"{self._scope}{{body about}} : ({expression})", low, self._high, limit),
        ).fetchall()
        return np.fromiter(chain.from_iterable(found), np.int64, len(found))
