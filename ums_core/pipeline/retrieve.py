"""A question becomes hits: candidates from vectors and keywords, fused, read, and cut to k."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np
import numpy.typing as npt

from ums_core.pipeline.answer import Around, bare_hit, shaped, with_context
from ums_core.pipeline.asked import DIVERSE, Asked, Copied
from ums_core.pipeline.candidates import Gathering, filled
from ums_core.pipeline.ranked import Ranked
from ums_core.pipeline.recency import Recency
from ums_core.pipeline.rerank import Rerank, Rereading, readable
from ums_core.pipeline.surroundings import Surroundings
from ums_core.ports.embedder import EmbedderIdentity
from ums_core.ports.index import RowSet, VectorIndex
from ums_core.ports.ledger import Head
from ums_core.ranking.conversation import kinds_of
from ums_core.ranking.fuse import alternating, best_first
from ums_core.ranking.lexical import among
from ums_core.ranking.mmr import alike_by_vectors, alike_by_words, mmr
from ums_core.ranking.profile import PROFILES, adjusted
from ums_core.ranking.question import NO_QUESTION, Question
from ums_core.ranking.signals import scored
from ums_core.ranking.words import telling
from ums_core.records import Filter, Hit, Memory, Query

__all__ = ["Retrieve"]

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

_NONE = np.empty(0, np.int64)
_NOTHING = Ranked([], [], [], {})

# Writers may come between so often before a search reads all from one snapshot, which takes longer.
TRIES = 3


class Retrieve:
    """Answers queries.

    Args:
        surroundings: the conversations of a ledger, which is where rows, terms and vectors are.
        index_of: the index of a modality, caught up with a change of storage at least, and what its vectors come from;
            None before the first write.
        query_vector: a unit vector for a query, or else for a text, and what it comes from; None where there is none
            to compare.
        recency: the current time in UTC, and how age counts where a query says so.
        rerank: gives the best candidates a second look.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        index_of: Callable[[str, int], tuple[EmbedderIdentity, VectorIndex] | None],
        query_vector: Callable[[Query, str], tuple[EmbedderIdentity, Floats32] | None],
        recency: Recency,
        rerank: Rerank,
    ) -> None:
        self._ledger = surroundings.ledger
        self._index_of = index_of
        self._query_vector = query_vector
        self._recency = recency
        self._clock = recency.clock
        self._rerank = rerank
        self._surroundings = surroundings
        self._gathering = Gathering(surroundings)

    def search(self, query: Query) -> list[Hit]:
        """The best hits, best first, at most ``query.k``."""
        condition, now = _condition(query), None
        # It remembers what it has read, and its time is that of the whole search.
        rereading = self._rerank.of(query)
        for _ in range(TRIES):
            asked, text = self._asked(query, condition, now, rereading)
            hits, seen, missing = self._attempt(asked)
            gone = self._ledger.removed_since(asked.head.seq) if missing or len(seen) else _NONE
            if not missing and not _misled(gone, seen, asked):
                return hits
            if missing.difference(gone.tolist()):
                # It has expired, and would be found the next time, too.
                now = self._clock()
        return self._search_at_one_moment(asked, condition, text)

    def close_models(self) -> None:
        """Free the weights of what reads the best candidates again."""
        self._rerank.close()

    def _asked(
        self, query: Query, condition: Filter | None, now: datetime | None, rereading: Rereading | None
    ) -> tuple[Asked, str]:
        """The query as it is looked for now, and the text that is compared.

        Args:
            query: as it was asked.
            condition: its filter and level.
            now: what has expired by then is not looked for; None where nothing is known to have.
            rereading: the second look, where one is wanted.
        """
        head = self._ledger.head()
        text, speakers = query.text or "", set[int]()
        if query.mode != "vector" and text.strip():
            self._surroundings.refresh(head)
        if query.mode == "hybrid" and text.strip():
            # A name tells who speaks, not what about: as words of the vector it would pull in all that they said.
            text, speakers = self._surroundings.names_in(text, self._ledger.scopes(query.namespace, head))
        vector, index = self._dense(query, text, head)
        if now is None:
            allowed = self._ledger.allowed(query.namespace, condition, head)
        else:
            allowed = self._ledger.unexpired(query.namespace, condition, head, now)
            condition = _unexpired(condition, now)
        profiles = PROFILES if query.weights is None else adjusted(PROFILES, query.weights)
        question = Question.of(query.text) if query.mode == "hybrid" and query.text else NO_QUESTION
        living = None if allowed is None else self._surroundings.living(allowed)
        asked = Asked(query, condition, vector, index, allowed, living, speakers, profiles, question, rereading, head)
        return asked, text

    def _search_at_one_moment(self, before: Asked, condition: Filter | None, text: str) -> list[Hit]:
        """Search again, after something that was found was replaced again and again while we looked.

        All is read from one snapshot of storage, and only what lives. Costs as much as to read the ids of all that may
        be found and to compare each of them.
        """
        query, condition = before.query, _unexpired(condition, self._clock())
        with self._ledger.snapshot() as head:
            self._surroundings.refresh(head)
            vector, index = self._dense(query, text, head)
            rows = self._ledger.allowed(query.namespace, condition, head) or RowSet(_NONE)
            copied = None if vector is None or index is None else self._copied(vector, index, rows, query.modality)
            asked = replace(
                before, condition=condition, vector=vector, index=copied, allowed=rows, living=rows, head=head
            )
            return self._attempt(asked)[0]

    def _copied(self, vector: Floats32, index: VectorIndex, rows: RowSet, modality: str) -> Copied:
        """The cosines of the rows of a snapshot, of which an index may have forgotten some."""
        cosines = index.scores(vector, rows.rids)
        unknown = np.isnan(cosines).nonzero()[0]
        held = self._ledger.vectors(rows.rids.take(unknown).tolist()) if len(unknown) else {}
        memories = self._ledger.rows(list(held))
        for place, rid in zip(unknown.tolist(), rows.rids.take(unknown).tolist(), strict=True):
            like = [float(each @ vector) for each in held.get(rid, ()) if len(each) == len(vector)]
            if like and memories[rid].modality == modality:
                cosines[place] = max(like)
        return Copied(rows.rids, cosines)

    def _dense(self, query: Query, text: str, head: Head) -> tuple[Floats32 | None, VectorIndex | None]:
        seq = head.seq
        while query.mode != "keyword":
            asked = self._query_vector(query, text)
            held = None if asked is None else self._index_of(query.modality, seq)
            if asked is None or held is None:
                break
            # While a database moves to another embedder, the two may be of different ones for a moment.
            if asked[0] == held[0]:
                return asked[1], held[1]
            seq = self._ledger.head().seq
        return None, None

    def _attempt(self, asked: Asked) -> tuple[list[Hit], Ids, set[int]]:
        """The hits, the rows that must not have gone meanwhile, and those that were found and are no more."""
        query = asked.query
        found, seen = self._best(asked)
        if asked.rereading is not None:
            found = asked.rereading.reorder(found, self._texts(found.rids[: asked.rereading.top_n], asked))
        if query.recency:
            found = self._recency.applied(found, self._ledger.rows(found.rids[:DIVERSE]), query.recency, DIVERSE)
        if query.diversity is not None:
            found = self._diverse(found, asked)
        found = found.cut(query)
        around = self._around(found.rids, asked)
        memories = _living(self._ledger.rows([*found.rids, *_others(around)]), self._clock)
        hits: list[tuple[int, Hit]] = []
        for place, rid in enumerate(found.rids):
            memory = memories.get(rid)
            if memory is not None:
                hit = bare_hit(
                    memory,
                    found.scores[place],
                    found.similarities[place],
                    self._passage(rid, memory, asked),
                    reranked=None if asked.rereading is None else asked.rereading.verdict(rid),
                )
                hits.append((rid, found.explained(hit, place) if query.explain else hit))
        bare = [hit for _, hit in hits] if not around else with_context(hits, around, memories)
        return shaped(bare, query), seen, set(found.rids).difference(memories) if len(hits) < len(found.rids) else set()

    def _best(self, asked: Asked) -> tuple[Ranked, Ids]:
        """The best candidates, best first, and the rows that must not have gone meanwhile.

        The candidates are all that the query may show, and more where it ranks more together. What is allowed is read
        at another moment than the index and the words: a memory that was replaced in between is in neither.
        """
        query, depth = asked.query, asked.depth
        seen = _NONE if asked.allowed is None else asked.allowed.rids
        if query.mode == "keyword":
            matches = self._gathering.matching(asked)
            rids = matches.best(depth)
            scores = matches.of(rids)
            return Ranked(rids.tolist(), scores.tolist(), [None] * len(rids), {"lexical": scores}), seen
        if query.mode == "hybrid" and (query.text or "").strip():
            found, both = self._fused(asked)
            return found, both if asked.allowed is None else seen
        if asked.index is None or asked.vector is None:
            return _NOTHING, seen
        rids, nearness = asked.index.search(asked.vector, depth, asked.allowed)
        cosines = _bounded(nearness.astype(np.float64))
        return Ranked(rids.tolist(), cosines.tolist(), cosines.tolist(), {"dense": cosines}), seen

    def _fused(self, asked: Asked) -> tuple[Ranked, Ids]:
        """The best of both lists and their neighbours, ranked together; the rest of the lists follow behind them.

        So a search for more hits begins with the hits of a search for fewer. Beside them all that was ranked.
        """
        query, depth = asked.query, asked.depth
        found = self._gathering.candidates(asked)
        if found is None:
            return _NOTHING, _NONE
        rids, cosines = found.rids, found.cosines
        result = scored(found.matches, cosines, found.core, found.turns, (asked.question, asked.profiles))
        order = best_first(result.scores, depth)
        best = Ranked(
            rids.take(order).tolist(),
            result.scores.take(order).tolist(),
            [None] * len(order) if cosines is None else _bounded(cosines.take(order)).tolist(),
            {name: part.take(order) for name, part in result.parts().items()} if query.explain else {},
            kinds_of(found.turns.traits.take(order)) if query.explain else None,
        )
        if len(rids) >= depth:
            return best, rids
        return best.followed_by(self._behind(rids, found.matching.best(depth), asked)), rids

    def _behind(
        self, rids: npt.NDArray[np.int64], matching: npt.NDArray[np.int64], asked: Asked
    ) -> tuple[list[int], Sequence[float | None]]:
        """Row ids of the lists that are no candidates, alternating by rank, and their cosines."""
        rest = alternating(asked.nearest(asked.depth), matching)
        rest = rest[~among(rest, rids)]
        if asked.index is None or asked.vector is None:
            return rest.tolist(), [None] * len(rest)
        cosines = filled(asked.index.scores(asked.vector, rest).astype(np.float64))
        return rest.tolist(), _bounded(cosines).tolist()

    def _diverse(self, found: Ranked, asked: Asked) -> Ranked:
        """The same, the first of them in the order of maximal marginal relevance."""
        pool = found.rids[:DIVERSE]
        alike = self._alike(pool, asked)
        order = mmr(np.array(found.scores[:DIVERSE]), alike, asked.query.diversity or 0.0)
        return found.taken([*order, *range(len(order), len(found.rids))])

    def _alike(self, rids: Sequence[int], asked: Asked) -> Floats:
        """How alike rows are: by the mean of their passages, or by their words where there is no vector to go by."""
        if asked.vector is None:
            memories = self._ledger.rows(rids)
            return alike_by_words([set(telling(memories[rid].text)) if rid in memories else set() for rid in rids])
        held = self._ledger.vectors(rids)
        rows = np.zeros((len(rids), len(asked.vector)), np.float32)
        for place, rid in enumerate(rids):
            vectors = [vector for vector in held.get(rid, ()) if len(vector) == len(asked.vector)]
            if vectors:
                rows[place] = vectors[0] if len(vectors) == 1 else np.mean(vectors, axis=0)
        return alike_by_vectors(rows)

    def _around(self, rids: Sequence[int], asked: Asked) -> Around:
        """The turns before and after each row that the query asks for, as far as its filter lets them through."""
        if not asked.query.context:
            return {}
        self._surroundings.refresh(asked.head)
        around = {rid: self._surroundings.around(rid, asked.query.context) for rid in rids}
        if asked.condition is None or asked.allowed is None:
            return around
        allowed = set(np.intersect1d(list(_others(around)), asked.allowed.rids).tolist())
        return {
            rid: ([r for r in before if r in allowed], [r for r in after if r in allowed])
            for rid, (before, after) in around.items()
        }

    def _texts(self, rids: Sequence[int], asked: Asked) -> dict[int, str]:
        """What a second look reads of each row; nothing of one that is gone by now."""
        memories = self._ledger.rows(rids)
        return {
            rid: readable(memories[rid], self._passage(rid, memories[rid], asked)) if rid in memories else ""
            for rid in rids
        }

    def _passage(self, rid: int, memory: Memory, asked: Asked) -> int:
        if len(memory.passages) == 1:
            return 0
        held = self._ledger.vectors([rid]).get(rid)
        vector = asked.vector
        if vector is None or not held:
            return 0
        cosines = [float(row @ vector) if len(row) == len(vector) else -np.inf for row in held]
        return int(np.argmax(cosines))


