"""Measures of one ranking against the gold ids of one question; higher is better, all in [0, 1].

A ranking lists distinct ids, best first, and may be cut: what it does not name counts as not found. Every function
raises ``ValueError`` for no gold ids, k < 1, or an id ranked twice. The mean over questions is the caller's.

Sources: Manning, Raghavan, Schuetze, Introduction to Information Retrieval, Cambridge University Press 2008,
chapter 8; Jarvelin, Kekalainen, ACM TOIS 20(4), 2002, for nDCG; Voorhees, TREC-8 1999, for MRR.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["any_at_k", "ndcg_at_k", "recall_at_k", "reciprocal_rank", "session_ranking", "session_recall_at_k"]


def recall_at_k(ranking: Sequence[str], gold: Collection[str], k: int) -> float:
    """Fraction of the gold ids that stand among the first k.

    Source: Manning, Raghavan, Schuetze 2008, section 8.4.
    """
    wanted = set(gold)
    return float(_gains(ranking, wanted, k).sum()) / len(wanted)


def any_at_k(ranking: Sequence[str], gold: Collection[str], k: int) -> float:
    """1 if at least one gold id stands among the first k, else 0; never below the recall."""
    return float(_gains(ranking, set(gold), k).any())


def ndcg_at_k(ranking: Sequence[str], gold: Collection[str], k: int = 10) -> float:
    """Discounted gain of the first k over that of the best order.

    A gold id at rank r, from 1, gains 1 / log2(1 + r), any other id nothing; the best order starts with
    min(number of gold ids, k) gold ids.

    Source: Jarvelin, Kekalainen 2002, with binary gains and the discount 1 / log2(1 + r).
    """
    wanted = set(gold)
    gains = _gains(ranking, wanted, k)
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    return float(gains @ discounts[: gains.size] / discounts[: len(wanted)].sum())


def reciprocal_rank(ranking: Sequence[str], gold: Collection[str]) -> float:
    """1 / rank of the first gold id, 0 where the ranking names none; its mean over questions is MRR.

    A cut ranking gives at most what the full one gives, and less by at most 1 / its length.

    Source: Voorhees, TREC-8 1999.
    """
    found = np.flatnonzero(_gains(ranking, set(gold), max(1, len(ranking))))
    return 1.0 / (int(found[0]) + 1) if found.size else 0.0


def session_ranking(ranking: Sequence[str], session_of: Mapping[str, str]) -> list[str]:
    """The sessions in the order of their best-ranked turn.

    Args:
        ranking: turn ids, best first.
        session_of: the session of every turn that may be ranked.
    """
    return list(dict.fromkeys(session_of[turn] for turn in ranking))


def session_recall_at_k(ranking: Sequence[str], gold: Collection[str], session_of: Mapping[str, str], k: int) -> float:
    """Fraction of the gold turns' sessions among the first k sessions, each ranked by its best turn."""
    return recall_at_k(session_ranking(ranking, session_of), {session_of[turn] for turn in gold}, k)


def _gains(ranking: Sequence[str], gold: set[str], k: int) -> npt.NDArray[np.float64]:
    if not gold:
        raise ValueError("no gold ids: a question without evidence is to be skipped, not scored")
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if len(set(ranking)) != len(ranking):
        raise ValueError("the ranking names an id twice")
    return np.array([turn in gold for turn in ranking[:k]], dtype=np.float64)
