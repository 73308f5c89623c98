"""A question becomes hits: candidates from vectors and keywords, fused, read, and cut to k."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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

PROFILE = DEFAULT_PROFILE
# So many of each list are fused, and more only where more hits are wanted.
CANDIDATES = 50

Candidates = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64] | None]


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
        asked = _Search(query, condition, vector, index, allowed, speakers)
        hits, complete = self._attempt(asked)
        if complete:
            return hits
        # Something found has expired, or went while we looked: ask again, only among what lives.
        now = self._clock()
        unexpired = Filter.some(
            Filter.where("expires_at", "exists", value=False), Filter.where("expires_at", "gt", now)
        )
        condition = unexpired if condition is None else Filter.every(condition, unexpired)
        allowed = self._ledger.living(query.namespace, condition)
        return self._attempt(replace(asked, condition=condition, allowed=allowed))[0]

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
        if query.mode == "hybrid" and (query.text or "").strip():
            return self._fused(asked)
        if query.mode == "keyword":
            return (*self._keyword(asked, query.k), None)
        if index is None or vector is None:
            return _NO_RIDS, _NO_SCORES, None
        rids, nearness = index.search(vector, query.k, asked.allowed)
        scores = nearness.astype(np.float64)
        return rids, scores, scores

    def _fused(self, asked: "_Search") -> Candidates:
        query, vector, index = asked.query, asked.vector, asked.index
        depth = max(CANDIDATES, query.k)
        matching, bm25 = self._keyword(asked, depth)
        near = _NO_RIDS if index is None or vector is None else index.search(vector, depth, asked.allowed)[0]
        rids = np.union1d(near, matching)
        rids = np.union1d(rids, self._neighbours(rids, asked))
        if not len(rids):
            return _NO_RIDS, _NO_SCORES, None
        weights = query.weights or {"dense": PROFILE.dense, "lexical": PROFILE.lexical}
        lexical = np.zeros(len(rids))
        lexical[np.searchsorted(rids, matching)] = bm25
        signals, shares = [lexical], [weights.get("lexical", 0.0)]
        cosines = None
        if index is not None and vector is not None:
            cosines = index.scores(vector, rids).astype(np.float64)
            # A row without a vector of this modality is as far as the farthest candidate, not out of the question.
            np.nan_to_num(cosines, copy=False, nan=float(np.nanmin(cosines, initial=1.0)))
            signals.append(cosines)
            shares.append(weights.get("dense", 0.0))
        basis = np.isin(rids, np.union1d(near[:CANDIDATES], matching[:CANDIDATES]))
        scores = zscore_fuse(signals, shares, basis)
        turns = self._surroundings.turns(rids, asked.speakers)
        if turns is not None:
            scores = contextual(scores, turns, PROFILE, about_reply="you" in words(query.text or ""))
        return rids, scores, cosines

    def _neighbours(self, rids: npt.NDArray[np.int64], asked: "_Search") -> npt.NDArray[np.int64]:
        found = self._surroundings.neighbours(rids)
        # They share a namespace with a candidate; a filter may still keep them out.
        if asked.condition is None or asked.allowed is None:
            return found
        return np.intersect1d(found, asked.allowed.rids, assume_unique=True)

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
    speakers: set[int]


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
