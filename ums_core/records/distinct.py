"""What is stored already: duplicates of drafts, and what became of a batch that was checked for them."""

from dataclasses import dataclass
from typing import Literal

from ums_core.records.memory import Memory

__all__ = ["DUPLICATES", "Distinct", "Duplicate", "Duplicates"]

Duplicates = Literal["report", "merge", "keep"]
DUPLICATES: tuple[Duplicates, ...] = ("report", "merge", "keep")


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """One draft that says what a memory of its namespace says already.

    Attributes:
        draft: place of the draft in the batch.
        id: of that memory, which may be one of the same batch, before it.
        similarity: cosine of the two, in [-1, 1]; 1 where the words are the same.
        exact: whether the words are the same, whatever their case and spacing.
    """

    draft: int
    id: str
    similarity: float
    exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Distinct:
    """What became of a batch of drafts.

    Attributes:
        memories: for each draft what stands for it now: itself, or the memory that said the same before.
        duplicates: the drafts that are duplicates, in their order, each with the nearest memory.
        stored: how many were stored anew.
    """

    memories: tuple[Memory, ...]
    duplicates: tuple[Duplicate, ...]
    stored: int
