"""The archive as a search sees it: what is looked for in it, and what is found."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from ums_core.records import Filter, Memory, Namespace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from ums_core.ranking.lexical import Matches

__all__ = ["Bygone", "Near", "Wanted"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which archived memories a search may find.

    Attributes:
        namespace: a prefix.
        condition: what they meet.
        as_of: those that were alive and true at this moment; None is all.
    """

    namespace: Namespace
    condition: Filter | None
    as_of: datetime | None


@dataclass(frozen=True, slots=True)
class Near:
    """How near a row is.

    Attributes:
        cosine: of its best passage, in [-1, 1].
        passage: which one that is.
    """

    cosine: float
    passage: int


class Bygone(Protocol):
    """Reads the archive; every read costs a pass over what is wanted."""

    def near(self, wanted: Wanted, vector: "npt.NDArray[np.float32]", modality: str) -> "Mapping[int, Near]":
        """How near each row with a vector of the modality is."""
        ...

    def matching(self, wanted: Wanted, text: str) -> "Matches":
        """The rows that hold a word of a text, with their BM25 among what is wanted."""
        ...

    def recalled(self, rids: "Sequence[int]") -> "Mapping[int, Memory]":
        """The memories of those rows that are still in the archive."""
        ...
