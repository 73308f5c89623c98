"""What the place of a turn in its conversation says about it. Pure functions of arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ums_core.ranking.words import ASKS, ENDS_ASKING, FIRST_PERSON, NAMES_TIME

__all__ = ["NOTE", "PEER", "REPLY", "USER", "Turns", "contextual"]

# What a memory is: outside any conversation, said among peers, by an assistant's user, or by an assistant.
NOTE, PEER, USER, REPLY = 0, 1, 2, 3

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Turns:
    """Candidates as turns; each array has shape (n,).

    Attributes:
        kind: NOTE, PEER, USER or REPLY, int8.
        before: place of the turn before among the candidates, -1 if it is not one of them.
        after: place of the turn after, likewise.
        session: a number for the session, -1 for none.
        cues: what the turn does with words, the bits of ``ums_core.ranking.words``.
        log_words: ln(1 + telling words), float.
        named: whether the query names the speaker, bool.
        moment: when it was said, in microseconds since 1970, int64.
    """

    kind: npt.NDArray[np.int8]
    before: npt.NDArray[np.intp]
    after: npt.NDArray[np.intp]
    session: npt.NDArray[np.int32]
    cues: npt.NDArray[np.int8]
    log_words: Floats
    named: npt.NDArray[np.bool_]
    moment: npt.NDArray[np.int64]


def contextual(
    scores: Floats, turns: Turns, weights: Mapping[str, Floats], *, about_reply: bool, asks_time: bool
) -> dict[str, Floats]:
    """What each turn's place and words add to its score, by the name of the weight.

    Monotone in every score where the weights of neighbours are not negative. A neighbour that is no candidate adds
    nothing.

    Args:
        scores: fused z-scores, shape (n,).
        turns: the same candidates.
        weights: of each candidate, by the name of the signal; each of shape (n,).
        about_reply: whether the query asks for what the assistant said.
        asks_time: whether the query asks when something was.
    """
    # One more place, for neighbours that are no candidates: -1 leads there.
    known, cues = _padded(scores, 0), _padded(turns.cues, 0)
    first, last = turns.before, turns.after
    second = _padded(first, -1)[first]
    next_but_one = _padded(last, -1)[last]
    answers = (cues[first] & ASKS) > 0
    user = turns.kind == USER
    replied = user & (_padded(turns.kind, NOTE)[last] == REPLY)
    signals = {
        "before": np.where(answers, 0.0, known[first]),
        "after_question": np.where(answers, known[first], 0.0),
        "after": known[last],
        "before_2": known[second],
        "after_2": known[next_but_one],
        "session": _best_of_session(scores, turns.session),
        "named_speaker": turns.named,
        "first_person": turns.named & ((turns.cues & FIRST_PERSON) > 0),
        "question": (turns.cues & ENDS_ASKING) > 0,
        "answer": answers,
        "length": turns.log_words,
        "time": (turns.cues & NAMES_TIME) > 0,
        "user": user,
        "reply": np.where(replied, known[last], 0.0),
    }
    if not asks_time:
        del signals["time"]
    if about_reply:
        del signals["user"], signals["reply"]
    return {name: weights[name] * signal for name, signal in signals.items()}


def _best_of_session(scores: Floats, session: npt.NDArray[np.int32]) -> Floats:
    """The best score in each candidate's session, shape (n,); 0 where it has none."""
    order = np.argsort(session, kind="stable")
    ordered = session[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    best = np.empty(len(scores))
    best[order] = np.repeat(np.maximum.reduceat(scores[order], starts), np.diff(starts, append=len(scores)))
    best[session < 0] = 0.0
    return best


def _padded(column: npt.NDArray[Any], value: int) -> npt.NDArray[Any]:
    out = np.empty(len(column) + 1, column.dtype)
    out[:-1] = column
    out[-1] = value
    return out
