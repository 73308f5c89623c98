"""A second look at the best candidates, by a model that reads question and text together."""

import time
from collections.abc import Mapping

import numpy as np

from ums_core.pipeline.ranked import Ranked
from ums_core.ports.reranker import Reranker
from ums_core.records import Memory, Query

__all__ = ["Rerank", "Rereading", "readable"]


class Rerank:
    """Says of each query whether and how its best candidates are read again.

    Args:
        reranker: reads them.
        always: whether that happens for a query that does not say so itself.
        top_n: how many of the best candidates are read.
        budget_s: seconds a search.
    """

    def __init__(self, reranker: Reranker, *, always: bool, top_n: int, budget_s: float) -> None:
        self._reranker = reranker
        self._always = always
        self._top_n = top_n
        self._budget_s = budget_s

    def of(self, query: Query) -> "Rereading | None":
        """The second look that a query asks for; None where it asks for none, or has no words."""
        wanted = self._always if query.use_cross_encoder is None else query.use_cross_encoder
        if not wanted or not (query.text or "").strip():
            return None
        return Rereading(self._reranker, query.text or "", self._top_n, self._budget_s)

    def close(self) -> None:
        """Free the weights; the next use loads them again."""
        self._reranker.close()


class Rereading:
    """The second look of one search; it keeps what it has read, as a search may be begun again.

    Attributes:
        top_n: how many of the best candidates are read.
    """

    def __init__(self, reranker: Reranker, question: str, top_n: int, budget_s: float) -> None:
        self.top_n = top_n
        self._reranker = reranker
        self._question = question
        self._left_s = budget_s
        self._scores: dict[int, float] = {}
        self._late: set[int] = set()

    def reorder(self, found: Ranked, texts: Mapping[int, str]) -> Ranked:
        """The first of the candidates in the order of their new scores, the others behind them in theirs.

        Where the time does not suffice, everything stays as it was.

        Args:
            found: the candidates.
            texts: what to read of each of the first ``top_n``, by row id.
        """
        rids = found.rids[: self.top_n]
        if not rids or not self._read({rid: texts[rid] for rid in rids if rid not in self._scores}):
            self._late = set(rids)
            return found
        self._late = set()
        new = np.array([self._scores[rid] for rid in rids])
        behind = np.array(found.scores[len(rids) :])
        scores = np.append(new, behind + min(0.0, new.min() - behind.max(initial=-np.inf)))
        part = scores - np.array(found.scores)
        order = np.argsort(-new, kind="stable").tolist()
        return found.rescored(scores.tolist(), "reranked", part).taken([*order, *range(len(rids), len(found.rids))])

    def verdict(self, rid: int) -> bool | None:
        """Whether the second look decided on the place of a row; None where it was not meant to."""
        if rid in self._late:
            return False
        return True if rid in self._scores else None

    def _read(self, texts: Mapping[int, str]) -> bool:
        start = time.monotonic()
        scores = self._reranker.scores(self._question, list(texts.values()), budget_s=max(0.0, self._left_s))
        self._left_s -= time.monotonic() - start
        if scores is None:
            return False
        self._scores.update(zip(texts, scores.tolist(), strict=True))
        return True


def readable(memory: Memory, passage: int) -> str:
    """What is read of a memory: who says what, as far as the passage goes, and what the picture shows."""
    text = memory.passages[passage].of(memory.text) if memory.passages else memory.text
    if memory.caption and memory.caption != text:
        text = f"{text} {memory.caption}".lstrip()
    return f"{memory.speaker}: {text}" if memory.speaker else text
