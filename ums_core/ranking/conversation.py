"""What the place of a turn in its conversation says about it. Pure functions of arrays."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ums_core.ranking.profile import Profile

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
        asks: whether the turn asks something, bool.
        log_words: ln(1 + telling words), float.
        named: whether the query names the speaker, bool.
    """

    kind: npt.NDArray[np.int8]
    before: npt.NDArray[np.intp]
    after: npt.NDArray[np.intp]
    asks: npt.NDArray[np.bool_]
    log_words: Floats
    named: npt.NDArray[np.bool_]


def contextual(scores: Floats, turns: Turns, profile: Profile, *, about_reply: bool) -> dict[str, Floats]:
    """What each turn's place adds to its score, by the name of the weight; notes gain nothing.

    Monotone in every score. A neighbour that is no candidate adds nothing.

    Args:
        scores: fused z-scores, shape (n,).
        turns: the same candidates.
        profile: the weights.
        about_reply: whether the query asks for what the assistant said.
    """
    # One more place, for neighbours that are no candidates: -1 leads there.
    known = np.append(scores, 0.0)
    before, after = np.append(turns.before, -1), np.append(turns.after, -1)
    first, second = turns.before, before[turns.before]
    answers = np.append(turns.asks, np.False_)[first]
    replied = np.append(turns.kind == REPLY, np.False_)[turns.after]
    peer, user = turns.kind == PEER, turns.kind == USER
    return {
        "before": peer * profile.before * ~answers * known[first],
        "after_question": peer * profile.after_question * answers * known[first],
        "after": peer * profile.after * known[turns.after],
        "before_2": peer * profile.before_2 * known[second],
        "after_2": peer * profile.after_2 * known[after[turns.after]],
        "named_speaker": peer * profile.named_speaker * turns.named,
        "question": peer * profile.question * turns.asks,
        "length": peer * profile.length * turns.log_words,
        "user": user * (0.0 if about_reply else profile.user),
        "reply": user * profile.reply * replied * known[turns.after],
    }
