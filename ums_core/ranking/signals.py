"""From what is known of candidates to their scores: the sum of weight times signal. Pure functions of arrays.

A signal is a quantity, such as the score of the turn before, that counts where the turn has certain traits, such as to
answer a question. There are 256 combinations of traits, so that all weights of a turn are one row of a table.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ums_core.ranking.conversation import ANSWERS, KIND_SHIFT, NAMED, PAIRED, REPLY, USER, Turns, placed
from ums_core.ranking.dates import nearness
from ums_core.ranking.fuse import standard
from ums_core.ranking.profile import Profile, Profiles
from ums_core.ranking.question import HALF_LIFE_DAYS, Question
from ums_core.ranking.words import ENDS_ASKING, FIRST_PERSON, NAMES_TIME

__all__ = ["Scored", "scored"]

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
_Codes = npt.NDArray[np.intp]

# What weights multiply: z-scores by words and by vectors, one, the scores of neighbours, the best of the session,
# ln(1 + telling words), nearness to a date.
LEXICAL, DENSE, ONE, BEFORE, AFTER, BEFORE_2, AFTER_2, SESSION, LENGTH, DATE = range(10)
_QUANTITIES = 10
# The length of a text counts up to so many telling words, more than 99 in a hundred turns have where its weight was
# fitted: what is pasted into a conversation is not the better answer for being long.
LONGEST = 32
_LENGTHS = np.log1p(np.arange(LONGEST + 1))
_LENT = slice(BEFORE, SESSION + 1)

_ALL_TRAITS: _Codes = np.arange(256)
_KIND = _ALL_TRAITS >> KIND_SHIFT & 3


def _where(*bits: int) -> npt.NDArray[np.bool_]:
    """Which combinations of traits have all of the bits."""
    wanted = sum(bits)
    return np.asarray(_ALL_TRAITS & wanted == wanted)


_EVERYWHERE = _where()
# By name of the weight: what it multiplies, and in which combinations of traits.
_SIGNALS: dict[str, tuple[int, npt.NDArray[np.bool_]]] = {
    "lexical": (LEXICAL, _EVERYWHERE),
    "dense": (DENSE, _EVERYWHERE),
    "before": (BEFORE, ~_where(ANSWERS)),
    "after_question": (BEFORE, _where(ANSWERS)),
    "after": (AFTER, _EVERYWHERE),
    "before_2": (BEFORE_2, _EVERYWHERE),
    "after_2": (AFTER_2, _EVERYWHERE),
    "session": (SESSION, _EVERYWHERE),
    "named_speaker": (ONE, _where(NAMED)),
    "first_person": (ONE, _where(NAMED, FIRST_PERSON)),
    "question": (ONE, _where(ENDS_ASKING)),
    "answer": (ONE, _where(ANSWERS)),
    "length": (LENGTH, _EVERYWHERE),
    "time": (ONE, _where(NAMES_TIME)),
    "date": (DATE, _EVERYWHERE),
    "user": (ONE, _KIND == USER),
    "reply": (AFTER, _where(PAIRED) & (_KIND == USER)),
}
# The same of a question that asks what the assistant said.
_ABOUT_REPLY: dict[str, tuple[int, npt.NDArray[np.bool_]]] = {
    "user": (ONE, _KIND == REPLY),
    "reply": (BEFORE, _where(PAIRED) & (_KIND == REPLY)),
}


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """The weights by traits.

    Attributes:
        sums: of all signals of a quantity, shape (256, quantities).
        each: by name of the signal, what it multiplies, and its weight, shape (256,).
        busy: whether more than the shares and the date count where no kind has other bits than these four numbers.
    """

    sums: Floats
    each: dict[str, tuple[int, Floats]]
    busy: tuple[bool, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Candidates with their scores.

    Attributes:
        scores: shape (n,).
        parts: what each signal contributes to them, by its name, each of shape (n,); worked out when it is called.
    """

    scores: Floats
    parts: Callable[[], dict[str, Floats]]


def scored(
    matches: Floats, cosines: Floats | None, core: Places, turns: Turns, asked: tuple[Question, Profiles]
) -> Scored:
    """Score candidates.

    Args:
        matches: BM25, shape (n,).
        cosines: shape (n,); None where there are no vectors, and words have all of the weight.
        core: places of the candidates that mean and deviation of the two are taken of.
        turns: the same candidates.
        asked: the question, and the weights.
    """
    question, profiles = asked
    table = _table(profiles, question.asks_time, question.about_reply, cosines is not None)
    traits = turns.traits
    weights = table.sums.take(traits, 0)
    measured = np.zeros((_QUANTITIES, len(traits)))
    measured[LEXICAL] = standard(matches, core)
    if cosines is not None:
        measured[DENSE] = standard(cosines, core)
    measured[ONE] = 1.0
    scores = _summed(weights[:, :ONE], measured[:ONE])
    if table.busy[int(np.bitwise_or.reduce(traits)) >> KIND_SHIFT & 3]:
        placed(scores, turns, out=measured[_LENT])
        measured[LENGTH] = _LENGTHS.take(turns.telling, mode="clip")
        scores += _summed(weights[:, ONE:DATE], measured[ONE:DATE])
    if question.when is not None:
        measured[DATE] = nearness(question.when, turns.moment, HALF_LIFE_DAYS)
        scores += weights[:, DATE] * measured[DATE]

    def parts() -> dict[str, Floats]:
        return {name: row.take(traits) * measured[quantity] for name, (quantity, row) in table.each.items()}

    return Scored(scores, parts)


def _summed(weights: Floats, quantities: Floats) -> Floats:
    """What quantities, shape (q, n), come to for each turn, shape (n,), by its weights, shape (n, q)."""
    return np.asarray(np.vecdot(weights, quantities.T))


@lru_cache(maxsize=32)
def _table(profiles: Profiles, asks_time: bool, about_reply: bool, vectors: bool) -> _Table:  # noqa: FBT001  # a key of the cache
    signals = _SIGNALS | (_ABOUT_REPLY if about_reply else {})
    # An assistant's user and reply share one profile.
    kinds = (profiles.notes, profiles.dialogue, profiles.assistant, profiles.assistant)
    weights = [_shared(profile, vectors=vectors) for profile in kinds]
    each: dict[str, tuple[int, Floats]] = {}
    sums = np.zeros((len(_ALL_TRAITS), _QUANTITIES))
    for name, (quantity, where) in signals.items():
        if name != "time" or asks_time:
            by_kind = np.array([getattr(profile, name) for profile in weights])
            each[name] = quantity, by_kind.take(_KIND) * where
            sums[:, quantity] += each[name][1]
    placing = np.asarray(sums[:, ONE:DATE].any(axis=1))
    busy = tuple(bool(placing[_KIND & ~bits == 0].any()) for bits in range(REPLY + 1))
    return _Table(sums, each, busy)


def _shared(profile: Profile, *, vectors: bool) -> Profile:
    """The profile with shares that add up to one, or with one of words alone."""
    if not vectors:
        return replace(profile, dense=0.0, lexical=float(np.sign(profile.lexical)))
    both = profile.dense + profile.lexical
    return replace(profile, dense=profile.dense / both, lexical=profile.lexical / both)
