"""A graph with its rows: how it is searched, wholly or in part, and how the next one is made.

A graph that is walked with a filter loses what it may not step on: recall .43 at 1 % of the rows. So few allowed rows
are compared one by one. Among many, the nearest of all rows hold enough allowed ones, or else all of them are compared,
from a contiguous half-precision copy once a row set comes again, with a proof that rounding hid nothing.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from weakref import WeakKeyDictionary

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
# So many vectors enter a graph at a time.
_PIECE = 1024
_FAMILIES = 64


@dataclass(slots=True, eq=False)
class _Family:
    """What was learned about row sets that allow the same part of the graph: one set, and what it grew into.

    Races between readers cost accuracy of the counts, nothing else.

    Attributes:
        at: the positions allowed, ascending, dead ones included.
        seen: searches.
        misses: how often the nearest of all rows held too few of them.
        used: number of the last search.
        reserved: bytes of the copy, from the moment somebody sets out to make it; 0 for none.
        copy: the half-precision copy, once it is made.
    """

    at: Positions
    seen: int = 0
    misses: int = 0
    used: int = 0
    reserved: int = 0
    copy: HalfPrecision | None = None


@dataclass(slots=True, eq=False)
class _Memory:
    """What one graph learned about the row sets it was searched with.

    Attributes:
        searches: how many there were with a filter.
        keys: which family a row set is of; goes with the set.
        families: by a digest of the row ids; bounded, the least recently used out.
    """

    searches: int = 0
    keys: "WeakKeyDictionary[RowSet, bytes]" = field(default_factory=WeakKeyDictionary)
    families: dict[bytes, _Family] = field(default_factory=dict)
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
        cls, parts: Sequence[Rows], params: HnswParams, *, threads: Callable[[], int], goes_on: Callable[[], bool]
    ) -> "Generation":
        """A graph of the live rows of all parts, which ascend from one to the next.

        Args:
            parts: at least one of them has live rows.
            params: how to build it.
            threads: how many, asked for each piece.
            goes_on: asked now and then; once it is False the result is of no use and comes early.
        """
        pieces = (piece for part in parts for piece in part.slices(_PIECE))
        dim = parts[0].vectors.shape[1]
        graph = Graph.grown(None, _while(goes_on, pieces), params, dim=dim, threads=threads)
        return cls._of(graph, [part.live_rids() for part in parts], params)

    def merged(self, tail: Rows, *, threads: Callable[[], int], goes_on: Callable[[], bool]) -> "Generation":
        """This graph and the live rows of the tail in another graph; in one thread, unless there are very many."""
        count, dim = self.rows.vectors.shape
        several = threads if is_bulk(graph=count, tail=tail.live) else lambda: 1
        pieces = _while(goes_on, tail.slices(_PIECE))
        graph = Graph.grown(self.graph, pieces, self.params, dim=dim, threads=several)
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

    def scrub(self) -> None:
        """Put the vector of a live neighbour in the place of each dead one: what is saved holds nothing deleted.

        Walks still find their way past it, as the neighbour is near. Costs a search for each row that died since.
        """
        rows, graph = self.rows, self.graph
        if rows.dead is None:
            return
        for at in np.flatnonzero(rows.dead & ~graph.overwritten).tolist():
            near = graph.nearest(rows.vectors[at], min(_PATIENCE, len(graph)), _PATIENCE)
            living = near[~rows.dead[near]]
            other = int(living[0]) if living.size else int(np.argmin(rows.dead))
            graph.overwrite(at, rows.vectors[other] if rows.live else np.zeros_like(rows.vectors[at]))

    def nearest(self, vector: Floats, k: int) -> Ranking:
        """The k nearest live rows, best first; fewer only when no more live.

        Dead rows and second passages are counted out of a wider walk, never stepped around: when k live rows are among
        the nearest of all, then they are the nearest live ones.
        """
        rows = self.rows
        plain = rows.dead is None and not rows.repeats
        width = walk_width(self.params, k, rows.live)
        while width is not None and k < rows.live:
            near = self.graph.nearest(vector, k + 1 if plain else width, width)
            ranking = self._settled(vector, near, k)
            if ranking is not None:
                return ranking
            plain, width = False, wider(width, rows.live)
        return rows.nearest(vector, k)

    def nearest_allowed(self, vector: Floats, k: int, allowed: RowSet) -> Ranking:
        """The k nearest live rows among the allowed ones, best first; fewer only when no more are allowed and live."""
        rows, params = self.rows, self.params
        if len(allowed) <= params.few:
            return rows.nearest(vector, k, rows.positions(allowed))
        family = self._family(allowed)
        at = family.at
        if len(at) == len(rows.rids):
            return self.nearest(vector, k)
        if len(at) <= params.few:
            return rows.nearest(vector, k, at)
        width = probe_width(params, k, allowed=len(at), rows=len(rows.rids))
        scanned = family.copy is not None
        if width and probe_pays(width, allowed=len(at), misses=family.misses, scanned=scanned):
            near = self.graph.nearest(vector, width, 2 * width)
            ranking = self._settled(vector, near[held(allowed.rids, rows.rids[near])], k)
            if ranking is not None:
                return ranking
            family.misses += 1
        return self._scan(vector, k, family)

    def _settled(self, vector: Floats, near: Positions, k: int) -> Ranking | None:
        """The k best of a walk, or None where it found fewer, or where equals may wait behind the last of them."""
        rids, cosines = self.rows.rank(vector, self.rows.first_live(near, k + 1), k + 1)
        return (rids[:k], cosines[:k]) if len(rids) > k and cosines[k] < cosines[k - 1] else None

    def _scan(self, vector: Floats, k: int, family: _Family) -> Ranking:
        """The k nearest of a family, exactly; half precision only chooses what is compared in full."""
        rows = self.rows
        copy = self._copy(family)
        if copy is not None:
            for fetch in (4 * k, 16 * k):
                if 2 * fetch > len(family.at):
                    break
                near, rough = copy.nearest(vector, fetch)
                ranking = rows.rank(vector, rows.alive(near), k)
                if len(ranking[0]) == k and ranking[1][-1] > rough[-1] + _HALF_ERROR:
                    return ranking
        return rows.nearest(vector, k, family.at)

    def _family(self, allowed: RowSet) -> _Family:
        """The family of a row set: a set that grew by rows newer than the graph is still of the same one."""
        memory, rows = self.memory, self.rows
        memory.searches += 1
        key = memory.keys.get(allowed)
        if key is None:
            old = allowed.rids[: np.searchsorted(allowed.rids, rows.rids[-1], side="right")]
            key = memory.keys[allowed] = blake2b(np.ascontiguousarray(old).data, digest_size=16).digest()
        family = memory.families.get(key)
        if family is None:
            at = rows.positions(allowed)
            with memory.lock:
                family = memory.families.setdefault(key, _Family(at, used=memory.searches))
                if len(memory.families) > _FAMILIES:
                    del memory.families[min(memory.families, key=lambda each: memory.families[each].used)]
        family.seen += 1
        family.used = memory.searches
        return family

    def _copy(self, family: _Family) -> HalfPrecision | None:
        """The copy of a family that comes again, made now if there is room; None too while another thread makes it."""
        if family.copy is None and family.seen > 1 and self._reserve(family):
            family.copy = HalfPrecision(self.rows.vectors, family.at)
        return family.copy

    def _reserve(self, family: _Family) -> bool:
        """Whether there is room for a copy; those least recently used go, unless one is in use itself.

        To make a copy costs some tens of its scans, so that two that take turns are better off with one.
        """
        memory, vectors = self.memory, self.rows.vectors
        size = HalfPrecision.bytes_of(vectors, family.at)
        with memory.lock:
            if family.reserved:
                return False
            copies = sorted((other for other in memory.families.values() if other.copy), key=lambda other: other.used)
            excess = size + sum(other.reserved for other in copies) - self.params.hot_share * vectors.nbytes
            for other in copies:
                if excess <= 0 or other.used > memory.searches - _PATIENCE:
                    break
                excess -= other.reserved
                other.copy, other.reserved = None, 0
            if excess <= 0:
                family.reserved = size
            return excess <= 0


def _while(goes_on: Callable[[], bool], pieces: Iterable[Floats]) -> Iterator[Floats]:
    for piece in pieces:
        if not goes_on():
            return
        yield piece