def _misled(gone: Ids, seen: Ids, asked: Asked) -> bool:
    """Whether what went while a search looked could have kept it from finding what took its place.

    Args:
        gone: the rows that went since it began.
        seen: those that it looked at, ascending.
        asked: what it was.
    """
    if not len(gone) or not len(seen):
        return False
    # What is allowed was perhaps read after they went, and then has no more than what took their place.
    read_later = asked.allowed is not None and seen[-1] > asked.head.hi
    return bool(read_later or among(gone, seen).any())


def _bounded(cosines: Floats) -> Floats:
    """Cosines within their range, which rounding may leave by an ulp."""
    return np.asarray(np.minimum(np.maximum(cosines, -1.0), 1.0))


def _others(around: Around) -> set[int]:
    return {rid for before, after in around.values() for rid in (*before, *after)}


def _living(memories: Mapping[int, Memory], clock: Callable[[], datetime]) -> Mapping[int, Memory]:
    if all(memory.expires_at is None for memory in memories.values()):
        return memories
    now = clock()
    return {rid: m for rid, m in memories.items() if m.expires_at is None or m.expires_at > now}


def _unexpired(condition: Filter | None, now: datetime) -> Filter:
    """The condition, and that a memory has not expired."""
    lasts = Filter.some(Filter.where("expires_at", "exists", value=False), Filter.where("expires_at", "gt", now))
    return lasts if condition is None else Filter.every(condition, lasts)


def _condition(query: Query) -> Filter | None:
    condition = query.filter if isinstance(query.filter, Filter) else None
    if query.level is None:
        return condition
    level = Filter.where("level", "eq", query.level)
    return level if condition is None else Filter.every(condition, level)
