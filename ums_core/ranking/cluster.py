"""Which vectors belong together: star clustering on bounded memory. Pure functions of arrays."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["EXACT", "MAX_SIZE", "Grouping", "stars"]

Units = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

# Up to so many vectors every pair is compared; beyond, those of near cells.
EXACT = 20_000
# More than so many in one cluster make no summary that anybody could read; they become several, one level up alike.
MAX_SIZE = 32
# Numbers in one block of similarities; the memory that clustering takes beside the vectors follows from it.
_BLOCK = 1 << 22
_PROBES = 12
_ROUNDS = 4
_SAMPLE_A_CELL = 32


@dataclass(frozen=True, slots=True)
class Grouping:
    """Vectors in clusters.

    Attributes:
        clusters: places of the members of each, ascending, at least two; by their first member.
        alone: places of the others, ascending.
        similarity: of each cluster, the least cosine of a member and its centre.
    """

    clusters: list[list[int]]
    alone: list[int]
    similarity: list[float]


def stars(
    units: Units,
    threshold: float,
    *,
    max_size: int = MAX_SIZE,
    exact: int = EXACT,
    pause: Callable[[float], None] = lambda _share: None,
) -> Grouping:
    """Vectors in stars: each member has a cosine of at least ``threshold`` with the centre of its cluster.

    The vector with the most neighbours becomes a centre and takes its nearest ones that are still free, up to
    ``max_size`` in all, then the next one; so similarity does not chain, as it does where a cluster is whatever hangs
    together: two members are at most twice the angle of the threshold apart. Those left over go through it again,
    until no two of them are near enough. Of equals, the first in place goes first: the same vectors give the same
    clusters.

    Up to ``exact`` vectors all pairs are compared, a block at a time: n²/2 of them. Beyond, each is compared with those
    of the cells nearest to its own, about √n cells in all, so the cost grows as n^1.5, and pairs that lie far apart
    within the threshold may be missed. Beside the vectors it takes 8 bytes for each of n x max_size, and 100 MB.

    Args:
        units: unit rows, shape (n, d) float32.
        threshold: in (0, 1].
        max_size: at least 2.
        exact: up to how many vectors all pairs are compared.
        pause: called between blocks with the share of the first pass that is done, in [0, 1]; what it raises ends all.

    Source: star clusters of Aslam, Pelekhov, Rus, Journal of Graph Algorithms and Applications 2004, with each vector
    in one of them; cells as in the inverted file of Jégou, Douze, Schmid, PAMI 2011.
    """
    found: list[tuple[list[int], float]] = []
    alone = np.ones(len(units), np.bool_)
    free = np.arange(len(units), dtype=np.int64)
    told = pause
    while len(free) > 1:
        near = _neighbours(units[free], threshold, max_size - 1, exact, told)
        new = [(sorted(free[members].tolist()), least) for members, least in _stars_of(near, max_size)]
        if not new:
            break
        found += new
        for members, _ in new:
            alone[members] = False
        # Only those with a neighbour can still find one that is free.
        free = free[alone[free] & (near.degree > 0)]
        told = _unshared(pause)
    found.sort()
    return Grouping([members for members, _ in found], np.flatnonzero(alone).tolist(), [least for _, least in found])


def _unshared(pause: Callable[[float], None]) -> Callable[[float], None]:
    """Later passes go over what is left, and are near the end."""
    return lambda _share: pause(1.0)


@dataclass(frozen=True, slots=True)
class _Near:
    """The nearest neighbours of each row: ids and cosines, best first, shape (n, k); -1 where there are fewer."""

    ids: npt.NDArray[np.int32]
    cosines: npt.NDArray[np.float32]
    degree: Ids


def _stars_of(near: _Near, max_size: int) -> list[tuple[list[int], float]]:
    """Centres by their number of neighbours, each with its nearest free ones; and the least cosine in each."""
    order = np.lexsort((np.arange(len(near.degree)), -near.degree))
    free = np.ones(len(order), np.bool_)
    found: list[tuple[list[int], float]] = []
    for centre in order.tolist():
        if not near.degree[centre]:
            break
        if not free[centre]:
            continue
        ids = near.ids[centre]
        usable = (ids >= 0) & free[np.maximum(ids, 0)]
        members = ids[usable][: max_size - 1].tolist()
        if members:
            free[centre] = False
            free[members] = False
            found.append(([centre, *members], float(near.cosines[centre][usable][: max_size - 1].min())))
    return found


def _neighbours(units: Units, threshold: float, k: int, exact: int, pause: Callable[[float], None]) -> _Near:
    n = len(units)
    near = _Near(np.full((n, k), -1, np.int32), np.full((n, k), -np.inf, np.float32), np.zeros(n, np.int64))
    blocks = _all_pairs(n) if n <= exact else _cells(units)
    done = 0
    for rows, others in blocks:
        for part in np.array_split(rows, max(1, -(-len(rows) * len(others) // _BLOCK))):
            _fill(near, part, others, _cosines(units, part, others, threshold))
            done += len(part)
            pause(done / n)
    return near


def _all_pairs(n: int) -> Iterator[tuple[Ids, Ids]]:
    everything = np.arange(n, dtype=np.int64)
    yield everything, everything


def _cosines(units: Units, rows: Ids, others: Ids, threshold: float) -> npt.NDArray[np.float32]:
    """Cosines, shape (r, o); -inf below the threshold and of a row with itself."""
    cosines = units[rows] @ units[others].T
    cosines[cosines < threshold] = -np.inf
    cosines[rows[:, None] == others] = -np.inf
    return cosines


def _fill(near: _Near, rows: Ids, others: Ids, cosines: npt.NDArray[np.float32]) -> None:
    degree = np.count_nonzero(np.isfinite(cosines), axis=1)
    near.degree[rows] = degree
    some = np.flatnonzero(degree)
    if not len(some):
        return
    held = cosines[some]
    k = min(near.ids.shape[1], held.shape[1])
    # Of equals, the first in place: the key orders by cosine, then by place, and no two are alike.
    best = np.argsort(-held, axis=1, kind="stable")[:, :k] if held.shape[1] <= 4 * k else _largest(held, k)
    values = np.take_along_axis(held, best, axis=1)
    ids = np.where(np.isfinite(values), others[best], -1)
    near.ids[rows[some], :k] = ids
    near.cosines[rows[some], :k] = values


def _largest(held: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.intp]:
    """Places of the k largest of each row, largest first; of equals, the first ones."""
    kth = -np.partition(-held, k - 1, axis=1)[:, k - 1]
    out = np.empty((len(held), k), np.intp)
    for row, (values, bound) in enumerate(zip(held, kth, strict=True)):
        places = np.flatnonzero(values >= bound) if np.isfinite(bound) else np.flatnonzero(np.isfinite(values))
        chosen = places[np.argsort(-values[places], kind="stable")[:k]]
        # What is missing points at the first place, which is -inf there or is told by its value.
        out[row, : len(chosen)] = chosen
        if len(chosen) < k:
            out[row, len(chosen) :] = int(np.argmin(values))
    return out


def _cells(units: Units) -> Iterator[tuple[Ids, Ids]]:
    """Rows of each cell, and those of the cells nearest to it, itself among them."""
    centres = _centres(units)
    cell = _nearest_of(units, centres)
    order = np.argsort(cell, kind="stable")
    starts = np.searchsorted(cell[order], np.arange(len(centres) + 1))
    members = [order[starts[c] : starts[c + 1]] for c in range(len(centres))]
    nearest = np.argsort(-(centres @ centres.T), axis=1, kind="stable")[:, :_PROBES]
    for c, rows in enumerate(members):
        if len(rows):
            yield rows, np.sort(np.concatenate([members[other] for other in nearest[c].tolist()]))


def _centres(units: Units) -> Units:
    """About √n unit rows in the middle of cells: spherical k-means on an even sample, from evenly spaced seeds."""
    count = max(1, round(len(units) ** 0.5))
    sample = units[np.linspace(0, len(units) - 1, min(len(units), count * _SAMPLE_A_CELL)).astype(np.int64)]
    centres = sample[np.linspace(0, len(sample) - 1, count).astype(np.int64)].copy()
    for _ in range(_ROUNDS):
        cell = _nearest_of(sample, centres)
        sums = np.zeros_like(centres)
        np.add.at(sums, cell, sample)
        norms = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(norms > 0, sums / np.maximum(norms, np.finfo(np.float32).tiny), centres)
    return centres


def _nearest_of(units: Units, centres: Units) -> Ids:
    step = max(1, _BLOCK // len(centres))
    return np.concatenate(
        [(units[at : at + step] @ centres.T).argmax(axis=1) for at in range(0, len(units), step)]
    ).astype(np.int64)
