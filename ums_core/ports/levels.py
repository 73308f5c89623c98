"""Storage as consolidation sees it: memories of one level of one namespace, and summaries in their place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ums_core.records import Memory, Namespace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ums_core.ports.ledger import Row

__all__ = ["Levels", "Merge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """A summary to be stored in place of its sources.

    Attributes:
        rids: row ids of the sources.
        summary: what takes their place.
    """

    rids: Sequence[int]
    summary: "Row"


class Levels(Protocol):
    """What consolidation reads and writes."""

    def namespaces(self, prefix: Namespace) -> list[Namespace]:
        """The namespaces under a prefix that hold anything."""
        ...

    def lowest(self, namespace: Namespace, level: int) -> int | None:
        """The lowest level, from a given one up, of a memory that is still open in one exact namespace.

        None where there is none.

        Open is what is alive, not final, not pinned, and stays until it is told to go.
        """
        ...

    def vectors_at(self, namespace: Namespace, level: int) -> "tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]":
        """The open memories of a level with a text vector: row ids, shape (n,), ascending, and unit rows (n, d).

        Of a memory in several passages, it is the mean of their vectors.
        """
        ...

    def rows(self, rids: Sequence[int]) -> Mapping[int, Memory]:
        """The memories of those rows that still exist."""
        ...

    def merge(self, merges: Sequence[Merge], batch: str) -> list[str | None]:
        """Store summaries and archive their sources, in one transaction.

        Returns:
            For each, None; or why it was left as it was, in words: a source has changed or gone meanwhile.
        """
        ...

    def finish(self, rids: Sequence[int]) -> None:
        """Mark memories as final, those that still exist."""
        ...
