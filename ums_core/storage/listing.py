"""What there is, without a question: pages, counts, namespaces."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ums_core.records import Namespace
from ums_core.storage.connect import Connection
from ums_core.storage.keyword import MAX_LIMIT
from ums_core.storage.table import COLUMNS, decode_namespace, prefix_range

__all__ = ["Walk", "count", "has_many", "namespaces", "page"]

# SQL over `memories m` and its values; an empty string is no condition.
Condition = tuple[str, Sequence[object]]
_MANY = 2000
_LAST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Walk:
    """How a listing goes on: at most ``limit`` rows beyond the cursor; None is the start of the direction."""

    limit: int
    cursor: int | None
    descending: bool


def has_many(connection: Connection, condition: Condition) -> bool:
    """Whether so many rows meet a condition on the namespace that sorting them costs more than passing by others."""
    sql, values = condition
    found = connection.execute(f"SELECT 1 FROM memories m WHERE {sql} LIMIT 1 OFFSET {_MANY}", values).fetchone()
    return found is not None


def page(connection: Connection, condition: Condition, walk: Walk) -> tuple[list[tuple[Any, ...]], int | None]:
    """Rows of ``COLUMNS`` by the moment of first storing, and the cursor of the next page.

    Two walks are merged: over memories that are their first version, by row id, and over replaced ones, by their small
    index.
    """
    sql, values = condition
    where = f"AND {sql}" if sql else ""
    limit = min(walk.limit, MAX_LIMIT - 1)
    beyond, order, start = ("<", "DESC", _LAST) if walk.descending else (">", "ASC", 0)
    part = (start if walk.cursor is None else walk.cursor, *values, limit + 1)
    rows = connection.execute(
        f"SELECT * FROM (SELECT {COLUMNS} FROM memories m WHERE m.rid {beyond} ? AND m.birth = m.rid {where} "
        f"ORDER BY m.rid {order} LIMIT ?) UNION ALL "
        f"SELECT * FROM (SELECT {COLUMNS} FROM memories m WHERE m.birth {beyond} ? AND m.birth <> m.rid {where} "
        f"ORDER BY m.birth {order} LIMIT ?) ORDER BY birth {order} LIMIT ?",
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
