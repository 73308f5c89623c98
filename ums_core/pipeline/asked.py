"""A query with what it takes to answer it."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ums_core.pipeline.rerank import Rereading
from ums_core.ports.index import RowSet
from ums_core.ports.ledger import Head
from ums_core.ranking.fuse import best_first
from ums_core.ranking.profile import Profiles
from ums_core.ranking.question import Question
from ums_core.records import Filter, Query

__all__ = ["DIVERSE", "Asked", "Compared", "Copied"]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

# So many of the best are put in an order that does not repeat itself, or by their age, however few are shown.
DIVERSE = 100


class Compared(Protocol):
    """What a vector is compared with; an index, for one."""

    def search(self, query: Floats, k: int, allowed: RowSet | None) -> tuple[Ids, Floats]:
        """Row ids and cosines of the nearest rows, best first."""
        ...

    def scores(self, vector: Floats, rids: Ids) -> Floats:
        """The cosine of each row, NaN of one that is not known."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Copied:
    """The cosines of all rows that one query may find, which do not change under its hands as an index may.

    Attributes:
        rids: ascending, shape (n,).
        cosines: shape (n,), NaN of a row without a vector.
    """

    rids: Ids
    cosines: Floats

    def search(self, _: Floats, k: int, __: RowSet | None) -> tuple[Ids, Floats]:
        """Row ids and cosines of the nearest rows, best first."""
        known = (~np.isnan(self.cosines)).nonzero()[0]
        best = known.take(best_first(self.cosines.take(known), k))
        return self.rids.take(best), self.cosines.take(best)

    def scores(self, _: Floats, rids: Ids) -> Floats:
        """The cosine of each of some of the rows."""
        return self.cosines.take(self.rids.searchsorted(rids))


@dataclass(frozen=True, slots=True)
class Asked:
    """A query, the rows that it may find, and what its text and its options come to.

    Attributes:
        query: as it was asked.
        condition: its filter and level; None for neither.
        vector: what is compared with the index; None with ``index`` where nothing is.
        allowed: the rows that may be found, and perhaps some that are gone, which an index may still know; None is all.
        living: without those that are known to be gone.
        speakers: those whom the query names.
        head: where the journal stood.
    """

    query: Query
    condition: Filter | None
    vector: Floats | None
    index: Compared | None
    allowed: RowSet | None
    living: RowSet | None
    speakers: set[int]
    profiles: Profiles
    question: Question
    rereading: Rereading | None
    head: Head

    @property
    def depth(self) -> int:
        """How many must be ranked to show what the query asks for."""
        shown = self.query.offset + self.query.k
        again = 0 if self.rereading is None else self.rereading.top_n
        return max(shown, again, 0 if self.query.diversity is None and not self.query.recency else DIVERSE)

    def nearest(self, depth: int) -> Ids:
        """The row ids nearest by vector, best first; none where nothing is compared."""
        if self.index is None or self.vector is None:
            return np.empty(0, np.int64)
        return self.index.search(self.vector, depth, self.allowed)[0]

    def cosines(self, rids: Ids) -> Floats | None:
        """The cosine of each row's best passage, NaN of one without; None where nothing is compared."""
        return None if self.index is None or self.vector is None else self.index.scores(self.vector, rids)
