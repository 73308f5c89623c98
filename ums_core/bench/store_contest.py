"""What each contestant offers, this store as one of them, and the check that every measured answer must pass."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from ums_core import Draft, Hit, LocalStore, Memory, Query, UnifiedSettings, open_store
from ums_core.bench.store_data import Corpus, Scope
from ums_core.settings.database import url_of

__all__ = ["Contestant", "Found", "K", "Ours", "accuracy", "check_found", "settings_for"]

K = 10
_TOLERANCE = 1e-3
_TIE = 1e-6

# A text and its cosine.
Found = tuple[str, float]


class Contestant(Protocol):
    """A store on disk that a benchmark fills, asks and closes."""

    def ingest(self, batches: Sequence[Sequence[Draft]]) -> None:
        """Store all, durably after each batch; nothing is left to do in the background when this returns."""
        ...

    def add(self, draft: Draft) -> object:
        """Store one, durably."""
        ...

    def search(self, vector: npt.NDArray[np.float32], scope: Scope) -> object:
        """The 10 nearest memories with their texts, in the form that is native here."""
        ...

    def found(self, answer: object) -> list[Found]:
        """What ``search`` gave, best first."""
        ...

    def count(self) -> int:
        """How many are stored."""
        ...

    def close(self) -> None:
        """Let go of the files."""
        ...


class Ours:
    """This store with its defaults, a caller's vectors, and ids that it makes up.

    Args:
        directory: exists; holds a database afterwards, or already.
        dim: components of a vector.
        settle: whether an ingestion ends when nothing is left to do, or with a first answer.
    """

    def __init__(self, directory: Path, dim: int, *, settle: bool = True) -> None:
        self.directory = directory
        self._settle = settle
        self.store: LocalStore = open_store(settings_for(directory, dim))

    def ingest(self, batches: Sequence[Sequence[Draft]]) -> None:
        """One ``add`` a batch, and ``settle`` or a search."""
        for batch in batches:
            self.store.add(batch)
        if self._settle:
            self.store.settle()
        else:
            assert self.store.search(Query(vector=batches[0][0].embedding, k=1)), "nothing was found"

    def add(self, draft: Draft) -> list[Memory]:
        """One ``add``."""
        return self.store.add([draft])

    def search(self, vector: npt.NDArray[np.float32], scope: Scope) -> list[Hit]:
        """The hits of a vector search."""
        return self.store.search(Query(vector=vector, k=K, namespace=scope.namespace, filter=scope.filter))

    def found(self, answer: object) -> list[Found]:
        """Texts and similarities of the hits."""
        assert isinstance(answer, list), "search() gives a list"
        return [(hit.memory.text, hit.similarity) for hit in answer]

    def count(self) -> int:
        """How many memories are stored."""
        return self.store.count()

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the store."""
        self.close()


def settings_for(directory: Path, dim: int) -> UnifiedSettings:
    """The default settings for a caller's vectors; neither the environment nor ``.env`` is read."""
    return UnifiedSettings.for_testing(
        database={"url": url_of(directory / "memory.db"), "backend": "faiss"},
        model={"embedder": "none", "vector_dim": dim},
    )


def check_found(found: Sequence[Found], vector: npt.NDArray[np.float32], scope: Scope, corpus: Corpus) -> list[int]:
    """The rows found, once it is sure that each is a stored one, in the scope, named once, and scored right.

    Raises:
        AssertionError: the answer is wrong; its time must not be reported.
    """
    unknown = [text for text, _ in found if text not in corpus.row_of]
    assert not unknown, f"{scope.name}: found {unknown[:1]}, which was never stored"
    rows = [corpus.row_of[text] for text, _ in found]
    assert len(set(rows)) == len(rows), f"{scope.name}: a row was found twice"
    assert all(corpus.allows(scope, row) for row in rows), f"{scope.name}: a row outside was found"
    cosines = np.array([cosine for _, cosine in found])
    error = float(np.abs(cosines - corpus.vectors[rows] @ vector).max(initial=0.0))
    assert error < _TOLERANCE, f"{scope.name}: a cosine is wrong by {error:g}"
    assert (np.diff(cosines) <= _TOLERANCE).all(), f"{scope.name}: the best is not first"
    return rows


def accuracy(
    rows: Sequence[int], query: npt.NDArray[np.float32], truth: npt.NDArray[np.float32], corpus: Corpus
) -> float:
    """Recall@k against brute force: the share of rows as near as the k-th nearest, ties included.

    Rows that were added since the start may stand among them, and count as right.

    Args:
        rows: as found.
        query: shape (d,).
        truth: cosines of the k nearest of the first ``corpus.n`` rows, best first.
        corpus: whose rows they are.

    Source: Aumueller, Bernhardsson, Faithfull, ANN-Benchmarks, Information Systems 87, 2020.
    """
    old = [row for row in rows if row < corpus.n]
    if not old:
        return len(rows) / len(truth)
    near = corpus.vectors[old] @ query >= truth[len(old) - 1] - _TIE
    return (int(np.count_nonzero(near)) + len(rows) - len(old)) / len(truth)
