"""Storage as forgetting sees it: what there is to weigh, and where it goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ums_core.ports.ledger import Archiving
from ums_core.records import Filter, Namespace, Receipt

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Forgettable", "Standing"]


@dataclass(frozen=True, slots=True)
class Standing:
    """How memories stand at one moment, one row each, in the order in which they were first stored.

    Attributes:
        rids: row ids, shape (n,) int64.
        traits: importance, emotional intensity and valence, shape (n, 3) float64.
        used: when each was last used, in microseconds since 1970, shape (n,) int64.
        accesses: how many spaced uses there were, shape (n,) float64.
        pinned: shape (n,) bool.
    """

    rids: "npt.NDArray[np.int64]"
    traits: "npt.NDArray[np.float64]"
    used: "npt.NDArray[np.int64]"
    accesses: "npt.NDArray[np.float64]"
    pinned: "npt.NDArray[np.bool_]"


class Forgettable(Protocol):
    """Reads and moves what may be forgotten."""

    def standing(self, namespace: Namespace, condition: Filter | None) -> Standing:
        """All that live under a namespace prefix and meet a condition."""
        ...

    def named(self, rids: Sequence[int]) -> dict[int, tuple[Namespace, str]]:
        """Which memories those rows are, as far as they still exist."""
        ...

    def put_away(self, rids: Sequence[int], archiving: Archiving) -> list[int]:
        """Archive rows in one transaction, and return those that still existed."""
        ...

    def erasable(self, rids: Sequence[int]) -> list[tuple[Namespace, dict[str, list[str]]]]:
        """What those rows stand for, by namespace: the ids that go with each id, itself among them.

        Left out are memories that something was made from which is not to go: it would be erased with them.
        """
        ...

    def erase(self, ids: Sequence[str], namespace: Namespace) -> Receipt:
        """Delete for good; see ``LocalStore.erase``."""
        ...
