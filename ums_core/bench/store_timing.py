"""Times of several contestants taken in turns, so that what disturbs the machine disturbs them alike."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

__all__ = ["Times", "Track", "interleave", "once"]

T = TypeVar("T")
A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Track(Generic[T, A]):
    """What one contestant does in each round.

    Attributes:
        call: what is timed, once an item.
        block: the items of the next round.
        check: looks at every answer after the block; raises if it is wrong.
    """

    call: Callable[[T], A]
    block: Callable[[], Sequence[T]]
    check: Callable[[T, A], object]


@dataclass(frozen=True, slots=True)
class Times:
    """Nanoseconds of each call, by round."""

    rounds: Sequence[Sequence[int]]

    def us(self, percentile: float) -> float:
        """The median over the rounds of a percentile within a round, in microseconds."""
        return float(np.median([np.percentile(block, percentile) for block in self.rounds])) / 1e3

    def mean_us(self) -> float:
        """The median over the rounds of the mean of a round, in microseconds."""
        return float(np.median([np.mean(block) for block in self.rounds])) / 1e3


def interleave(tracks: Mapping[str, Track[T, A]], rounds: int) -> dict[str, Times]:
    """The times of each track: one block of each in turn, ``rounds`` times, after a first time that only warms up.

    Raises:
        AssertionError: an answer was wrong, in the warm-up or later.
    """
    taken: dict[str, list[list[int]]] = {name: [] for name in tracks}
    for number in range(rounds + 1):
        for name, track in tracks.items():
            items = track.block()
            times, answers = _timed(track.call, items)
            for item, answer in zip(items, answers, strict=True):
                track.check(item, answer)
            if number:
                taken[name].append(times)
    return {name: Times(blocks) for name, blocks in taken.items()}


def once(work: Callable[[], A]) -> tuple[float, A]:
    """How many seconds one piece of work took, and what came of it."""
    start = time.perf_counter_ns()
    result = work()
    return (time.perf_counter_ns() - start) / 1e9, result


def _timed(call: Callable[[T], A], items: Sequence[T]) -> tuple[list[int], list[A]]:
    times, answers = [], []
    clock = time.perf_counter_ns
    for item in items:
        start = clock()
        answer = call(item)
        times.append(clock() - start)
        answers.append(answer)
    return times, answers
