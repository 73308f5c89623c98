"""What the words of a question ask of the turns, beside being like them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ums_core.ranking.conversation import Turns, contextual
from ums_core.ranking.dates import When, date_in, nearness
from ums_core.ranking.words import asks_reply, asks_time

__all__ = ["HALF_LIFE_DAYS", "NO_QUESTION", "Question"]

Floats = npt.NDArray[np.float64]

# What happened is told within days: half-lives of 2 to 30 days rank LoCoMo alike.
HALF_LIFE_DAYS = 7.0


@dataclass(frozen=True, slots=True)
class Question:
    """A question as far as its words alone say something.

    Attributes:
        when: the date that it names.
        about_reply: whether it asks what an assistant said.
        asks_time: whether it asks when something was.
    """

    when: When | None
    about_reply: bool
    asks_time: bool

    @classmethod
    def of(cls, text: str) -> "Question":
        """Read a question; costs some microseconds."""
        return cls(date_in(text), asks_reply(text), asks_time(text))

    def parts(self, scores: Floats, turns: Turns, weights: Mapping[str, Floats]) -> dict[str, Floats]:
        """What each signal beside the two shares contributes to the candidates, by its name.

        Args:
            scores: fused z-scores, shape (n,).
            turns: the same candidates.
            weights: of each candidate, by the name of the signal; each of shape (n,).
        """
        parts = contextual(scores, turns, weights, about_reply=self.about_reply, asks_time=self.asks_time)
        if self.when is not None:
            parts["date"] = weights["date"] * nearness(self.when, turns.moment, HALF_LIFE_DAYS)
        return parts


NO_QUESTION = Question(when=None, about_reply=False, asks_time=False)
