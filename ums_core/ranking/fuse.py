"""Fusion of signals that were measured on the same candidates."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["best_first", "zscore_fuse"]


def zscore_fuse(
    signals: Sequence[npt.NDArray[np.float64]],
    weights: Sequence[float],
    basis: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.float64]:
    """One score a candidate: the weighted sum of each signal's z-score.

    A signal that says the same of all candidates adds nothing. Shifting or scaling a signal changes nothing.

    Args:
        signals: each of shape (n,), finite, higher is better.
        weights: one a signal, non-negative.
        basis: the candidates that mean and deviation are taken of, shape (n,); None is all. A fixed number of best ones
            keeps the order independent of how many candidates follow.

    Returns:
        Shape (n,).

    Source: score normalisation of Lee, SIGIR 1997, with standard scores as in Montague and Aslam, CIKM 2001.
    """
    total = np.zeros(len(signals[0]))
    for signal, weight in zip(signals, weights, strict=True):
        known = signal if basis is None else signal[basis]
        if not len(known):
            continue
        spread = float(known.std())
        # Rounding leaves a spread of some ulps where all values are one.
        if spread > 1e-9 * max(1.0, float(np.abs(known).max())):
            total += weight * (signal - known.mean()) / spread
    return total


def best_first(scores: npt.NDArray[np.float64], rids: npt.NDArray[np.int64], k: int) -> npt.NDArray[np.intp]:
    """Places of the k best scores, best first; of equals, the smaller row id first."""
    return np.lexsort((rids, -scores))[:k]
