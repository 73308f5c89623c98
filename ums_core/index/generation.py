"""A graph with its rows: how it is searched, wholly or in part, and how the next one is made.

A graph that is walked with a filter loses what it may not step on: recall .43 at 1 % of the rows. So few allowed rows
are compared one by one. Among many, the nearest of all rows hold enough allowed ones, or else all of them are compared,
from a contiguous half-precision copy once a row set comes again, with a proof that rounding hid nothing.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from weakref import WeakKeyDictionary, WeakSet

import numpy as np

from ums_core.index.faiss_tuning import HnswParams, is_bulk, probe_pays, probe_width, walk_width, wider
from ums_core.index.graph import Graph, HalfPrecision
from ums_core.index.rows import Floats, Ids, Positions, Ranking, Rows, held
from ums_core.ports.index import RowSet

__all__ = ["Generation"]

# Half precision rounds each component by at most 2^-11 of itself, and the sum of |a_i b_i| of unit vectors is at most
# 1; the rest is for float32 sums and subnormal components.
_HALF_ERROR = 2.0**-11 + 1e-4
_PATIENCE = 64


@dataclass(slots=True, eq=False, weakref_slot=True)
class _Known:
    """What was learned about one row set; races between readers cost accuracy of the counts, nothing else."""

    seen: int = 0
    misses: int = 0
    used: int = 0
    copy: HalfPrecision | None = None


@dataclass(slots=True, eq=False)
class _Memory:
    """What one graph learned about the row sets it was searched with.

    Attributes:
        searches: how many there were with a filter.
        sets: what is known, for as long as somebody holds the set.
        holders: those that have a copy; only looked at with the lock held.
    """

    searches: int = 0
    sets: "WeakKeyDictionary[RowSet, _Known]" = field(default_factory=WeakKeyDictionary)
    holders: "WeakSet[_Known]" = field(default_factory=WeakSet)
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """A graph and its rows, neither of which changes; a removal makes another one over the same graph."""

    graph: Graph
    rows: Rows
    params: HnswParams
    memory: _Memory = field(default_factory=_Memory)

    @classmethod
    def built(
        cls, parts: Sequence[Rows], params: HnswParams, *, workers: int, goes_on: Callable[[], bool]
    ) -> "Generation":
        """A graph of the live rows of all parts, which ascend from one to the next.

        Args:
            parts: at least one of them has live rows.
            params: how to build it.
            workers: threads.
            goes_on: asked now and then; once it is False the result is of no use and comes early.
        """
        pieces = (piece for part in parts for piece in part.slices())
        dim = parts[0].vectors.shape[1]
        graph = Graph.grown(None, _while(goes_on, pieces), params, dim=dim, threads=workers)
        return cls._of(graph, [part.live_rids() for part in parts], params)

    def merged(self, tail: Rows, *, workers: int, goes_on: Callable[[], bool]) -> "Generation":
        """This graph and the live rows of the tail in another graph; in one thread, unless there are very many."""
        count, dim = self.rows.vectors.shape
        threads = workers if is_bulk(graph=count, tail=tail.live) else 1
        pieces = _while(goes_on, tail.slices())
        graph = Graph.grown(self.graph, pieces, self.params, dim=dim, threads=threads)
        return self._of(graph, [self.rows.rids, tail.live_rids()], self.params)

    @classmethod
    def _of(cls, graph: Graph, rids: Sequence[Ids], params: HnswParams) -> "Generation":
        known = np.concatenate(rids)
        return cls(graph, Rows.over(graph.vectors, known[: len(graph)]), params)

    def surviving(self, alive: Ids) -> "Generation":
        """The same graph where only these row ids are alive, ascending."""
        rows = self.rows
        return replace(self, rows=Rows.over(rows.vectors, rows.rids, ~held(alive, rows.rids)))

    def without(self, removed: Ids) -> "Generation":
        """The same graph with some more rows dead."""
        return replace(self, rows=self.rows.without(removed)) if removed.size else self

    def nearest(self, vector: Floats, k: int) -> Ranking:
        """The k nearest live rows, best first; fewer only when no more live.

        Dead rows and second passages are counted out of a wider walk, never stepped around: when k live rows are among
        the nearest of all, then they are the nearest live ones.
        """
        rows = self.rows
        plain = rows.dead is None and not rows.repeats
        width = walk_width(self.params, k, rows.live)
        while width is not None and k < rows.live:
            at = rows.first_live(self.graph.nearest(vector, k if plain else width, width), k)
            if len(at) == k:
                return rows.rank(vector, at, k)
            width = wider(width, rows.live)
        return rows.nearest(vector, k)

    def nearest_allowed(self, vector: Floats, k: int, allowed: RowSet) -> Ranking:
        """The k nearest live rows among the allowed ones, best first; fewer only when no more are allowed and live."""
        rows = self.rows
        at = rows.positions(allowed)
        if len(at) == len(rows.rids):
            return self.nearest(vector, k)
        if len(at) <= self.params.few:
            return rows.nearest(vector, k, at)
        known = self._known(allowed)
        width = probe_width(self.params, k, allowed=len(at), rows=len(rows.rids))
        scanned = known.copy is not None
        if width and probe_pays(width, allowed=len(at), misses=known.misses, scanned=scanned):
            near = self.graph.nearest(vector, width, width)
            near = rows.first_live(near[held(allowed.rids, rows.rids[near])], k)
            if len(near) == k:
                return rows.rank(vector, near, k)
            known.misses += 1
        return self._scan(vector, k, at, known)

    def _scan(self, vector: Floats, k: int, at: Positions, known: _Known) -> Ranking:
        """The k nearest of the positions, exactly; half precision only chooses what is compared in full."""
        rows = self.rows
        copy = self._copy(known, at) if known.seen > 1 else None
        if copy is not None:
            for fetch in (4 * k, 16 * k):
                if 2 * fetch > len(at):
                    break
                near, rough = copy.nearest(vector, fetch)
                ranking = rows.rank(vector, rows.alive(near), k)
                if len(ranking[0]) == k and ranking[1][-1] > rough[-1] + _HALF_ERROR:
                    return ranking
        return rows.nearest(vector, k, at)

    def _known(self, allowed: RowSet) -> _Known:
        memory = self.memory
        known = memory.sets.get(allowed)
        if known is None:
            known = memory.sets.setdefault(allowed, _Known())
        memory.searches += 1
        known.seen += 1
        known.used = memory.searches
        return known

    def _copy(self, known: _Known, at: Positions) -> HalfPrecision | None:
        """The half-precision copy of a row set, made now if there is room for it."""
        if known.copy is None:
            with self.memory.lock:
                if known.copy is None and self._make_room(HalfPrecision.bytes_of(self.rows.vectors, at)):
                    known.copy = HalfPrecision(self.rows.vectors, at)
                    self.memory.holders.add(known)
        return known.copy

    def _make_room(self, size: int) -> bool:
        """Drop the copies least recently used, unless they are in use: making one costs some tens of its scans."""
        memory = self.memory
        copies = sorted(
            ((known.used, known, known.copy.size) for known in memory.holders if known.copy), key=itemgetter(0)
        )
        excess = (
            size + sum(held_bytes for _, _, held_bytes in copies) - self.params.hot_share * self.rows.vectors.nbytes
        )
        for used, known, held_bytes in copies:
            if excess <= 0 or used > memory.searches - _PATIENCE:
                break
            known.copy = None
            memory.holders.discard(known)
            excess -= held_bytes
        return excess <= 0


def _while(goes_on: Callable[[], bool], pieces: Iterable[Floats]) -> Iterator[Floats]:
    for piece in pieces:
        if not goes_on():
            return
        yield piece
