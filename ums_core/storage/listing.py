"""What there is, without a question: pages, counts, namespaces."""

from collections.abc import Sequence
from typing import Any

from ums_core.records import Namespace
from ums_core.storage.connect import Connection
from ums_core.storage.keyword import MAX_LIMIT
from ums_core.storage.table import COLUMNS, decode_namespace, prefix_range

__all__ = ["count", "namespaces", "page"]

# SQL over `memories m` and its values; an empty string is no condition.
Condition = tuple[str, Sequence[object]]


def page(
    connection: Connection, condition: Condition, limit: int, cursor: int
) -> tuple[list[tuple[Any, ...]], int | None]:
    """Rows of ``COLUMNS`` in the order in which the identities were first stored, and the cursor of the next page.

    Two walks are merged: over memories that are their first version, by row id, and over replaced ones, by their small
    index.
    """
    sql, values = condition
    where = f"AND {sql}" if sql else ""
    limit = min(limit, MAX_LIMIT - 1)
    part = (cursor, *values, limit + 1)
    rows = connection.execute(
        f"SELECT * FROM (SELECT {COLUMNS} FROM memories m WHERE m.rid > ? AND m.birth = m.rid {where} "
        "ORDER BY m.rid LIMIT ?) UNION ALL "
        f"SELECT * FROM (SELECT {COLUMNS} FROM memories m WHERE m.birth > ? AND m.birth <> m.rid {where} "
        "ORDER BY m.birth LIMIT ?) ORDER BY birth LIMIT ?",
        (*part, *part, limit + 1),
    ).fetchall()
    return rows[:limit], rows[limit - 1][1] if len(rows) > limit else None


def count(connection: Connection, condition: Condition) -> int:
    """How many rows meet a condition."""
    sql, values = condition
    where = f"WHERE {sql}" if sql else ""
    return int(connection.execute(f"SELECT count(*) FROM memories m {where}", values).fetchone()[0])


def namespaces(connection: Connection, prefix: Namespace, condition: Condition) -> list[Namespace]:
    """The namespaces under a prefix that hold a memory which meets the condition, ascending."""
    sql, values = condition
    where = "n.path >= ? AND n.path < ? AND" if prefix else ""
    found = connection.execute(
        f"SELECT n.path FROM namespaces n WHERE {where} "
        f"EXISTS (SELECT 1 FROM memories m WHERE m.nid = n.nid {f'AND {sql}' if sql else ''})",
        (*(prefix_range(prefix) if prefix else ()), *values),
    ).fetchall()
    return sorted(decode_namespace(row[0]) for row in found)
