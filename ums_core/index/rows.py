"""Vectors with their row ids in memory, and the exact answers over them. Pure numpy; nothing here takes a lock."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from ums_core.errors import DimensionMismatch, InvalidQuery
from ums_core.ports.index import Change, RowSet

__all__ = ["Flags", "Floats", "Growing", "Ids", "Ranking", "Rows", "best_of", "check_query", "held"]

Floats: TypeAlias = npt.NDArray[np.float32]
Ids: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Positions: TypeAlias = npt.NDArray[np.intp]
Ranking: TypeAlias = tuple[Ids, Floats]

_LOWEST = np.finfo(np.float32).min
_SLICE, _FETCHED = 4096, 128
# A row of a contiguous window costs a third of one that is fetched from a random place.
_STREAM_RATIO = 3
_COMPACT_SHARE = 4


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """What a reader sees without a lock: some vectors, their row ids, and which of them were removed.

    Attributes:
        vectors: shape (n, d) float32, in the order of ``rids``.
        rids: shape (n,) int64, ascending; a row id stands once for each of its passages.
        dead: shape (n,), True where removed; None while nothing is.
        live: number of vectors that are not removed.
        repeats: whether some row id stands more than once.
        known: positions of the row sets asked for before; shared by views that differ only in ``dead``.
    """

    vectors: Floats
    rids: Ids
    dead: Flags | None
    live: int
    repeats: bool
    known: "WeakKeyDictionary[RowSet, Positions] | None" = field(default=None, repr=False)

    @classmethod
    def over(cls, vectors: Floats, rids: Ids, dead: Flags | None = None) -> "Rows":
        """A view over arrays that nobody changes any more.

        Raises:
            ValueError: the row ids do not ascend, or the shapes do not fit.
        """
        if vectors.ndim != 2 or vectors.shape[:1] != rids.shape or (dead is not None and dead.shape != rids.shape):  # noqa: PLR2004  # rows and columns
            raise ValueError(f"{vectors.shape} vectors do not fit {rids.shape} row ids")
        if (rids[1:] < rids[:-1]).any():
            raise ValueError("row ids must ascend")
        gone = 0 if dead is None else int(np.count_nonzero(dead))
        repeats = bool((rids[1:] == rids[:-1]).any())
        return cls(vectors, rids, dead if gone else None, len(rids) - gone, repeats)

    def positions(self, allowed: RowSet) -> Positions:
        """Ascending positions of all passages of the allowed rows, removed ones included; remembered by the set.

        Costs a binary search for each id of the shorter side, once.
        """
        known = self.known
        if known is None:
            # Made when it is needed: a view is made for every write. Of two threads that come together, one's stays.
            known = WeakKeyDictionary()
            object.__setattr__(self, "known", known)
        at = known.get(allowed)
        if at is None:
            if len(allowed) > len(self.rids):
                at = np.flatnonzero(held(allowed.rids, self.rids))
            else:
                at = _spread(*self._spans(allowed.rids))
            known[allowed] = at
        return at

    @property
    def unbroken(self) -> bool:
        """Whether each row id from the first to the last has one live vector, so that it tells the place."""
        rids = self.rids
        return self.dead is None and not self.repeats and bool(len(rids)) and rids[-1] - rids[0] == len(rids) - 1

    def without(self, removed: Ids) -> "Rows":
        """The same rows with some more of them dead; unknown ids are ignored. Costs a byte a row."""
        at = _spread(*self._spans(removed)) if removed.size else removed
        if not at.size:
            return self
        dead = np.zeros(len(self.rids), np.bool_) if self.dead is None else self.dead.copy()
        dead[at] = True
        return replace(self, dead=dead, live=len(self.rids) - int(np.count_nonzero(dead)))

    def nearest(self, vector: Floats, k: int, at: Positions | None = None) -> Ranking:
        """The k nearest live rows, exactly, best first; ties by ascending row id.

        Args:
            vector: shape (d,) float32.
            k: at least 1.
            at: positions to choose from; None is all.
        """
        if at is not None:
            at = self.alive(at)
        cosines = self._cosines(vector, at)
        take = k
        while True:
            near = _top(cosines, take)
            ranking = self._ranked(near if at is None else at.take(near), cosines.take(near), k)
            if len(ranking[0]) == k or take >= len(cosines):
                return ranking
            take *= 4

    def rank(self, vector: Floats, at: Positions, k: int) -> Ranking:
        """The k best rows among the positions, a row once by its best passage; ties by ascending row id."""
        return self._ranked(at, _dot_at(self.vectors, at, vector), k)

    def alive(self, at: Positions) -> Positions:
        """Those of the positions that are not dead, in the order given."""
        return at if self.dead is None else at[~self.dead[at]]

    def first_live(self, at: Positions, k: int) -> Positions:
        """The positions of the first k distinct live rows, in the order given."""
        at = self.alive(at)
        if self.repeats:
            at = at[np.sort(np.unique(self.rids[at], return_index=True)[1])]
        return at[:k]

    def cosines(self, vector: Floats, rids: Ids) -> Floats:
        """Cosine of each row's best passage, shape (m,); NaN where a row is unknown or removed."""
        if self.unbroken and len(rids) and self.rids[0] <= rids.min() and rids.max() <= self.rids[-1]:
            return _dot_at(self.vectors, rids - self.rids[0], vector)
        start, count = self._spans(rids)
        found = count > 0
        if self.dead is not None:
            found[found] = ~self.dead[start[found]]
        out = np.full(len(rids), np.nan, np.float32)
        start, count = start[found], count[found]
        if not self.repeats:
            out[found] = _dot_at(self.vectors, start, vector)
        elif count.size:
            passages = _dot_at(self.vectors, _spread(start, count), vector)
            out[found] = np.maximum.reduceat(passages, np.cumsum(count) - count)
        return out

    def live_rids(self) -> Ids:
        """Row ids of the live vectors, ascending, once for each passage."""
        return self.rids if self.dead is None else self.rids[~self.dead]

    def slices(self, size: int = _SLICE, *, dead: bool = False) -> Iterator[Floats]:
        """The vectors in contiguous pieces of at most ``size`` rows, without the dead ones unless asked for."""
        for start in range(0, len(self.rids), size):
            piece = self.vectors[start : start + size]
            if self.dead is not None and not dead:
                piece = piece[~self.dead[start : start + size]]
            yield piece

    def _spans(self, wanted: Ids) -> tuple[Positions, Positions]:
        """First position and number of passages of each wanted row id; the number is 0 where there is none."""
        start = self.rids.searchsorted(wanted)
        if self.repeats or not self.rids.size:
            return start, self.rids.searchsorted(wanted, side="right") - start
        return start, (self.rids.take(start, mode="clip") == wanted).astype(np.intp)

    def _cosines(self, vector: Floats, at: Positions | None) -> Floats:
        """Inner products, minus infinity where dead; gathered where the positions lie far apart."""
        if at is None:
            cosines = _dot(self.vectors, vector)
            if self.dead is not None:
                np.putmask(cosines, self.dead, -np.inf)
            return cosines
        if at.size and at[-1] - at[0] < _STREAM_RATIO * at.size:
            window: Floats = _dot(self.vectors[at[0] : at[-1] + 1], vector)[at - at[0]]
            return window
        return _dot_at(self.vectors, at, vector)

    def _ranked(self, at: Positions, cosines: Floats, k: int) -> Ranking:
        rids = self.rids.take(at)
        order = np.lexsort((rids, -cosines))
        rids, cosines = rids.take(order), cosines.take(order)
        if self.repeats:
            first = np.sort(np.unique(rids, return_index=True)[1])
            rids, cosines = rids.take(first), cosines.take(first)
        return rids[:k], cosines[:k]


