"""Keys, and other bytes, that a database makes for itself and holds in itself; field mode seals them."""

import secrets

from ums_core.storage.connect import Connection

__all__ = ["keep", "made", "read"]

_BYTES = 32


def made(connection: Connection, name: str) -> bytes:
    """The key of that name, made where there is none yet."""
    found = read(connection, name)
    if found is None:
        found = secrets.token_bytes(_BYTES)
        keep(connection, name, found)
    return found


def keep(connection: Connection, name: str, value: bytes) -> None:
    """Let the name stand for the value."""
    connection.execute("INSERT OR REPLACE INTO secrets VALUES (?, ?)", (name, value.hex()))


def read(connection: Connection, name: str) -> bytes | None:
    """The value of that name; None before it was made."""
    row = connection.execute("SELECT value FROM secrets WHERE key = ?", (name,)).fetchone()
    return None if row is None else bytes.fromhex(row[0])
