"""Candidates in their order, with what brought them there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ums_core.ranking.conversation import NOTE, PEER, REPLY, USER
from ums_core.records import Hit, Query
from ums_core.records.query import Kind

__all__ = ["Ranked"]

Floats = npt.NDArray[np.float64]

_KIND_NAMES: dict[int, Kind] = {NOTE: "notes", PEER: "dialogue", USER: "assistant", REPLY: "assistant"}


@dataclass(frozen=True, slots=True)
class Ranked:
    """Candidates, best first.

    Attributes:
        parts: what each signal contributed to the scores, each of shape (n,); only as far as the query asks for it.
        kinds: NOTE, PEER, USER or REPLY, shape (n,); None where all are ranked alike, or the query does not ask.
    """

    rids: list[int]
    scores: list[float]
    similarities: Sequence[float | None]
    parts: Mapping[str, Floats]
    kinds: npt.NDArray[np.uint8] | None = None

    def followed_by(self, others: tuple[Sequence[int], Sequence[float | None]]) -> "Ranked":
        """These, and behind them others that were not ranked together with them, in their order.

        Args:
            others: row ids and cosines.
        """
        rids, similarities = others
        lowest = self.scores[-1]
        behind = [lowest - place / (place + 1.0) for place in range(1, len(rids) + 1)]
        empty = np.zeros(len(rids))
        return Ranked(
            [*self.rids, *rids],
            [*self.scores, *behind],
            [*self.similarities, *similarities],
            {name: np.append(part, empty) for name, part in self.parts.items()}
            | {"behind": np.append(np.zeros(len(self.rids)), behind)},
            None if self.kinds is None else np.append(self.kinds, empty.astype(np.uint8)),
        )

    def taken(self, places: Sequence[int]) -> "Ranked":
        """Some of them, in the order of the places."""
        at = np.array(places, np.intp)
        return Ranked(
            [self.rids[place] for place in places],
            [self.scores[place] for place in places],
            [self.similarities[place] for place in places],
            {name: part[at] for name, part in self.parts.items()},
            None if self.kinds is None else self.kinds[at],
        )

    def rescored(self, scores: list[float], name: str, part: Floats) -> "Ranked":
        """The same in the same order, with new scores and a signal that makes up the difference.

        Args:
            scores: shape (n,).
            name: of the signal.
            part: new less old scores, shape (n,).
        """
        return replace(self, scores=scores, parts={**self.parts, name: part})

    def cut(self, query: Query) -> "Ranked":
        """Those that the query shows, of this page and good enough."""
        first, last = query.offset, query.offset + query.k
        if query.min_score is None:
            return self if not first and len(self.rids) <= last else self.taken(range(len(self.rids))[first:last])
        good = [place for place, score in enumerate(self.scores) if score >= query.min_score]
        return self.taken(good[first:last])

    def explained(self, hit: Hit, place: int) -> Hit:
        """The hit with what each signal contributed to it."""
        signals = {name: float(part[place]) for name, part in self.parts.items() if part[place]}
        kind = None if self.kinds is None else _KIND_NAMES[self.kinds[place]]
        return replace(hit, signals=signals, kind=kind)
