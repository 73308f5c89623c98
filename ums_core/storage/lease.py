"""One runner among several processes: a lease in the database, which another may take when it has run out."""

import os
from time import monotonic
from typing import Self

from ums_core.errors import MaintenanceRunning
from ums_core.records.match import micros
from ums_core.storage import kv
from ums_core.storage.database import Database
from ums_core.storage.transaction import SqlTransaction

__all__ = ["Lease"]

_COLLECTION, _KEY = "ums.maintenance", "lease"


class Lease:
    """The right to maintain a database, for a ``with`` block.

    Args:
        database: which one.
        seconds: after which it runs out, if it is not kept.

    Raises:
        MaintenanceRunning: another one has it.
    """

    def __init__(self, database: Database, seconds: float) -> None:
        self._database = database
        self._seconds = seconds
        self._holder = os.urandom(8).hex()
        self._renewed_at = 0.0

    def __enter__(self) -> Self:
        """Take it."""
        left = self._database.write(self._take)
        if left is not None:
            raise MaintenanceRunning(
                f"{self._database.path} is being maintained by another one; it ends, or its lease in {left:.0f} s",
                retry_after_s=left,
            )
        self._renewed_at = monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        """Give it back, unless another one has taken it meanwhile."""
        self._database.write(self._give)

    def keep(self) -> bool:
        """Take it again when a third of it is over; False where another one has taken it meanwhile."""
        if monotonic() - self._renewed_at < self._seconds / 3:
            return True
        kept = self._database.write(self._take) is None
        self._renewed_at = monotonic()
        return kept

    def _take(self, tx: SqlTransaction) -> float | None:
        """Take it; seconds that are left to another one where that has it."""
        holder, until, length = _read(tx)
        left = until - micros(tx.now)
        # A clock that was set back leaves no lease for longer than it was given.
        if holder not in {"", self._holder} and 0 < left <= length:
            return left / 1e6
        length = round(self._seconds * 1e6)
        lease = {"holder": self._holder, "until": micros(tx.now) + length, "length": length}
        kv.put(tx.connection, _COLLECTION, {_KEY: lease})
        return None

    def _give(self, tx: SqlTransaction) -> None:
        if _read(tx)[0] == self._holder:
            kv.delete(tx.connection, _COLLECTION, [_KEY])


def _read(tx: SqlTransaction) -> tuple[str, int, int]:
    """Who has it, until when and for how long, in microseconds."""
    match kv.get(tx.connection, _COLLECTION, [_KEY]):
        case [{"holder": str(holder), "until": int(until), "length": int(length)}]:
            return holder, until, length
    # None yet, or what somebody else put there.
    return "", 0, 0
