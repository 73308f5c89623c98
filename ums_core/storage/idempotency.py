"""What a write answered, kept under the key that its caller gave it, for as long as is asked for."""

import hashlib
import json
from collections.abc import Callable, Iterable
from typing import TypeVar

from ums_core.errors import IdempotencyConflict
from ums_core.storage.connect import Connection

__all__ = ["answered", "digest_of", "lapse", "lapsing", "once"]

T = TypeVar("T")


def digest_of(parts: Iterable[bytes]) -> bytes:
    """SHA-256 over length-prefixed parts, which stand for what a write asks."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


def answered(connection: Connection, key: str) -> bool:
    """Whether a key has its answer."""
    return connection.execute("SELECT 1 FROM idempotency WHERE key = ?", (key,)).fetchone() is not None


def once(connection: Connection, key: str, digest: bytes, at: int, work: Callable[[], T]) -> T:
    """The answer that the key stands for; on its first use, that of the work, kept as JSON.

    Raises:
        IdempotencyConflict: the key was used for a different write.
    """
    row = connection.execute("SELECT digest, answer FROM idempotency WHERE key = ?", (key,)).fetchone()
    if row is not None:
        if bytes(row[0]) != digest:
            raise IdempotencyConflict(
                f"idempotency key {key!r} was used for a different write; use a new key for each distinct write"
            )
        return json.loads(row[1])  # type: ignore[no-any-return]  # JSON of what a work of this kind returned
    answer = work()
    connection.execute("INSERT INTO idempotency VALUES (?, ?, ?, ?)", (key, digest, json.dumps(answer), at))
    return answer


def lapsing(connection: Connection, before: int) -> int:
    """How many answers are older than a moment, in us since 1970."""
    return int(connection.execute("SELECT count(*) FROM main.idempotency WHERE at < ?", (before,)).fetchone()[0])


def lapse(connection: Connection, before: int, limit: int) -> int:
    """Let so many of the answers go that are older than a moment, the oldest first, and return how many there were."""
    oldest = "SELECT key FROM main.idempotency WHERE at < ? ORDER BY at LIMIT ?"
    return int(connection.execute(f"DELETE FROM main.idempotency WHERE key IN ({oldest})", (before, limit)).rowcount)
