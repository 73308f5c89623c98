"""What a question may find: the best by vectors and by words, and the turns beside them."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ums_core.pipeline.asked import Asked
from ums_core.pipeline.circle import Circle
from ums_core.pipeline.surroundings import Surroundings
from ums_core.ranking.conversation import Turns
from ums_core.ranking.fuse import best_first
from ums_core.ranking.lexical import Matches, WordRows, among, bm25, rows_of, union

__all__ = ["Candidates", "Gathering", "filled"]

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
Places = npt.NDArray[np.intp]

# So many of each list are fused, and more only where more hits are wanted.
CANDIDATES = 50
# Up to so many allowed rows an index compares one by one; what else there is to know of them is kept ready.
FEW = 1000
_NO_RIDS, _NO_PLACES = np.empty(0, np.int64), np.empty(0, np.intp)


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Rows that are ranked together.

    Attributes:
        rids: ascending, shape (n,).
        matches: BM25, shape (n,).
        cosines: shape (n,); None where nothing is compared.
        core: places of those that are the best of a list.
        turns: the same rows.
        matching: all that match by words.
    """

    rids: Ids
    matches: Floats
    cosines: Floats | None
    core: Places
    turns: Turns
    matching: Matches


class Gathering:
    """Gathers candidates.

    Args:
        surroundings: the conversations of a ledger.
        few: among so many rows, at most, candidates are told by their places. It changes the cost, and nothing else.
    """

    def __init__(self, surroundings: Surroundings, few: int = FEW) -> None:
        self._surroundings = surroundings
        self._few = few

    def candidates(self, asked: Asked) -> Candidates | None:
        """The best of both lists and their neighbours; None where there are none."""
        allowed = asked.living
        if allowed is None or len(allowed) > self._few:
            return self._among_many(asked)
        return self._among_few(asked, self._surroundings.circle(allowed, asked.query.kind)) if len(allowed) else None

    def matching(self, asked: Asked) -> Matches:
        """All that match by words, with their BM25 among the rows that may be found."""
        allowed = asked.living
        found, exact = self._rows_with(asked)
        if not found:
            return Matches(_NO_RIDS, np.empty(0))
        rids = union([word.rids for word in found])
        if allowed is not None and not (asked.condition is None and exact):
            rids = rids[among(rids, allowed.rids)]
            found = [word.only(rids) for word in found]
        total = self._surroundings.rows if allowed is None else len(allowed)
        at = rids.searchsorted(rows_of(found))
        return Matches(rids, bm25(found, at, self._surroundings.lengths(rids), total))

    def _among_many(self, asked: Asked) -> Candidates | None:
        matching = self.matching(asked)
        core = union([asked.nearest(CANDIDATES), matching.best(CANDIDATES)])
        if not len(core):
            return None
        rids = self._surroundings.with_neighbours(core)
        # They share a namespace with a candidate; a filter may still keep them out, and some may be gone by now.
        if asked.condition is not None and asked.allowed is not None:
            rids = rids[among(rids, asked.allowed.rids)]
        rids, cosines = _compared(rids, asked.cosines(rids), core)
        turns = self._surroundings.talk(rids, asked.query.kind).turns(asked.speakers)
        return Candidates(rids, matching.of(rids), cosines, rids.searchsorted(core), turns, matching)

    def _among_few(self, asked: Asked, circle: Circle) -> Candidates | None:
        """The same, where each row is a place in a circle: nothing is looked for among all rows but words."""
        rids = circle.rids
        matching = Matches(rids, circle.matches(self._rows_with(asked)[0]))
        scores = asked.cosines(rids)
        near = _NO_PLACES if scores is None else _nearest(scores)
        core, places = circle.with_neighbours([near, Matches(circle.places, matching.scores).best(CANDIDATES)])
        if not len(core):
            return None
        places, cosines = _compared(places, None if scores is None else scores.take(places), core)
        turns = circle.turns(places, asked.speakers)
        matches, core = matching.scores.take(places), places.searchsorted(core)
        return Candidates(rids.take(places), matches, cosines, core, turns, matching)

    def _rows_with(self, asked: Asked) -> tuple[list[WordRows], bool]:
        query = asked.query
        return self._surroundings.ledger.rows_with(
            query.text or "", query.namespace, asked.living, asked.head, prune=asked.condition is None
        )


def filled(cosines: Floats) -> Floats:
    """Cosines where one without a vector of this modality is as far as the farthest, not out of the question."""
    return np.nan_to_num(cosines, nan=float(np.nanmin(cosines, initial=1.0)))


def _compared(rids: Ids, scores: npt.NDArray[np.float32] | None, core: Ids) -> tuple[Ids, Floats | None]:
    """Candidates and their cosines, without the neighbours that have none."""
    if scores is None:
        return rids, None
    cosines = scores.astype(np.float64)
    if math.isnan(cosines.sum()):
        stays = ~np.isnan(cosines) | among(rids, core)
        return rids[stays], filled(cosines[stays])
    return rids, cosines


def _nearest(cosines: npt.NDArray[np.float32]) -> Places:
    """Places of the greatest cosines, NaN of a row without one."""
    if not math.isnan(cosines.sum()):
        return best_first(cosines, CANDIDATES)
    near = best_first(np.nan_to_num(cosines, nan=-np.inf), CANDIDATES)
    return near[~np.isnan(cosines.take(near))]
