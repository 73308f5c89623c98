"""The few rows of a small namespace, kept ready as turns: each has a place among them, and all is told by places."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from ums_core.ports.index import RowSet
from ums_core.ranking.conversation import Talk, Turns
from ums_core.ranking.lexical import WordRows, bm25, rows_of
from ums_core.records.query import Kind

__all__ = ["Circle", "Circles"]

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
Places = npt.NDArray[np.intp]

# What a circle takes beside its rows, in rows of about 100 bytes, and how many rows are kept: 26 MB.
_ROWS_EACH, _MAX_ROWS = 20, 2**18


@dataclass(frozen=True, slots=True, eq=False)
class Circle:
    """The rows of a small set.

    Attributes:
        rids: their ids, ascending, shape (n,).
        talk: the same rows as turns.
        near: places of the turns before and after each, whatever it was declared to be, -1 for one that is not among
            them, shape (2, n).
        places: all of them, shape (n,).
    """

    rids: Ids
    talk: Talk
    near: Places
    places: Places = field(init=False)
    _turns: Turns = field(init=False)

    def __post_init__(self) -> None:
        """Make ready what each question needs."""
        object.__setattr__(self, "places", np.arange(len(self.rids)))
        object.__setattr__(self, "_turns", self.talk.turns())

    def matches(self, words: Sequence[WordRows]) -> Floats:
        """BM25 of each row, shape (n,).

        Args:
            words: as storage found them; rows that came or went since the set was read do not count.
        """
        rows = rows_of(words)
        at = self.rids.searchsorted(rows)
        if np.count_nonzero(self.rids.take(at, mode="clip") == rows) < len(rows):
            words = [word.only(self.rids) for word in words]
            at = self.rids.searchsorted(rows_of(words))
        return bm25(words, at, self.talk.telling, len(self.rids))

    def with_neighbours(self, lists: Sequence[Places]) -> tuple[Places, Places]:
        """The places of some lists, and these with those of the turns just before and after them; both ascending."""
        chosen = np.zeros(len(self.rids) + 1, np.bool_)
        for places in lists:
            chosen[places] = True
        core = chosen.nonzero()[0]
        if len(core) == len(self.rids):
            return core, core
        chosen[self.near.take(core, 1)] = True
        # Whatever has no neighbour led to the last one, which is none.
        return core, chosen[:-1].nonzero()[0]

    def turns(self, places: Places, speakers: Collection[int]) -> Turns:
        """Some of the rows as candidates.

        Args:
            places: distinct, ascending.
            speakers: those whom the query names.
        """
        if len(places) == len(self.rids):
            return self.talk.turns(speakers) if speakers else self._turns
        return self.talk.among(places, speakers)


class Circles:
    """Circles by their rows, and by what those were said to be. Only one thread at a time keeps and clears."""

    def __init__(self) -> None:
        # Replaced as a whole, so that a reader needs no lock. A set that nobody asks for again takes its circle along.
        self._kept: WeakKeyDictionary[RowSet, dict[Kind | None, Circle]] = WeakKeyDictionary()
        self._rows = 0

    def get(self, rows: RowSet, declared: Kind | None) -> Circle | None:
        """The circle of a set, if it is kept."""
        return self._kept.get(rows, {}).get(declared)

    def keep(self, rows: RowSet, declared: Kind | None, circle: Circle) -> None:
        """Keep it; where there is no room, none of the others."""
        self._rows += len(rows) + _ROWS_EACH
        if self._rows > _MAX_ROWS:
            self.clear()
            self._rows = len(rows) + _ROWS_EACH
        self._kept.setdefault(rows, {})[declared] = circle

    def clear(self) -> None:
        """Forget all."""
        self._kept, self._rows = WeakKeyDictionary(), 0
