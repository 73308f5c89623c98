"""An embedder that is used here and owned elsewhere."""

from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np
import numpy.typing as npt

from ums_core.ports import Embedder, EmbedderIdentity

__all__ = ["Lent"]


class Lent:
    """An embedder for one of several borrowers; closing it leaves the weights to the others.

    Args:
        owned: the embedder.
        watch: told of each embedding: how many texts, and how many seconds.
    """

    def __init__(self, owned: Embedder, watch: Callable[[int, float], None]) -> None:
        self._owned = owned
        self._watch = watch

    @property
    def identity(self) -> EmbedderIdentity:
        """What a database is bound to."""
        return self._owned.identity

    @property
    def max_tokens(self) -> int:
        """Length of the model's window."""
        return self._owned.max_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens of the window each text takes."""
        return self._owned.count_tokens(texts)

    def embed_documents(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Unit rows, shape (n, d), in the order of the texts."""
        started = perf_counter()
        rows = self._owned.embed_documents(texts)
        self._watch(len(texts), perf_counter() - started)
        return rows

    def embed_query(self, text: str) -> npt.NDArray[np.float32]:
        """One unit vector, shape (d,)."""
        started = perf_counter()
        row = self._owned.embed_query(text)
        self._watch(1, perf_counter() - started)
        return row

    def close(self) -> None:
        """Do nothing: the weights are somebody else's."""
