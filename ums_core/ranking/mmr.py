"""Answers that do not repeat one another. Pure functions of arrays."""

import numpy as np
import numpy.typing as npt

__all__ = ["alike_by_vectors", "alike_by_words", "mmr"]

Floats = npt.NDArray[np.float64]


def mmr(relevance: Floats, alike: Floats, diversity: float) -> list[int]:
    """Places in the order of maximal marginal relevance; the first is the most relevant one.

    Each step takes the candidate with the greatest ``(1 - diversity) * relevance - diversity * likeness to its most
    alike among those taken``, relevance scaled to [0, 1] over the candidates; of equals, the first. So the order for
    fewer is the beginning of the order for more. Costs n steps over n numbers.

    Args:
        relevance: shape (n,), higher is better.
        alike: symmetric, shape (n, n), 1 for the same.
        diversity: in [0, 1]; the lambda of the source is 1 - diversity.

    Source: Carbonell, Goldstein, SIGIR 1998.
    """
    n = len(relevance)
    if not n:
        return []
    span = float(np.ptp(relevance))
    scaled = (relevance - relevance.min()) / span if span > 0 else np.zeros(n)
    nearest = np.full(n, -np.inf)
    taken: list[int] = []
    gain = scaled.copy()
    while len(taken) < n:
        best = int(gain.argmax())
        taken.append(best)
        nearest = np.maximum(nearest, alike[best])
        gain = (1.0 - diversity) * scaled - diversity * nearest
        gain[taken] = -np.inf
    return taken


def alike_by_vectors(vectors: npt.NDArray[np.float32]) -> Floats:
    """Cosines of all pairs, shape (n, n), given rows of shape (n, d) of any length; a row of zeros is like no other."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = vectors / np.maximum(norms, np.finfo(np.float32).tiny)
    # In this thread: a product of matrices may wake those of BLAS, which wait for each other when cores are busy.
    return np.asarray(np.vecdot(units[:, None, :], units[None]), np.float64)


def alike_by_words(texts: list[set[str]]) -> Floats:
    """Share of common words of all pairs, shape (n, n): Jaccard; two without words are unlike."""
    alike = np.zeros((len(texts), len(texts)))
    for row, mine in enumerate(texts):
        for column, other in enumerate(texts[:row]):
            alike[row, column] = alike[column, row] = len(mine & other) / max(1, len(mine | other))
    return alike
