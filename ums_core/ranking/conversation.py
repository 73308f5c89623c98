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


def contextual(scores: Floats, turns: Turns, profile: Profile, *, about_reply: bool) -> Floats:
    """Scores with what each turn's place adds; notes keep theirs.

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
    follows_question = np.append(turns.asks, np.False_)[first]
    peers = (
        np.where(follows_question, profile.after_question, profile.before) * known[first]
        + profile.before_2 * known[second]
        + profile.after * known[turns.after]
        + profile.after_2 * known[after[turns.after]]
        + profile.question * turns.asks
        + profile.length * turns.log_words
        + profile.named_speaker * turns.named
    )
    replied = np.append(turns.kind == REPLY, np.False_)[turns.after]
    user = profile.reply * replied * known[turns.after] + (0.0 if about_reply else profile.user)
    total: Floats = scores + (turns.kind == PEER) * peers + (turns.kind == USER) * user
    return total
