"""Keyword terms: one FTS5 row a memory, without a copy of its text.

The table is contentless: it holds terms, not texts, and a row leaves it by giving back the words it came with. The
column ``scope`` holds the namespace as a term, so that a search within few namespaces never reads the others'.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from ums_core.ranking.words import telling, words
from ums_core.storage.connect import Connection

__all__ = [
    "MAX_LIMIT",
    "MAX_SCOPES",
    "Terms",
    "create_terms",
    "match_expression",
    "remove_terms",
    "search_terms",
    "terms_of",
    "write_terms",
]

Terms = tuple[int, str, str, str]

_INSERT = "INSERT INTO terms (rowid, body, about, scope) VALUES (?, ?, ?, ?)"
_REMOVE = "INSERT INTO terms (terms, rowid, body, about, scope) VALUES ('delete', ?, ?, ?, ?)"
_MAX_WORDS = 64
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


def match_expression(text: str, scopes: Sequence[int] | None) -> str | None:
    """An FTS5 expression that any word of the text satisfies, or None where there is no word.

    Stop words are dropped unless nothing else is left. Every word is quoted, so nothing in the text is syntax.
    """
    wanted = list(dict.fromkeys(telling(text) or words(text)))
    if not wanted:
        return None
    anyone = " OR ".join(f'"{word}"' for word in wanted[:_MAX_WORDS])
    expression = f"{{body about}} : ({anyone})"
    if scopes is not None and len(scopes) <= MAX_SCOPES:
        places = " OR ".join(f'"ns{nid}"' for nid in scopes)
        expression = f"scope : ({places}) AND {expression}"
    return expression


def search_terms(
    connection: Connection, expression: str, limit: int, condition: tuple[str, Sequence[object]] | None = None
) -> list[tuple[int, float]]:
    """Row ids and BM25 scores, best first; higher is better, and never negative.

    Args:
        connection: a reader.
        expression: as ``match_expression`` gives it.
        limit: how many at most.
        condition: SQL over ``memories m`` and its values.
    """
    where, values = condition or ("", ())
    join = f"JOIN memories m ON m.rid = terms.rowid AND {where}" if where else ""
    found = connection.execute(
        f"SELECT terms.rowid, -bm25(terms, 1.0, 0.5, 0.0) AS score FROM terms {join} "
        "WHERE terms MATCH ? ORDER BY score DESC, terms.rowid LIMIT ?",
        (*values, expression, min(limit, MAX_LIMIT)),
    ).fetchall()
    return [(rid, max(score, 0.0)) for rid, score in found]
