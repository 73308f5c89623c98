"""A moving window in the memory of one process: what was spent in the last so many seconds, by whom."""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Windows"]

# Whoever has spent nothing lately is forgotten, with all others like him, after as many calls.
_SWEEP_EVERY = 1024


@dataclass(slots=True)
class _Spent:
    """What one has spent: units that come back at a moment, the oldest first."""

    parts: deque[tuple[float, int]] = field(default_factory=deque)
    units: int = 0

    def until(self, now: float) -> None:
        while self.parts and self.parts[0][0] <= now:
            self.units -= self.parts.popleft()[1]


class Windows:
    """Moving windows by name. Not thread-safe: it belongs to one event loop.

    The storage in memory that ``limits`` brings keeps an entry a unit, and for each call hops to a thread to copy them;
    here a call costs the same whatever the limit is.

    Args:
        clock: seconds, which never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._spent: dict[str, _Spent] = {}
        self._calls = 0

    def __len__(self) -> int:
        """How many names are remembered."""
        return len(self._spent)

    def take(self, who: str, cost: int, *, most: int, span_s: int) -> tuple[bool, int, int]:
        """Take units where there are so many left.

        Args:
            who: has a window of its own.
            cost: units.
            most: units in a window.
            span_s: length of the window.

        Returns:
            Whether they were taken, how many are left now, and after how many seconds the oldest come back.
        """
        now = self._clock()
        self._sweep(now)
        own = self._spent.setdefault(who, _Spent())
        own.until(now)
        taken = own.units + cost <= most
        if taken:
            own.parts.append((now + span_s, cost))
            own.units += cost
        # A sum less what was added to it may be a hair more than the rest.
        reset_s = min(span_s, math.ceil(own.parts[0][0] - now)) if own.parts else span_s
        return taken, max(0, most - own.units), max(1, reset_s)

    def _sweep(self, now: float) -> None:
        self._calls += 1
        if self._calls % _SWEEP_EVERY:
            return
        for own in self._spent.values():
            own.until(now)
        self._spent = {who: own for who, own in self._spent.items() if own.parts}
