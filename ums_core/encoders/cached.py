"""A memory of recent vectors in front of any embedder."""

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

import numpy as np
import numpy.typing as npt

from ums_core.errors import SettingsError
from ums_core.ports import Embedder, EmbedderIdentity

__all__ = ["CachedEmbedder"]


class CachedEmbedder:
    """The same vectors as ``inner``, computed once while the text is among the most recently used.

    Thread-safe; the lock is never held while ``inner`` works. What is returned is a copy, free to be changed.
    Vectors stay in memory as plain floats: 4 bytes a component, so up to 8 MB at the defaults and 256 components.

    Args:
        inner: the embedder asked for what is not remembered.
        max_entries: texts remembered as queries, and as many again as documents, so that an ingestion does not
            push the queries out.

    Raises:
        SettingsError: max_entries < 1.
    """

    def __init__(self, inner: Embedder, max_entries: int = 4096) -> None:
        if max_entries < 1:
            raise SettingsError(f"an embedding cache holds at least 1 entry, got {max_entries}; leave it out instead")
        self._inner = inner
        self._queries = _Recent(max_entries)
        self._documents = _Recent(max_entries)

    @property
    def identity(self) -> EmbedderIdentity:
        """That of the inner embedder."""
        return self._inner.identity

    @property
    def max_tokens(self) -> int:
        """That of the inner embedder."""
        return self._inner.max_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """As the inner embedder counts; counts are not remembered."""
        return self._inner.count_tokens(texts)

    def embed_documents(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Unit rows, shape (n, d); the texts not remembered go to the inner embedder in one call, each once."""
        if not texts:
            return self._inner.embed_documents(texts)
        vectors = self._documents.get(texts)
        missing = [text for text in dict.fromkeys(texts) if text not in vectors]
        if missing:
            fresh = dict(zip(missing, self._inner.embed_documents(missing), strict=True))
            self._documents.put(fresh)
            vectors |= fresh
        return np.stack([vectors[text] for text in texts])

    def embed_query(self, text: str) -> npt.NDArray[np.float32]:
        """One unit vector, shape (d,)."""
        vector = self._queries.get((text,)).get(text)
        if vector is None:
            vector = self._inner.embed_query(text)
            self._queries.put({text: vector})
        return vector.copy()

    def forget(self) -> None:
        """Forget every text and vector, but keep the weights."""
        self._queries.clear()
        self._documents.clear()

    def close(self) -> None:
        """Forget every vector and close the inner embedder."""
        self.forget()
        self._inner.close()


class _Recent:
    """The vectors of the texts used last, at most ``max_entries``."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._lock = Lock()
        self._vectors: OrderedDict[str, npt.NDArray[np.float32]] = OrderedDict()

    def get(self, texts: Sequence[str]) -> dict[str, npt.NDArray[np.float32]]:
        """The vectors known among those asked for; not to be written to."""
        with self._lock:
            known = {text: self._vectors[text] for text in texts if text in self._vectors}
            for text in known:
                self._vectors.move_to_end(text)
            return known

    def put(self, vectors: dict[str, npt.NDArray[np.float32]]) -> None:
        """Remember copies: a row that were kept as a view would keep its whole batch alive."""
        with self._lock:
            for text, vector in vectors.items():
                self._vectors[text] = vector.copy()
                self._vectors.move_to_end(text)
            while len(self._vectors) > self._max_entries:
                self._vectors.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._vectors.clear()
