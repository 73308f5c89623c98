"""Text in, unit vectors out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Embedder", "EmbedderIdentity", "Forgetful"]


@dataclass(frozen=True, slots=True)
class EmbedderIdentity:
    """What two embedders must share for their vectors to be comparable.

    Attributes:
        name: such as ``static/l2_supercat``, or ``caller`` for vectors that the caller brings.
        revision: a version or a hash of the weights; empty where there is none.
        dim: number of components of a vector.
    """

    name: str
    revision: str
    dim: int

    def __str__(self) -> str:
        """Return the identity as one label, such as ``static/l2_supercat@1a2b (256-d)``."""
        revision = f"@{self.revision}" if self.revision else ""
        return f"{self.name}{revision} ({self.dim}-d)"


@runtime_checkable
class Embedder(Protocol):
    """Turns text into unit vectors. Thread-safe; the weights are loaded at the first use."""

    @property
    def identity(self) -> EmbedderIdentity:
        """What a database is bound to."""
        ...

    @property
    def max_tokens(self) -> int:
        """Length of the model's window: longer texts are split before they come here."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens of the window each text takes."""
        ...

    def embed_documents(self, texts: Sequence[str]) -> "npt.NDArray[np.float32]":
        """Unit rows, shape (n, d), in the order of the texts; (0, d) for none."""
        ...

    def embed_query(self, text: str) -> "npt.NDArray[np.float32]":
        """One unit vector, shape (d,), with the model's own query prompt where it has one."""
        ...

    def close(self) -> None:
        """Free the weights; the next use loads them again."""
        ...


@runtime_checkable
class Forgetful(Protocol):
    """An embedder that remembers what it was asked, and can be told not to."""

    def forget(self) -> None:
        """Forget every text and vector, but keep the weights."""
        ...
