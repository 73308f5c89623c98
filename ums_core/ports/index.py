"""Vectors only, derived from storage and disposable."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

__all__ = ["Change", "RowSet", "VectorIndex"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one committed change means for an index.

    Attributes:
        seq: the store's change number, ascending from one change to the next.
        mark: of this very change; another database, or a copy that went its own way, has another one at the same seq.
        removed: row ids that are gone, shape (m,) int64; unknown ones are ignored.
        added: row ids of new vectors, shape (n,) int64, ascending, each greater than any added before; a row id
            stands once for each of its passages.
        vectors: shape (n, d) float32 unit rows.
    """

    seq: int
    mark: int = 0
    removed: "npt.NDArray[np.int64]"
    added: "npt.NDArray[np.int64]"
    vectors: "npt.NDArray[np.float32]"


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class RowSet:
    """The rows that a search may return. Immutable, and hashed by identity, so that an index may cache by it.

    Attributes:
        rids: distinct row ids, ascending, shape (m,) int64; some may be unknown to the index.
    """

    rids: "npt.NDArray[np.int64]" = field(repr=False)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rids)


class VectorIndex(Protocol):
    """Nearest neighbours by inner product of unit vectors. Thread-safe: any number of readers beside one writer."""

    @property
    def kind(self) -> str:
        """What answers at the moment, such as ``exact`` or ``hnsw``."""
        ...

    @property
    def dim(self) -> int:
        """Number of components of a vector."""
        ...

    @property
    def seq(self) -> int:
        """Number of the last change taken up; 0 for none."""
        ...

    @property
    def mark(self) -> int:
        """Mark of the last change taken up; 0 for none."""
        ...

    @property
    def recovering(self) -> bool:
        """Whether a structure is still due over the rows that came under ``recovery``; searches are exact meanwhile."""
        ...

    def __len__(self) -> int:
        """Return the number of live vectors."""
        ...

    def apply(self, change: Change) -> None:
        """Take up one change; visible to the next search when this returns."""
        ...

    def search(
        self, vector: "npt.NDArray[np.float32]", k: int, allowed: RowSet | None = None
    ) -> "tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]":
        """Row ids and cosines of the k nearest rows, best first; a row counts once, as its best passage.

        Args:
            vector: unit, shape (d,).
            k: at least 1; fewer come back only when no more are allowed and live.
            allowed: only these rows, exactly; None is all.
        """
        ...

    def scores(self, vector: "npt.NDArray[np.float32]", rids: "npt.NDArray[np.int64]") -> "npt.NDArray[np.float32]":
        """Cosine of each row's best passage, shape (m,); NaN where a row is unknown."""
        ...

    def rids(self) -> "npt.NDArray[np.int64]":
        """All live row ids, distinct and ascending: what a proof of integrity compares with storage."""
        ...

    def settle(self) -> None:
        """Return when no background work is left: what is due merged and rebuilt, and, if it has a path, all saved."""
        ...

    def save(self, path: "Path") -> None:
        """Write a checksummed snapshot that replaces the file at once or not at all."""
        ...

    def load(self, path: "Path") -> bool:
        """Take the place of a snapshot; False, and empty, where there is none that can be trusted."""
        ...

    def recovery(self) -> "AbstractContextManager[None]":
        """Stand around the changes that bring the whole content after ``load`` returned False.

        Background work waits until the block ends, so that one structure is built of all the rows. ``recovering`` is
        True until it answers, and stays False where the rows are too few for one.
        """
        ...

    def close(self) -> None:
        """Stop the background work, save what changed if it has a path, and free the memory.

        A second call does nothing; any other call after it raises ``StoreClosed``.
        """
        ...
