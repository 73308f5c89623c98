"""Vectors from spelling alone: the same in every process, and without any weights."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from ums_core.errors import SettingsError
from ums_core.ports import EmbedderIdentity

__all__ = ["HashingEmbedder"]

_ALGORITHM = "1"
_WINDOW = 256
_WORD = re.compile(r"\w+")


class HashingEmbedder:
    """Signed feature hashing of lower-cased words and of their character trigrams; meant for tests.

    Texts are alike as far as they share words or parts of words; meaning plays no role. About 0.1 ms a sentence.

    Args:
        dim: number of components of a vector.

    Raises:
        SettingsError: dim < 1.

    Source: Weinberger et al., "Feature hashing for large scale multitask learning", ICML 2009.
    """

    def __init__(self, dim: int = 384) -> None:
        if dim < 1:
            raise SettingsError(f"the dimension of hashing vectors must be at least 1, got {dim}")
        self._dim = dim

    @property
    def identity(self) -> EmbedderIdentity:
        """``hashing``, with the version of the algorithm as its revision."""
        return EmbedderIdentity("hashing", _ALGORITHM, self._dim)

    @property
    def max_tokens(self) -> int:
        """Words that are hashed into one vector before it says too little of each."""
        return _WINDOW

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Number of words of each text."""
        return [sum(1 for _ in _WORD.finditer(text)) for text in texts]

    def embed_documents(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Unit rows, shape (n, dim)."""
        vectors = np.empty((len(texts), self._dim), np.float32)
        for row, text in zip(vectors, texts, strict=True):
            row[:] = self.embed_query(text)
        return vectors

    def embed_query(self, text: str) -> npt.NDArray[np.float32]:
        """One unit vector, shape (dim,); a text without any word is hashed as a whole."""
        vector = np.zeros(self._dim, np.float32)
        for feature, count in Counter(_features(text.lower())).items():
            place, sign = self._hash(feature)
            vector[place] += sign * count
        length = float(np.linalg.norm(vector))
        if length == 0:
            place, sign = self._hash(text)
            vector[place] = sign
            return vector
        return vector / np.float32(length)

    def close(self) -> None:
        """Nothing: there are no weights."""

    def _hash(self, feature: str) -> tuple[int, int]:
        """The component that a feature falls on, and 1 or -1."""
        number = int.from_bytes(blake2b(feature.encode(), digest_size=8).digest(), "little")
        return (number >> 1) % self._dim, 1 if number & 1 else -1


def _features(text: str) -> Iterator[str]:
    """Each word, and the trigrams of it between marks of its start and end."""
    for match in _WORD.finditer(text):
        word = match.group()
        yield word
        marked = f"<{word}>"
        for start in range(len(marked) - 2):
            yield marked[start : start + 3]
