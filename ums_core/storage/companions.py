"""How long a commit waits for writers that are likely to come back at once."""

import threading
from collections.abc import Sized

__all__ = ["Companions"]

_SHARE, _PATIENCE_S = 0.25, 0.001
_MAX_MISSES = 6


class Companions:
    """The writers that are about, and whether the next commit is worth holding back for them.

    Threads that write without a pause would else fall into two groups that commit by turns, and pay for twice as many
    syncs. So who leads waits until as many have come as were there around the last commit, while one follows another
    within a quarter of the time that it took. A lone writer never waits. When they stay away, as threads do that have
    more to do than to write, it is tried again after 1, 3, and at last 63 commits. PostgreSQL's ``commit_delay`` has
    the same purpose and a fixed time.

    Args:
        patience_s: the longest wait for the next one.

    Attributes:
        waits: how often a commit was held back.
    """

    def __init__(self, patience_s: float = _PATIENCE_S) -> None:
        self.waits = 0
        self._longest_s = patience_s
        self._patience_s = 0.0
        self._expected, self._awaited = 1, 0
        self._misses = self._pause = 0
        self._complete = threading.Lock()
        self._complete.acquire()

    def come(self, there: int) -> None:
        """Take note that so many are there now; one thread at a time."""
        if there == self._awaited:
            self._awaited = 0
            self._complete.release()

    def committed(self, writers: int, took_s: float) -> None:
        """Take note of how many were about during a commit, those for the next one included, and of its time."""
        self._expected = writers
        self._patience_s = min(took_s * _SHARE, self._longest_s)

    def wait(self, there: Sized, mutex: threading.Lock) -> None:
        """Wait for those that are missing, if it is worth it.

        Args:
            there: those that have come; ``come`` is told of each.
            mutex: held by whoever changes ``there``, and not by the caller.
        """
        try:
            with mutex:
                seen = len(there)
                if seen >= self._expected:
                    return
                if self._pause:
                    self._pause -= 1
                    return
                self._awaited = self._expected
                self.waits += 1
            while not self._complete.acquire(timeout=self._patience_s):
                last, seen = seen, len(there)
                if seen <= last:
                    self._misses = min(self._misses + 1, _MAX_MISSES)
                    self._pause = 2**self._misses - 1
                    return
            self._misses = 0
        finally:
            # Also where an interrupt ends it, and where the last one came too late.
            with mutex:
                self._awaited = 0
                self._complete.acquire(blocking=False)
