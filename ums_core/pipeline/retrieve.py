"""A question becomes hits: candidates from vectors and keywords, fused, read, and cut to k."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from ums_core.ports.embedder import EmbedderIdentity
from ums_core.ports.index import RowSet, VectorIndex
from ums_core.ports.ledger import Ledger
from ums_core.ranking.fuse import best_first, zscore_fuse
from ums_core.records import Filter, Hit, Memory, Query

__all__ = ["Retrieve"]

DENSE_WEIGHT = 0.6
LEXICAL_WEIGHT = 0.4
MIN_CANDIDATES = 50

Candidates = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64] | None]


class Retrieve:
    """Answers queries.

    Args:
        ledger: where rows, terms and vectors are.
        index_of: the index of a modality, caught up with storage, and what its vectors come from; None before the
            first write.
        query_vector: a unit vector for a query and what it comes from; None where there is none to compare.
        clock: the current time in UTC.
    """

    def __init__(
        self,
        ledger: Ledger,
        index_of: Callable[[str], tuple[EmbedderIdentity, VectorIndex] | None],
        query_vector: Callable[[Query], tuple[EmbedderIdentity, npt.NDArray[np.float32]] | None],
        clock: Callable[[], datetime],
    ) -> None:
        self._ledger = ledger
        self._index_of = index_of
        self._query_vector = query_vector
        self._clock = clock

    def search(self, query: Query) -> list[Hit]:
        """The best hits, best first, at most ``query.k``."""
        condition = _condition(query)
        vector, index = self._dense(query)
        allowed = None if index is None else self._ledger.allowed(query.namespace, condition)
        hits, complete = self._attempt(_Search(query, condition, vector, index, allowed))
        if complete:
            return hits
        # Something found has expired, or went while we looked: ask again, only among what lives.
        now = self._clock()
        unexpired = Filter.some(
            Filter.where("expires_at", "exists", value=False), Filter.where("expires_at", "gt", now)
        )
        condition = unexpired if condition is None else Filter.every(condition, unexpired)
        allowed = self._ledger.living(query.namespace, condition)
        return self._attempt(_Search(query, condition, vector, index, allowed))[0]

    def _dense(self, query: Query) -> tuple[npt.NDArray[np.float32] | None, VectorIndex | None]:
        while query.mode != "keyword":
            asked = self._query_vector(query)
            held = None if asked is None else self._index_of(query.modality)
            if asked is None or held is None:
                break
            # While a database moves to another embedder, the two may be of different ones for a moment.
            if asked[0] == held[0]:
                return asked[1], held[1]
        return None, None

    def _attempt(self, asked: "_Search") -> tuple[list[Hit], bool]:
        rids, scores, similarities = self._candidates(asked)
        order = best_first(scores, rids, asked.query.k) if len(rids) > 1 else np.arange(len(rids))
        best = rids[order].tolist()
        living = _living(self._ledger.rows(best), self._clock)
        hits = [
            Hit(
                memory=living[rid],
                score=float(scores[place]),
                similarity=None if similarities is None else min(1.0, max(-1.0, float(similarities[place]))),
                passage=0 if len(living[rid].passages) == 1 else self._passage(rid, asked),
            )
            for rid, place in zip(best, order.tolist(), strict=True)
            if rid in living
        ]
        return hits, len(hits) == len(best)

    def _candidates(self, asked: "_Search") -> Candidates:
        query, vector, index = asked.query, asked.vector, asked.index
        lexical = query.mode != "vector" and bool((query.text or "").strip())
        if index is None or vector is None:
            if not lexical:
                return _NO_RIDS, _NO_SCORES, None
            return (*self._keyword(asked, query.k), None)
        if not lexical:
            rids, nearness = index.search(vector, query.k, asked.allowed)
            scores = nearness.astype(np.float64)
            return rids, scores, scores
        depth = max(MIN_CANDIDATES, query.k)
        near, near_cosines = index.search(vector, depth, asked.allowed)
        words, word_scores = self._keyword(asked, depth)
        only_words = words[~np.isin(words, near)]
        rids = np.concatenate([near, only_words])
        cosines = np.concatenate([near_cosines, index.scores(vector, only_words)]).astype(np.float64)
        # A row without a vector of this modality is as far as the farthest candidate, not out of the question.
        np.nan_to_num(cosines, copy=False, nan=float(np.nanmin(cosines, initial=1.0)))
        bm25_of = dict(zip(words.tolist(), word_scores.tolist(), strict=True))
        bm25 = np.array([bm25_of.get(rid, 0.0) for rid in rids.tolist()])
        weights = query.weights or {"dense": DENSE_WEIGHT, "lexical": LEXICAL_WEIGHT}
        fused = zscore_fuse([cosines, bm25], [weights.get("dense", 0.0), weights.get("lexical", 0.0)])
        return rids, fused, cosines

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
class _Search:
    """A query with what it takes to answer it."""

    query: Query
    condition: Filter | None
    vector: npt.NDArray[np.float32] | None
    index: VectorIndex | None
    allowed: RowSet | None


_NO_RIDS = np.empty(0, np.int64)
_NO_SCORES = np.empty(0, np.float64)


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
