"""How well a text answers a question, read together."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Reranker"]


@runtime_checkable
class Reranker(Protocol):
    """Scores pairs of a question and a text. Thread-safe; the weights are loaded at the first use."""

    def scores(self, question: str, texts: Sequence[str], *, budget_s: float) -> "npt.NDArray[np.float64] | None":
        """How well each text answers the question, shape (n,), higher is better; None if the time did not suffice.

        Args:
            question: in words.
            texts: any number.
            budget_s: seconds after which the caller goes on without an answer; loading the weights does not count,
                waiting for another call does.
        """
        ...

    def close(self) -> None:
        """Free the weights; the next use loads them again."""
        ...
