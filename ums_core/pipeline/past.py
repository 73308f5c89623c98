"""A question to what is alive and to the archive together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ums_core.pipeline.answer import bare_hit
from ums_core.ports.bygone import Bygone, Near, Wanted
from ums_core.ports.embedder import EmbedderIdentity
from ums_core.ranking.rrf import rrf
from ums_core.records import Filter, Hit, Query

__all__ = ["Past"]

QueryVector = Callable[[Query, str], tuple[EmbedderIdentity, npt.NDArray[np.float32]] | None]


class Past:
    """Answers queries that say ``include_archived`` or ``as_of``.

    Args:
        living: answers the same query from what is alive.
        bygone: the archive.
        query_vector: a unit vector for a query, and what it comes from; None where there is none to compare.
    """

    def __init__(self, living: Callable[[Query], list[Hit]], bygone: Bygone, query_vector: QueryVector) -> None:
        self._living = living
        self._bygone = bygone
        self._query_vector = query_vector

    def search(self, query: Query) -> list[Hit]:
        """The best hits of both, best first, at most ``query.k``.

        The archive is compared exactly, vector by vector and word by word: linear in what it holds under the
        namespace. In mode ``vector`` both are ranked by cosine. Elsewhere scores of the two do not compare, so their
        ranks are fused, and a score is the sum of reciprocal ranks.
        """
        alike = query.mode == "vector"
        condition = query.filter if isinstance(query.filter, Filter) else None
        if query.level is not None:
            level = Filter.where("level", "eq", query.level)
            condition = level if condition is None else Filter.every(condition, level)
        plain = replace(
            query,
            filter=query.filter if query.as_of is None else _true_at(query, condition),
            k=query.offset + query.k,
            offset=0,
            min_score=query.min_score if alike else None,
            include_archived=False,
            as_of=None,
        )
        living = self._living(plain)
        away = self._away(plain, Wanted(query.namespace, condition, query.as_of))
        if alike:
            hits = sorted([*living, *away], key=lambda hit: -hit.score)
        else:
            both = [*living, *away]
            order = rrf([range(len(living)), range(len(living), len(both))])
            hits = [replace(both[place], score=score) for place, score in order]
        if query.min_score is not None:
            hits = [hit for hit in hits if hit.score >= query.min_score]
        return hits[query.offset : query.offset + query.k]

    def _away(self, query: Query, wanted: Wanted) -> list[Hit]:
        near: Mapping[int, Near] = {}
        asked = None if query.mode == "keyword" else self._query_vector(query, query.text or "")
        if asked is not None:
            near = self._bygone.near(wanted, asked[1], query.modality)
        by_vector = sorted(near, key=lambda rid: (-near[rid].cosine, rid))[: query.k]
        by_words: Sequence[int] = []
        if query.mode != "vector" and (query.text or "").strip():
            by_words = self._bygone.matching(wanted, query.text or "").best(query.k).tolist()
        order = rrf([by_vector, by_words])[: query.k]
        memories = self._bygone.recalled([rid for rid, _ in order])
        hits = []
        # What came back to life, or went for good, since it was found is left out.
        for rid, score in [each for each in order if each[0] in memories]:
            at = near.get(rid)
            cosine = None if at is None else at.cosine
            shown = cosine if query.mode == "vector" and cosine is not None else score
            place = 0 if at is None else at.passage
            hits.append(bare_hit(memories[rid], shown, cosine, place, reranked=None))
        return hits


def _true_at(query: Query, condition: Filter | None) -> Filter:
    """The condition, and that the memory was there and true at the moment of the query."""
    untold = Filter.where("valid_from", "exists", value=False) & Filter.where("created_at", "lte", query.as_of)
    true = untold | Filter.where("valid_from", "lte", query.as_of)
    return true if condition is None else condition & true
