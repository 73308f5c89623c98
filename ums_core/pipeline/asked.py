"""A query with what it takes to answer it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ums_core.pipeline.rerank import Rereading
from ums_core.ports.index import RowSet, VectorIndex
from ums_core.ports.ledger import Head
from ums_core.ranking.profile import Profiles
from ums_core.ranking.question import Question
from ums_core.records import Filter, Query

__all__ = ["DIVERSE", "Asked"]

# So many of the best are put in an order that does not repeat itself, or by their age, however few are shown.
DIVERSE = 100


@dataclass(frozen=True, slots=True)
class Asked:
    """A query, the rows that it may find, and what its text and its options come to.

    Attributes:
        query: as it was asked.
        condition: its filter and level; None for neither.
        vector: what is compared with the index; None with ``index`` where nothing is.
        allowed: the rows that may be found; None is all.
        speakers: those whom the query names.
        head: where the journal stood.
    """

    query: Query
    condition: Filter | None
    vector: npt.NDArray[np.float32] | None
    index: VectorIndex | None
    allowed: RowSet | None
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

    def nearest(self, depth: int) -> npt.NDArray[np.int64]:
        """The row ids nearest by vector, best first; none where nothing is compared."""
        if self.index is None or self.vector is None:
            return np.empty(0, np.int64)
        return self.index.search(self.vector, depth, self.allowed)[0]

    def cosines(self, rids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32] | None:
        """The cosine of each row's best passage, NaN of one without; None where nothing is compared."""
        return None if self.index is None or self.vector is None else self.index.scores(self.vector, rids)
