"""What changed: one committed change, as somebody who follows the store hears of it."""

from dataclasses import dataclass
from datetime import datetime

from ums_core.records.memory import Namespace

__all__ = ["Event", "Identity"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which memory."""

    namespace: Namespace
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One committed change; ask the store for the memories themselves.

    Attributes:
        seq: its number, ascending; follow from it.
        at: when it was committed.
        stored: what it added or changed, as far as that is still as it left it.
        removed: how many memories it deleted or replaced; which they were is not kept.
    """

    seq: int
    at: datetime
    stored: tuple[Identity, ...]
    removed: int
