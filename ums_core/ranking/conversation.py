"""What the place of a turn in its conversation says about it. Pure functions of arrays."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ums_core.ranking.words import ASKS

__all__ = [
    "ANSWERS",
    "KIND_SHIFT",
    "NAMED",
    "NOTE",
    "PAIRED",
    "PEER",
    "REPLY",
    "USER",
    "Talk",
    "Turns",
    "kinds_of",
    "placed",
    "traits_among",
    "two_beside",
]

# What a memory is: outside any conversation, said among peers, by an assistant's user, or by an assistant.
NOTE, PEER, USER, REPLY = 0, 1, 2, 3
# Traits are eight bits: the cues of ``ums_core.ranking.words``, but that the first tells whether the turn before asks;
# the kind in two; whether the query names the speaker; and whether it is a user's turn with its reply, or that reply.
ANSWERS, KIND_SHIFT, NAMED, PAIRED = ASKS, 4, 64, 128
_KIND, _ASKS, _ELSE = np.uint8(3 << KIND_SHIFT), np.uint8(ASKS), np.uint8(255 - ASKS)

# Numbers of sessions up to this one are places of a table; greater ones are first counted anew.
_SESSIONS = 2**14

Floats = npt.NDArray[np.float64]
Traits = npt.NDArray[np.uint8]
Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Turns:
    """Candidates as turns; each array has shape (n,) unless said otherwise.

    Attributes:
        traits: what is true of each, in bits as above.
        beside: places of the turns before, after, two before and two after among the candidates, -1 for one that is
            not among them; shape (4, n).
        session: a number for the session, -1 for none.
        telling: how many words tell something.
        moment: when it was said, in microseconds since 1970, int64.
    """

    traits: Traits
    beside: Places
    session: npt.NDArray[np.int32]
    telling: npt.NDArray[np.int32]
    moment: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Talk:
    """Rows as turns, of which any may be candidates; each array has shape (n,) unless said otherwise.

    Attributes:
        traits: what each is by itself: in bits as above, but that the first tells whether the turn itself asks.
        speaker: a number for who speaks, -1 for nobody.
        beside: as of :class:`Turns`, among all these rows.
        session, telling, moment: as of :class:`Turns`.
    """

    traits: Traits
    speaker: npt.NDArray[np.int32]
    beside: Places
    session: npt.NDArray[np.int32]
    telling: npt.NDArray[np.int32]
    moment: npt.NDArray[np.int64]

    def apart(self) -> "Talk":
        """The same with each column by itself in memory, of which some rows are taken sooner."""
        columns = (self.session.copy(), self.telling.copy(), self.moment.copy())
        return Talk(self.traits.copy(), self.speaker.copy(), self.beside, *columns)

    def turns(self, speakers: Collection[int] = ()) -> Turns:
        """All of them as candidates.

        Args:
            speakers: those whom the query names.
        """
        named = _any_of(self.speaker, speakers) if speakers else None
        traits = traits_among(self.traits, self.beside, named)
        return Turns(traits, self.beside, self.session, self.telling, self.moment)

    def among(self, places: Places, speakers: Collection[int]) -> Turns:
        """Some of them as candidates.

        Args:
            places: of those, distinct, ascending.
            speakers: as of :meth:`turns`.
        """
        # One more, for neighbours that there are none of: -1 leads there.
        standing = np.full(len(self.traits) + 1, -1, np.intp)
        standing[places] = np.arange(len(places))
        beside = standing.take(self.beside.take(places, 1))
        # Nothing leads past a turn that is no candidate.
        np.putmask(beside[2:], beside[:2] < 0, -1)
        named = _any_of(self.speaker.take(places), speakers) if speakers else None
        return Turns(
            traits_among(self.traits.take(places), beside, named),
            beside,
            self.session.take(places),
            self.telling.take(places),
            self.moment.take(places),
        )


def kinds_of(traits: Traits) -> Traits:
    """NOTE, PEER, USER or REPLY of each turn, shape (n,)."""
    return (traits & _KIND) >> np.uint8(KIND_SHIFT)


def traits_among(own: Traits, beside: Places, named: npt.NDArray[np.bool_] | None) -> Traits:
    """The traits of turns among candidates, shape (n,).

    Args:
        own: the cues and the kind of each, in bits as above, but that the first tells whether the turn itself asks.
        beside: as of :class:`Turns`.
        named: whether the query names the speaker; None of nobody.
    """
    # One more place, for neighbours that are no candidates: -1 leads there.
    padded = _padded(own)
    before = padded.take(beside[0])
    traits: Traits = (own & _ELSE) | (before & _ASKS)
    if named is not None:
        traits |= np.where(named, np.uint8(NAMED), np.uint8(0))
    # A user and an assistant are the only kinds with this bit.
    if int(np.bitwise_or.reduce(own)) & (USER << KIND_SHIFT):
        kinds, earlier, later = kinds_of(own), kinds_of(before), kinds_of(padded.take(beside[1]))
        paired = ((kinds == USER) & (later == REPLY)) | ((kinds == REPLY) & (earlier == USER))
        traits |= np.where(paired, np.uint8(PAIRED), np.uint8(0))
    return traits


def two_beside(links: Places) -> Places:
    """Places of the turns before, after, two before and two after each, shape (4, n), -1 for one that there is not.

    Args:
        links: of those before and after, shape (2, n + 1), the last column -1.
    """
    before, after = links
    places = np.empty((4, links.shape[1] - 1), np.intp)
    places[:2] = links[:, :-1]
    # What is not among the turns leads to the last column, and so to nothing.
    before.take(places[0], out=places[2], mode="wrap")
    after.take(places[1], out=places[3], mode="wrap")
    return places


def placed(scores: Floats, turns: Turns, out: Floats) -> None:
    """What a turn's place lends to it: scores of the turns before and after, two before and two after, each shape (n,)
    and 0 of a neighbour that is no candidate; and the best score in its session, 0 where it has none.

    All are monotone in every score.

    Args:
        scores: shape (n,).
        turns: the same candidates.
        out: where to write them, shape (5, n).
    """
    _padded(scores).take(turns.beside, out=out[:4], mode="wrap")
    _best_of_session(scores, turns.session, out[4])


def _best_of_session(scores: Floats, session: npt.NDArray[np.int32], out: Floats) -> None:
    last = int(session.max())
    if last > _SESSIONS:
        numbers, places = np.unique(np.append(session, -1), return_inverse=True)
        last, session = len(numbers) - 2, (places[:-1] - 1).astype(np.int32)
    # One more, for turns without a session: -1 leads there.
    best = np.full(last + 2, -np.inf)
    np.maximum.at(best, session, scores)
    best[-1] = 0.0
    best.take(session, out=out, mode="wrap")


def _any_of(codes: npt.NDArray[np.int32], wanted: Collection[int]) -> npt.NDArray[np.bool_]:
    """Whether each code is wanted; of a question few are."""
    found = np.zeros(len(codes), np.bool_)
    for code in wanted:
        found |= codes == code
    return found


def _padded(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    out = np.empty(len(column) + 1, column.dtype)
    out[:-1] = column
    out[-1] = 0
    return out
