"""Files as earlier versions left them: the newest schema, and its steps taken back."""

import sqlite3
from contextlib import closing
from pathlib import Path

__all__ = ["taken_back"]

# What undoes the steps, the last one first; a step that changed only values has none.
_BACK: dict[int, tuple[str, ...]] = {
    7: ("DROP INDEX idempotency_age",),
    6: tuple(f"ALTER TABLE {table} DROP COLUMN caption" for table in ("memories", "archived")),
    5: (
        "DROP TABLE actors",
        "DROP TABLE history",
        *(f"ALTER TABLE journal DROP COLUMN {name}" for name in ("actor", "digests", "salts", "link")),
    ),
    4: ("DROP TABLE secrets",),
    3: (
        "DROP TABLE archived",
        "DROP TABLE archived_passages",
        "DROP INDEX memories_expiry",
        *(f"ALTER TABLE memories DROP COLUMN {name}" for name in ("pinned", "accesses", "valid_from", "ttl")),
    ),
}


def taken_back(path: Path, schema: int) -> None:
    """Let a plain database be as a version with that schema would have made it."""
    with closing(sqlite3.connect(path)) as connection:
        newest = connection.execute("PRAGMA user_version").fetchone()[0]
        for step in range(newest, schema, -1):
            for statement in _BACK.get(step, ()):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {schema}")
        connection.commit()
