"""A question becomes hits: candidates from vectors and keywords, fused, read, and cut to k."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from ums_core.pipeline.surroundings import Surroundings
from ums_core.ports.embedder import EmbedderIdentity
from ums_core.ports.index import RowSet, VectorIndex
from ums_core.ports.ledger import Ledger
from ums_core.ranking.conversation import contextual
from ums_core.ranking.fuse import best_first, zscore_fuse
from ums_core.ranking.profile import DEFAULT_PROFILE
from ums_core.ranking.words import words
from ums_core.records import Filter, Hit, Memory, Query

__all__ = ["Retrieve"]

Floats = npt.NDArray[np.float64]

PROFILE = DEFAULT_PROFILE
# So many of each list are fused, and more only where more hits are wanted.
CANDIDATES = 50
SCORED = 200
# Writers may come between a snapshot and the index so often before a search is content with what it has.
MOMENTS = 100


class Retrieve:
    """Answers queries.

    Args:
        ledger: where rows, terms and vectors are.
        index_of: the index of a modality, caught up with storage, and what its vectors come from; None before the
            first write.
        query_vector: a unit vector for a query, or else for a text, and what it comes from; None where there is none
            to compare.
        clock: the current time in UTC.
    """

    def __init__(
        self,
        ledger: Ledger,
        index_of: Callable[[str], tuple[EmbedderIdentity, VectorIndex] | None],
        query_vector: Callable[[Query, str], tuple[EmbedderIdentity, npt.NDArray[np.float32]] | None],
        clock: Callable[[], datetime],
    ) -> None:
        self._ledger = ledger
        self._index_of = index_of
        self._query_vector = query_vector
        self._clock = clock
        self._surroundings = Surroundings(ledger)

    def search(self, query: Query) -> list[Hit]:
        """The best hits, best first, at most ``query.k``."""
        condition = _condition(query)
        text, speakers = query.text or "", set[int]()
        if query.mode == "hybrid" and text.strip():
            self._surroundings.refresh()
            # A name tells who speaks, not what about: as words of the vector it would pull in all that they said.
            text, speakers = self._surroundings.names_in(text, self._ledger.scopes(query.namespace))
        vector, index = self._dense(query, text)
        restricted = index is not None or condition is not None
        allowed = self._ledger.allowed(query.namespace, condition) if restricted else None
        hits, complete = self._attempt(_Search(query, condition, vector, index, allowed, speakers))
        return hits if complete else self._search_at_one_moment(query, text, speakers)

    def _search_at_one_moment(self, query: Query, text: str, speakers: set[int]) -> list[Hit]:
        """Search again, after something that was found had expired, or was replaced while we looked.

        All is read from one snapshot of storage, and only what lives; it counts if the index stood at the same change
        from beginning to end.
        """
        now = self._clock()
        unexpired = Filter.some(
            Filter.where("expires_at", "exists", value=False), Filter.where("expires_at", "gt", now)
        )
        given = _condition(query)
        condition = unexpired if given is None else Filter.every(given, unexpired)
        hits: list[Hit] = []
        for _ in range(MOMENTS):
            with self._ledger.snapshot() as seq:
                self._surroundings.refresh()
                vector, index = self._dense(query, text)
                allowed = self._ledger.living(query.namespace, condition)
                hits, complete = self._attempt(_Search(query, condition, vector, index, allowed, speakers))
                if complete and (index is None or index.seq == seq):
                    break
        return hits

    def _dense(self, query: Query, text: str) -> tuple[npt.NDArray[np.float32] | None, VectorIndex | None]:
        while query.mode != "keyword":
            asked = self._query_vector(query, text)
            held = None if asked is None else self._index_of(query.modality)
            if asked is None or held is None:
                break
            # While a database moves to another embedder, the two may be of different ones for a moment.
            if asked[0] == held[0]:
                return asked[1], held[1]
        return None, None

    def _attempt(self, asked: "_Search") -> tuple[list[Hit], bool]:
        best, scores, similarities = self._best(asked)
        memories = _living(self._ledger.rows(best), self._clock)
        hits = []
        for rid, score, similarity in zip(best, scores, similarities, strict=True):
            memory = memories.get(rid)
            if memory is not None:
                passage = 0 if len(memory.passages) == 1 else self._passage(rid, asked)
                hits.append(Hit(memory=memory, score=score, similarity=similarity, passage=passage))
        return hits, len(hits) == len(best)

    def _best(self, asked: "_Search") -> tuple[list[int], list[float], Sequence[float | None]]:
        """Row ids, scores and cosines of the k best candidates, best first."""
        query, k = asked.query, asked.query.k
        if query.mode == "keyword":
            rids, scores = self._keyword(asked, k)
            return rids.tolist(), scores.tolist(), [None] * len(rids)
        if query.mode == "hybrid" and (query.text or "").strip():
            return self._fused(asked)
        if asked.index is None or asked.vector is None:
            return [], [], []
        rids, nearness = asked.index.search(asked.vector, k, asked.allowed)
        # Rounding may leave the range by an ulp.
        cosines = [min(1.0, max(-1.0, cosine)) for cosine in nearness.tolist()]
        return rids.tolist(), cosines, cosines

    def _fused(self, asked: "_Search") -> tuple[list[int], list[float], Sequence[float | None]]:
        """The best of both lists and their neighbours, ranked together; more of the lists only follow behind them.

        So a search for more hits begins with the hits of a search for fewer.
        """
        k = asked.query.k
        first = self._lists(asked, CANDIDATES)
        core = np.union1d(first.near, first.matching[:CANDIDATES])
        rids = np.union1d(core, self._neighbours(core, asked))
        if not len(rids):
            return [], [], []
        everything, bm25 = rids, first.bm25_of(rids)
        if len(rids) < k:
            more = self._lists(asked, k)
            rest = np.setdiff1d(np.union1d(more.near, more.matching), rids)
            everything, bm25 = np.concatenate([rids, rest]), np.concatenate([bm25, more.bm25_of(rest)])
        fused, cosines = self._scores(asked, everything, bm25, np.isin(everything, core))
        scores = fused[: len(rids)]
        turns = self._surroundings.turns(rids, asked.speakers)
        if turns is not None:
            scores = contextual(scores, turns, PROFILE, about_reply="you" in words(asked.query.text or ""))
        behind = fused[len(rids) :]
        scores = np.append(scores, behind + min(0.0, scores.min() - behind.max(initial=-np.inf)))
        order = best_first(scores, everything, k)
        similarities = [None] * len(order) if cosines is None else np.clip(cosines[order], -1.0, 1.0).tolist()
        return everything[order].tolist(), scores[order].tolist(), similarities

    def _lists(self, asked: "_Search", depth: int) -> "_Lists":
        # Deeper, as a neighbour that is no candidate by its words may still have some of them.
        matching, bm25 = self._keyword(asked, max(depth, SCORED))
        if asked.index is None or asked.vector is None:
            return _Lists(_NO_RIDS, matching, bm25)
        return _Lists(asked.index.search(asked.vector, depth, asked.allowed)[0], matching, bm25)

    def _scores(
        self, asked: "_Search", rids: npt.NDArray[np.int64], bm25: Floats, basis: npt.NDArray[np.bool_]
    ) -> tuple[Floats, Floats | None]:
        """Fused scores of the candidates, and their cosines."""
        weights = asked.query.weights or {"dense": PROFILE.dense, "lexical": PROFILE.lexical}
        signals = [bm25]
        shares = [weights.get("lexical", 0.0)]
        cosines = None
        if asked.index is not None and asked.vector is not None:
            cosines = asked.index.scores(asked.vector, rids).astype(np.float64)
            # A row without a vector of this modality is as far as the farthest candidate, not out of the question.
            np.nan_to_num(cosines, copy=False, nan=float(np.nanmin(cosines, initial=1.0)))
            signals.append(cosines)
            shares.append(weights.get("dense", 0.0))
        return zscore_fuse(signals, shares, basis), cosines

    def _neighbours(self, rids: npt.NDArray[np.int64], asked: "_Search") -> npt.NDArray[np.int64]:
        found = self._surroundings.neighbours(rids)
        # They share a namespace with a candidate; a filter may still keep them out, and some may be gone by now.
        if asked.condition is not None and asked.allowed is not None:
            found = np.intersect1d(found, asked.allowed.rids, assume_unique=True)
        if asked.index is not None and asked.vector is not None:
            found = found[~np.isnan(asked.index.scores(asked.vector, found))]
        return found

    def _keyword(self, asked: "_Search", limit: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        found = self._ledger.keyword(asked.query.text or "", limit, asked.query.namespace, asked.condition)
        return np.array([rid for rid, _ in found], np.int64), np.array([score for _, score in found], np.float64)

    def _passage(self, rid: int, asked: "_Search") -> int:
        held = self._ledger.vectors([rid]).get(rid)
        vector = asked.vector
        if vector is None or not held:
            return 0
        cosines = [float(row @ vector) if len(row) == len(vector) else -np.inf for row in held]
        return int(np.argmax(cosines))


@dataclass(frozen=True, slots=True)
class _Lists:
    """The nearest by vector, and those that match by words with their BM25; each best first."""

    near: npt.NDArray[np.int64]
    matching: npt.NDArray[np.int64]
    bm25: Floats

    def bm25_of(self, rids: npt.NDArray[np.int64]) -> Floats:
        """BM25 of each row, 0 where it is not among the best matches."""
        held = dict(zip(self.matching.tolist(), self.bm25.tolist(), strict=True))
        return np.array([held.get(rid, 0.0) for rid in rids.tolist()])


@dataclass(frozen=True, slots=True)
class _Search:
    """A query with what it takes to answer it."""

    query: Query
    condition: Filter | None
    vector: npt.NDArray[np.float32] | None
    index: VectorIndex | None
    allowed: RowSet | None
    speakers: set[int]


_NO_RIDS = np.empty(0, np.int64)


def _living(memories: Mapping[int, Memory], clock: Callable[[], datetime]) -> Mapping[int, Memory]:
    if all(memory.expires_at is None for memory in memories.values()):
        return memories
    now = clock()
    return {rid: m for rid, m in memories.items() if m.expires_at is None or m.expires_at > now}


def _condition(query: Query) -> Filter | None:
    condition = query.filter if isinstance(query.filter, Filter) else None
    if query.level is None:
        return condition
    level = Filter.where("level", "eq", query.level)
    return level if condition is None else Filter.every(condition, level)
