"""What the place of a turn in its conversation says about it. Pure functions of arrays."""

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
    "Turns",
    "kinds_of",
    "placed",
    "traits_among",
]

# What a memory is: outside any conversation, said among peers, by an assistant's user, or by an assistant.
NOTE, PEER, USER, REPLY = 0, 1, 2, 3
# Traits are eight bits: the cues of ``ums_core.ranking.words``, but that the first tells whether the turn before asks;
# the kind in two; whether the query names the speaker; and whether it is a user's turn with its reply, or that reply.
ANSWERS, KIND_SHIFT, NAMED, PAIRED = ASKS, 4, 64, 128
_KIND, _ASKS, _ELSE = np.uint8(3 << KIND_SHIFT), np.uint8(ASKS), np.uint8(255 - ASKS)

Floats = npt.NDArray[np.float64]
Traits = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Turns:
    """Candidates as turns; each array has shape (n,) unless said otherwise.

    Attributes:
        traits: what is true of each, in bits as above.
        links: places of the turns before and after among the candidates, -1 for one that is not among them; shape
            (2, n + 1), the last column -1.
        session: a number for the session, -1 for none.
        telling: how many words tell something.
        moment: when it was said, in microseconds since 1970, int64.
    """

    traits: Traits
    links: npt.NDArray[np.intp]
    session: npt.NDArray[np.int32]
    telling: npt.NDArray[np.int32]
    moment: npt.NDArray[np.int64]


def kinds_of(traits: Traits) -> Traits:
    """NOTE, PEER, USER or REPLY of each turn, shape (n,)."""
    return (traits & _KIND) >> np.uint8(KIND_SHIFT)


def traits_among(own: Traits, links: npt.NDArray[np.intp], named: npt.NDArray[np.bool_] | None) -> Traits:
    """The traits of turns among candidates, shape (n,).

    Args:
        own: the cues and the kind of each, in bits as above, but that the first tells whether the turn itself asks.
        links: as of :class:`Turns`.
        named: whether the query names the speaker; None of nobody.
    """
    # One more place, for neighbours that are no candidates: -1 leads there.
    padded = _padded(own)
    before = padded.take(links[0, :-1])
    traits = (own & _ELSE) | (before & _ASKS)
    if named is not None:
        traits |= np.where(named, np.uint8(NAMED), np.uint8(0))
    # A user and an assistant are the only kinds with this bit.
    if int(np.bitwise_or.reduce(own)) & (USER << KIND_SHIFT):
        kinds, earlier, later = kinds_of(own), kinds_of(before), kinds_of(padded.take(links[1, :-1]))
        paired = ((kinds == USER) & (later == REPLY)) | ((kinds == REPLY) & (earlier == USER))
        traits |= np.where(paired, np.uint8(PAIRED), np.uint8(0))
    return traits


def placed(scores: Floats, turns: Turns, out: Floats) -> None:
    """What a turn's place lends to it: scores of the turns before and after, two before and two after, each shape (n,)
    and 0 of a neighbour that is no candidate; and the best score in its session, 0 where it has none.

    All are monotone in every score.

    Args:
        scores: shape (n,).
        turns: the same candidates.
        out: where to write them, shape (5, n).
    """
    before, after = turns.links
    beside = np.empty((4, len(scores)), np.intp)
    beside[:2] = turns.links[:, :-1]
    before.take(beside[0], out=beside[2], mode="wrap")
    after.take(beside[1], out=beside[3], mode="wrap")
    _padded(scores).take(beside, out=out[:4], mode="wrap")
    _best_of_session(scores, turns.session, out[4])


def _best_of_session(scores: Floats, session: npt.NDArray[np.int32], out: Floats) -> None:
    order = session.argsort(kind="stable")
    ordered = session.take(order)
    first = np.empty(len(order), np.bool_)
    first[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    best = np.maximum.reduceat(scores.take(order), first.nonzero()[0])
    if ordered[0] < 0:
        best[0] = 0.0
    out[order] = best.take(first.cumsum() - 1)


def _padded(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    out = np.empty(len(column) + 1, column.dtype)
    out[:-1] = column
    out[-1] = 0
    return out