class Growing:
    """The one writer's side of ``Rows``: append, remove, compact. Views given out before stay as they were.

    The matrix grows by half, so memory is linear and an append costs its own bytes on average; it is compacted when
    more than a quarter of it is dead.

    Attributes:
        rows: the present view.
        last: the greatest row id ever appended; -1 for none.
    """

    def __init__(self, rows: Rows, last: int = -1) -> None:
        self._matrix, self._rids = rows.vectors, rows.rids
        self.rows = rows
        self.last = max(last, int(rows.rids[-1])) if rows.rids.size else last

    @classmethod
    def empty(cls, dim: int) -> "Growing":
        """No rows yet."""
        return cls(Rows.over(np.empty((0, dim), np.float32), np.empty(0, np.int64)))

    def apply(self, change: Change) -> None:
        """Remove, then append.

        Raises:
            DimensionMismatch: the vectors have another number of components; nothing happened.
            ValueError: the row ids do not ascend from the last one; nothing happened.
        """
        dim, added = self._matrix.shape[1], change.added
        if change.vectors.shape != (len(added), dim):
            raise DimensionMismatch(f"{len(added)} rows of {dim} components were due, got {change.vectors.shape}")
        if added.size and (added[0] <= self.last or (added.size > 1 and (added[1:] < added[:-1]).any())):
            raise ValueError(f"added row ids must ascend and be greater than {self.last}")
        self._keep(self.rows.without(change.removed))
        if added.size:
            self._append(added, change.vectors)

    def drop(self, last: int) -> None:
        """Forget all rows up to and including one row id: they live elsewhere now. Costs a copy of the others."""
        rows = self.rows
        start = int(np.searchsorted(rows.rids, last, side="right"))
        dead = None if rows.dead is None else rows.dead[start:]
        self._replace(Rows.over(rows.vectors[start:].copy(), rows.rids[start:].copy(), dead))

    def _keep(self, rows: Rows) -> None:
        if _COMPACT_SHARE * (len(rows.rids) - rows.live) > len(rows.rids):
            alive = ~rows.dead if rows.dead is not None else slice(None)
            self._replace(Rows.over(rows.vectors[alive], rows.rids[alive]))
        else:
            self.rows = rows

    def _replace(self, rows: Rows) -> None:
        self._matrix, self._rids, self.rows = rows.vectors, rows.rids, rows

    def _append(self, rids: Ids, vectors: Floats) -> None:
        rows, count = self.rows, len(self.rows.rids)
        total = count + len(rids)
        if total > len(self._rids):
            room = max(total, count + count // 2, 64)
            matrix, ids = np.empty((room, self._matrix.shape[1]), np.float32), np.empty(room, np.int64)
            matrix[:count], ids[:count] = rows.vectors, rows.rids
            self._matrix, self._rids = matrix, ids
        self._matrix[count:total], self._rids[count:total] = vectors, rids
        self.rows = Rows(
            self._matrix[:total],
            self._rids[:total],
            None if rows.dead is None else np.concatenate((rows.dead, np.zeros(len(rids), np.bool_))),
            rows.live + len(rids),
            rows.repeats or (len(rids) > 1 and bool((rids[1:] == rids[:-1]).any())),
        )
        self.last = int(rids[-1])


def best_of(first: Ranking, second: Ranking, k: int) -> Ranking:
    """The k best of two rankings that share no row; ties by ascending row id."""
    rids, cosines = np.concatenate((first[0], second[0])), np.concatenate((first[1], second[1]))
    order = np.lexsort((rids, -cosines))[:k]
    return rids[order], cosines[order]


def held(among: Ids, rids: Ids) -> Flags:
    """Whether each id stands in the ascending ids ``among``, shape (m,)."""
    if not among.size:
        return np.zeros(len(rids), np.bool_)
    at = np.searchsorted(among, rids)
    at[at == among.size] = 0
    present: Flags = among[at] == rids
    return present


def check_query(vector: npt.NDArray[Any], k: int, dim: int) -> Floats:
    """The vector as contiguous float32.

    Raises:
        InvalidQuery: k < 1.
        DimensionMismatch: not of shape (dim,).
    """
    if k < 1:
        raise InvalidQuery(f"k must be at least 1, got {k}")
    if vector.shape != (dim,):
        raise DimensionMismatch(f"a vector of shape {(dim,)} was due, got {vector.shape}")
    return np.ascontiguousarray(vector, np.float32)


def _dot(vectors: Floats, vector: Floats) -> Floats:
    """Inner products that depend on two vectors alone, not on where they stand, so that equal ones tie.

    Row by row, in this thread: a matrix product may wake the threads of BLAS, which spin for milliseconds when the
    other cores are busy.
    """
    dots: Floats = np.vecdot(vectors, vector)
    return dots


def _dot_at(vectors: Floats, at: Positions, vector: Floats) -> Floats:
    """The same of some rows, which are fetched a part at a time: more would drive all else out of the cache."""
    if len(at) <= _FETCHED:
        return _dot(vectors.take(at, 0), vector)
    parts = [at[start : start + _FETCHED] for start in range(0, len(at), _FETCHED)]
    return np.concatenate([_dot(vectors.take(part, 0), vector) for part in parts])


def _spread(start: Positions, count: Positions) -> Positions:
    """All positions of spans, one after the other."""
    total = int(count.sum())
    return np.repeat(start - (np.cumsum(count) - count), count) + np.arange(total)


def _top(scores: Floats, take: int) -> Positions:
    """Positions of at least the ``take`` greatest scores, and of all that equal the last of them.

    A maximum over each of many interleaved blocks is one pass of the vector unit; the take-th greatest maximum is a
    lower bound of the take-th greatest score, and little else reaches it.
    """
    n = len(scores)
    if take >= n:
        return np.flatnonzero(scores >= _LOWEST)
    blocks = max(256, 16 * take)
    few = scores[: n // blocks * blocks].reshape(-1, blocks).max(axis=0) if 4 * blocks <= n else scores
    bound = np.partition(few, len(few) - take)[len(few) - take]
    return np.flatnonzero(scores >= max(bound, _LOWEST))
