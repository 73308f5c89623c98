"""Keyword terms: one FTS5 row a memory, without a copy of its text.

The table is contentless: it holds terms, not texts, and a row leaves it by giving back the words it came with. The
column ``scope`` holds the namespace as a term, so that a search within few namespaces never reads the others'.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from ums_core.ranking.words import telling, words
from ums_core.storage.connect import Connection

__all__ = [
    "MAX_LIMIT",
    "SOURCE",
    "TOKENIZER",
    "WORDED",
    "Terms",
    "create_terms",
    "question_words",
    "quoted",
    "remove_terms",
    "terms_of",
    "write_terms",
]

Terms = tuple[int, str, str, str]

TOKENIZER = "porter unicode61 remove_diacritics 2"
# What the words come from, of ``memories`` or ``archived``; a row without the first two of these texts has none.
SOURCE = "rid, nid, text, caption, speaker, occurred_at"
WORDED = "(text != '' OR caption != '')"
_INSERT = "INSERT INTO terms (rowid, body, about, scope) VALUES (?, ?, ?, ?)"
_REMOVE = "INSERT INTO terms (terms, rowid, body, about, scope) VALUES ('delete', ?, ?, ?, ?)"
# Of the pages and the merges of FTS5. Small pages lie together in one of the file: with no sizes of columns, which only
# FTS5's own ranking reads, a single row changes 5.7 pages of the terms instead of 8.4. Rarer merges make up for it.
_SHAPE = (("pgsz", 2000), ("automerge", 8))
_MAX_WORDS = 64
# The most that SQLite takes.
MAX_LIMIT = 2**63 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def create_terms(connection: Connection, *, secure: bool) -> None:
    """Create the table; ``secure`` needs SQLite 3.42 and deletes terms from the file at once."""
    connection.execute(
        f"CREATE VIRTUAL TABLE terms USING fts5(body, about, scope, content='', columnsize=0, tokenize='{TOKENIZER}')"
    )
    connection.executemany("INSERT INTO terms (terms, rank) VALUES (?, ?)", _SHAPE)
    if secure:
        connection.execute("INSERT INTO terms (terms, rank) VALUES ('secure-delete', 1)")
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('terms', ?)", ("secure" if secure else "plain",))


def terms_of(row: Sequence[Any]) -> Terms:
    """The words of a memory: its text and caption, who said it and when, and its namespace.

    Args:
        row: the values of ``SOURCE``.
    """
    rid, nid, text, caption, speaker, occurred_at = row
    about = speaker or ""
    if occurred_at is not None:
        about = f"{about} {_EPOCH + timedelta(microseconds=occurred_at):%d %B %Y}".lstrip(" 0")
    return rid, f"{text}\n{caption}" if caption else text, about, f"ns{nid}"


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
    """The distinct words that a question is searched by, in their order; none where it has no word.

    Stop words are dropped unless nothing else is left.
    """
    return list(dict.fromkeys(telling(text) or words(text)))[:_MAX_WORDS]


def quoted(word: str) -> str:
    """A word as an expression of FTS5 in which nothing is syntax."""
    return f'"{word}"'
