"""What the words of a question ask of the turns, beside being like them."""

from dataclasses import dataclass

from ums_core.ranking.dates import When, date_in
from ums_core.ranking.words import asks_reply, asks_time

__all__ = ["HALF_LIFE_DAYS", "NO_QUESTION", "Question"]

# What happened is told within days; half-lives of 2 to 30 days rank alike, see docs/explanation/ranking.md.
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


NO_QUESTION = Question(when=None, about_reply=False, asks_time=False)
