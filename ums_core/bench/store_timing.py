"""Times of several contestants taken in turns, so that what disturbs the machine disturbs them alike."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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


def interleave(tracks: Mapping[str, Track[T, A]], rounds: int, turn: int | None = None) -> dict[str, Times]:
    """The times of each track: one block of each in turn, ``rounds`` times, after a first time that only warms up.

    Args:
        tracks: by name.
        rounds: how often.
        turn: how many items of its block a track has before the next one's turn; None: all of them.

    Raises:
        AssertionError: an answer was wrong, in the warm-up or later.
    """
    taken: dict[str, list[list[int]]] = {name: [] for name in tracks}
    for number in range(rounds + 1):
        times: dict[str, list[int]] = {name: [] for name in tracks}
        left = [_turns(track, turn, times[name]) for name, track in tracks.items()]
        while left:
            left = [each for each in left if next(each, False)]
        if number:
            for name, block in times.items():
                taken[name].append(block)
    return {name: Times(blocks) for name, blocks in taken.items()}


def once(work: Callable[[], A]) -> tuple[float, A]:
    """How many seconds one piece of work took, and what came of it."""
    start = time.perf_counter_ns()
    result = work()
    return (time.perf_counter_ns() - start) / 1e9, result


def _turns(track: Track[T, A], turn: int | None, times: list[int]) -> Iterator[bool]:
    """Time a block; whoever asks for the next element gives it the next turn. Every answer is looked at in the end."""
    items = track.block()
    answers: list[A] = []
    while len(answers) < len(items):
        if answers:
            yield True
        start = len(answers)
        part_times, part = _timed(track.call, items[start : None if turn is None else start + turn])
        times += part_times
        answers += part
    for item, answer in zip(items, answers, strict=True):
        track.check(item, answer)


def _timed(call: Callable[[T], A], items: Sequence[T]) -> tuple[list[int], list[A]]:
    times, answers = [], []
    clock = time.perf_counter_ns
    for item in items:
        start = clock()
        answer = call(item)
        times.append(clock() - start)
        answers.append(answer)
    return times, answers
