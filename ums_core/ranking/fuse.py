"""Fusion of signals that were measured on the same candidates."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["alternating", "best_first", "standard"]

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]

# Fewer are sorted sooner than the best of them are told apart.
_SORTED = 400


def standard(signal: Floats, basis: npt.NDArray[np.intp] | None = None) -> Floats:
    """A signal as z-scores, so that signals of any unit can be weighed against one another.

    Shifting or scaling the signal changes nothing; a signal that says the same of all candidates becomes zero.

    Args:
        signal: shape (n,), finite, higher is better.
        basis: places of the candidates that mean and deviation are taken of; None is all. A fixed number of best ones
            keeps the order independent of how many candidates follow.

    Returns:
        Shape (n,).

    Source: score normalisation of Lee, SIGIR 1997, with standard scores as in Montague and Aslam, CIKM 2001.
    """
    known = signal if basis is None else signal.take(basis)
    if not len(known):
        return np.zeros(len(signal))
    mean = float(known.sum()) / len(known)
    # In fewer steps than numpy's own, which cost a search more than the numbers do.
    off = known - mean
    spread = math.sqrt(float(off @ off) / len(off))
    # Rounding leaves a spread of some ulps where all values are one.
    if spread <= 1e-9 * max(1.0, abs(mean)):
        return np.zeros(len(signal))
    return np.asarray((signal - mean) / spread)


def alternating(first: Ids, second: Ids) -> Ids:
    """The ids of two rankings by their better rank, one of each in turn, each once; longer lists only add behind."""
    ids = np.concatenate([first, second])
    turn = np.concatenate([np.arange(0, 2 * len(first), 2), np.arange(1, 2 * len(second), 2)])
    ids = ids[np.argsort(turn, kind="stable")]
    return np.asarray(ids[np.sort(np.unique(ids, return_index=True)[1])])


def best_first(scores: npt.NDArray[np.floating[Any]], k: int) -> npt.NDArray[np.intp]:
    """Places of the k best scores, best first; of equals the first first."""
    if len(scores) < max(_SORTED, 2 * k):
        return (-scores).argsort(kind="stable")[:k]
    near: npt.NDArray[np.intp] = (scores >= np.partition(scores, len(scores) - k)[len(scores) - k]).nonzero()[0]
    return near.take((-scores.take(near)).argsort(kind="stable")[:k])
