"""A prior for what was used of late: multiplicative, bounded, and only where a query asks for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from ums_core.pipeline.ranked import Ranked
from ums_core.ranking.decay import decay, recent
from ums_core.records import Memory
from ums_core.records.dynamics import Dynamics

__all__ = ["Recency"]

_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Recency:
    """How age counts in a search.

    Attributes:
        clock: the current time in UTC.
        dynamics: how fast memories fade.
    """

    clock: Callable[[], datetime]
    dynamics: Dynamics

    def applied(self, found: Ranked, memories: Mapping[int, Memory], share: float, pool: int) -> Ranked:
        """The same, the first ``pool`` of them anew by score times prior; the others stay behind them.

        What is multiplied is how far a score is above that of the last in the pool: scores have no zero of their own.
        Of equals, the fresher one comes first.

        Args:
            found: best first.
            memories: what the rows of the pool hold; one that is gone by now counts as fresh.
            share: the most that age takes away, in [0, 1].
            pool: how many are looked at, however few are shown, so that pages add up.

        Source: recency beside relevance, scaled over the candidates, as in Park et al., UIST 2023; there it is added.
        """
        rids = found.rids[:pool]
        if not rids:
            return found
        now = self.clock()
        held = [memories.get(rid) for rid in rids]
        ages = np.array([0.0 if m is None else (now - m.last_accessed_at).total_seconds() / _DAY_S for m in held])
        uses = np.array([0.0 if m is None else m.accesses for m in held], np.float64)
        scores = np.array(found.scores[:pool])
        lowest = scores.min()
        prior = recent(decay(ages, uses, self.dynamics), share)
        weighed = lowest + (scores - lowest) * prior
        behind = found.scores[pool:]
        part = np.concatenate([weighed - scores, np.zeros(len(behind))])
        order = np.lexsort((np.arange(len(rids)), -prior, -weighed)).tolist()
        again = found.rescored([*weighed.tolist(), *behind], "recency", part)
        return again.taken([*order, *range(len(order), len(found.rids))])
