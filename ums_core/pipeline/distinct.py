"""Which drafts say what is stored already: the same words, or vectors that are nearly the same."""

import unicodedata
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ums_core.ports.ledger import Row
from ums_core.records import Hit, Memory, Namespace, Query
from ums_core.records.distinct import Duplicate
from ums_core.records.memory import TEXT

__all__ = ["duplicates_of", "fingerprint", "said_by"]

# So many of the nearest are looked at: those of other namespaces below, or of other levels, are no duplicates.
_LOOKED_AT = 16

Search = Callable[[Query], list[Hit]]
Same = Callable[[Memory], Sequence[Memory]]


def fingerprint(text: str) -> str:
    """What two texts share that say the same word by word: Unicode form, case and spacing aside."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def duplicates_of(rows: Sequence[Row], search: Search, same: Same, similarity: float) -> list[Duplicate]:
    """The rows that are duplicates of a stored memory or of one before them, each with the nearest one.

    Compared is within one namespace and one level. A text of several passages is a duplicate only word by word.

    Args:
        rows: ready to be written.
        search: hits of a query.
        same: memories of the namespace and level of a memory that hold its very text.
        similarity: the least cosine of a duplicate.
    """
    found: list[Duplicate] = []
    seen = _Seen()
    for place, row in enumerate(rows):
        known = seen.nearest(row, similarity) or _stored(row, search, same, similarity)
        if known is None:
            seen.add(row)
        else:
            found.append(Duplicate(draft=place, id=known[0], similarity=known[1], exact=known[2]))
    return found


def said_by(row: Row, memories: Sequence[Memory], similarity: float) -> bool:
    """Whether one of these memories, which carry their vectors, says what a row says."""
    words, vector = fingerprint(row.memory.text), _vector(row)
    others = [other for other in memories if _comparable(other, row.memory)]
    if words and any(fingerprint(other.text) == words for other in others):
        return True
    if vector is None:
        return False
    single = [other.passages[0] for other in others if len(other.passages) == 1]
    near = [passage.vector for passage in single if passage.modality == TEXT]
    return any(float(np.asarray(each, np.float32) @ vector) >= similarity for each in near)


_Known = tuple[str, float, bool]


class _Seen:
    """The rows of a batch that are no duplicates."""

    def __init__(self) -> None:
        self._words: dict[tuple[Namespace, int, str], str] = {}
        self._vectors: dict[tuple[Namespace, int], tuple[list[str], list[npt.NDArray[np.float32]]]] = {}

    def nearest(self, row: Row, similarity: float) -> _Known | None:
        memory, vector = row.memory, _vector(row)
        place = (memory.namespace, memory.level)
        words = fingerprint(memory.text)
        if words and (*place, words) in self._words:
            return self._words[*place, words], 1.0, True
        ids, vectors = self._vectors.get(place, ([], []))
        if vector is None or not ids:
            return None
        cosines = np.array(vectors) @ vector
        best = int(cosines.argmax())
        if cosines[best] < similarity or ids[best] == memory.id:
            return None
        return ids[best], float(np.clip(cosines[best], -1, 1)), False

    def add(self, row: Row) -> None:
        memory, vector = row.memory, _vector(row)
        place = (memory.namespace, memory.level)
        words = fingerprint(memory.text)
        if words:
            self._words.setdefault((*place, words), memory.id)
        if vector is not None:
            ids, vectors = self._vectors.setdefault(place, ([], []))
            ids.append(memory.id)
            vectors.append(vector)


def _stored(row: Row, search: Search, same: Same, similarity: float) -> _Known | None:
    memory, words = row.memory, fingerprint(row.memory.text)
    texts = [vector for passage, vector in zip(memory.passages, row.vectors, strict=True) if passage.modality == TEXT]
    near: list[Hit] = []
    if texts:
        near = search(Query(vector=texts[0], namespace=memory.namespace, mode="vector", k=_LOOKED_AT))
        near = [hit for hit in near if _comparable(hit.memory, memory)]
    told = [hit.memory for hit in near] or (same(memory) if memory.text else ())
    for other in told:
        if words and _comparable(other, memory) and fingerprint(other.text) == words:
            return other.id, 1.0, True
    if _vector(row) is None or not near:
        return None
    best = next((hit for hit in near if len(hit.memory.passages) == 1), None)
    if best is None or (best.similarity or 0.0) < similarity:
        return None
    return best.memory.id, best.similarity or 0.0, False


def _comparable(other: Memory, memory: Memory) -> bool:
    return (other.namespace, other.level) == (memory.namespace, memory.level) and other.id != memory.id


def _vector(row: Row) -> npt.NDArray[np.float32] | None:
    """The vector of a text that is one passage."""
    return row.vectors[0] if len(row.vectors) == 1 and row.memory.passages[0].modality == TEXT else None
