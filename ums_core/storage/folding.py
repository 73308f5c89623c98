"""When the write-ahead log is folded into the file, and by whom."""

import time
from dataclasses import dataclass

from filelock import FileLock, Timeout

from ums_core.storage.connect import Connection
from ums_core.storage.guard import Guard

__all__ = ["Folding", "Pace"]

# A log that is folded early is written over instead of growing, which halves the cost of a commit on many file systems.
# About what a commit and one of its rows add, in pages.
_FOLDED_PAGES = 2000
_COMMIT_PAGES, _ROW_PAGES = 10, 0.8


@dataclass(frozen=True, slots=True)
class Pace:
    """When the log is folded, and how long others are waited for.

    Attributes:
        checkpoint_writes: commits after which the write-ahead log is folded into the file, or 8 MB of it.
        checkpoint_interval_s: seconds after which it is, at the next commit, if there was any.
        busy_timeout_s: seconds that a lock of another connection or process is waited for.
    """

    checkpoint_writes: int
    checkpoint_interval_s: float
    busy_timeout_s: float


class Folding:
    """Folds the log of one database, one process at a time, under a lock file beside it. Not thread-safe.

    Args:
        guard: of the database, told before the file changes.
        pace: when it is time.
    """

    def __init__(self, guard: Guard, pace: Pace) -> None:
        self._connector = guard.connector
        self._guard = guard
        self._pace = pace
        self._unfolded_writes, self._unfolded_pages = 0, 0.0
        self._folded_at = time.monotonic()

    def note(self, connection: Connection, writes: int, rows: int) -> None:
        """Take account of a commit of so many writes and new rows, and fold if it is time."""
        self._unfolded_writes += writes
        self._unfolded_pages += _COMMIT_PAGES + rows * _ROW_PAGES
        overdue = time.monotonic() - self._folded_at > self._pace.checkpoint_interval_s
        if overdue or self._unfolded_writes >= self._pace.checkpoint_writes or self._unfolded_pages >= _FOLDED_PAGES:
            self.fold(connection, "PASSIVE")

    def fold(self, connection: Connection, mode: str, *, last: bool = False) -> bool:
        """Checkpoint through the writer's connection; False when it could not be done now.

        ``last`` has the guard note the file as it is then.
        """
        self._unfolded_writes, self._unfolded_pages = 0, 0.0
        self._folded_at = time.monotonic()
        try:
            with FileLock(f"{self._connector.path}.lock", timeout=0):
                self._guard.note(connection)
                busy = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()[0]
                if last and not busy:
                    self._guard.left(connection)
        except (Timeout, OSError, self._connector.driver.OperationalError):
            # Another process is at it, or the disk is full: what was committed stays safe in the log.
            return False
        return not busy
