"""Fusion of rankings whose scores cannot be compared."""

from collections.abc import Hashable, Sequence
from typing import TypeVar

__all__ = ["rrf"]

Key = TypeVar("Key", bound=Hashable)


def rrf(rankings: Sequence[Sequence[Key]], *, k: int = 60) -> list[tuple[Key, float]]:
    """Fuse rankings into one, best first, each key with its score.

    The score of a key is the sum over rankings of 1 / (k + rank), rank from 1; absence adds nothing. Ties keep the
    order of first appearance.

    Raises:
        ValueError: k < 1.

    Source: Cormack, Clarke, Buettcher, SIGIR 2009.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    scores: dict[Key, float] = {}
    for ranking in rankings:
        for rank, key in enumerate(ranking, start=1):
            scores[key] = scores.get(key, 0.0) + 1 / (k + rank)
    return sorted(scores.items(), key=lambda item: -item[1])
