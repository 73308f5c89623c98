"""What a write answered, kept under the key that its caller gave it."""

import hashlib
import json
from collections.abc import Callable, Iterable
from typing import TypeVar

from ums_core.errors import IdempotencyConflict
from ums_core.storage.connect import Connection

__all__ = ["answered", "digest_of", "once"]

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
