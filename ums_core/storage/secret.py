"""Keys that a database makes for itself and holds in itself; field mode seals them."""

import secrets

from ums_core.storage.connect import Connection

__all__ = ["made", "read"]

_BYTES = 32


def made(connection: Connection, name: str) -> bytes:
    """The key of that name, made where there is none yet."""
    found = read(connection, name)
    if found is None:
        found = secrets.token_bytes(_BYTES)
        connection.execute("INSERT INTO secrets VALUES (?, ?)", (name, found.hex()))
    return found


def read(connection: Connection, name: str) -> bytes | None:
    """The key of that name; None before it was made."""
    row = connection.execute("SELECT value FROM secrets WHERE key = ?", (name,)).fetchone()
    return None if row is None else bytes.fromhex(row[0])
