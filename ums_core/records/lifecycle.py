"""What happens to memories over time: what fades, what was merged, what was put away."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ums_core.records.memory import Namespace
from ums_core.records.receipt import Receipt

__all__ = ["Action", "Change", "Cluster", "Consolidation", "Fading", "Forgetting"]

# What becomes of a memory. Those of the second line put it into the archive, and bring it back.
Action = Literal[
    "added", "replaced", "updated", "deleted",
    "consolidated", "forgotten", "superseded", "restored",
    "expired", "purged", "erased",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What somebody did to a memory.

    ``before`` and ``after`` are keyed hashes of what it said, 32 hexadecimal digits; what it says is in none of them.
    Of one memory, the same content has the same hash where it was put into the archive or brought back; where it was
    written anew it has another one. What use changes (``accesses``, ``last_accessed_at``, ``final``, the end of a time
    to live) and vectors are no part of it.

    Attributes:
        seq: number of the change of the store that it was a part of.
        at: when.
        actor: who, see :func:`ums_core.acting_as`.
        action: what.
        id: of the memory.
        namespace: likewise.
        before: hash of what it said; None where there was no such memory, or that was not recorded or is pruned.
        after: hash of what it says since; None where it is gone, or that is pruned.
        batch: what it was done with, to be given to ``undo``, or was undone with; None where there is none.
    """

    seq: int
    at: datetime
    actor: str
    action: Action
    id: str
    namespace: Namespace
    before: str | None = None
    after: str | None = None
    batch: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fading:
    """One memory that a plan of forgetting names.

    Attributes:
        retention: how firmly it is kept, in [0, 1]; see ``ums_core.ranking.decay.retention``.
        reason: in words.
    """

    id: str
    namespace: Namespace
    retention: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgetting:
    """What was forgotten, or would be.

    Attributes:
        batch: give it to ``undo``; None where nothing was forgotten softly.
        forgotten: the lowest retention first.
        kept: how many memories under the namespace that meet the filter are left.
        removed: how many are gone; 0 of a plan.
        dry_run: whether this is only a plan.
        until: the end of the time in which ``undo`` brings them back; None where it does not.
        receipts: of what was erased, one a namespace.
    """

    batch: str | None
    forgotten: tuple[Fading, ...]
    kept: int
    removed: int
    dry_run: bool
    until: datetime | None = None
    receipts: tuple[Receipt, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Memories of one level and namespace that are alike.

    Attributes:
        ids: of the sources.
        similarity: the least cosine of a source with the centre, in [-1, 1].
        summary_id: of the memory that took their place; None where they were left as they are.
        text: of the summary; None where there is none.
        problem: why they were left as they are; None where nothing is wrong.
    """

    namespace: Namespace
    level: int
    ids: tuple[str, ...]
    similarity: float
    summary_id: str | None = None
    text: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Consolidation:
    """What was summarised, or would be.

    Attributes:
        batch: give it to ``undo``; None where nothing was merged.
        clusters: of two memories and more.
        merged: how many memories are in the archive under a summary now.
        finals: how many are alone at their level and will not be looked at again.
        failed: how many clusters were left as they are.
        dry_run: whether this is only a plan.
        complete: False where it was stopped before its end; the next one goes on with what is left.
    """

    batch: str | None
    clusters: tuple[Cluster, ...]
    merged: int
    finals: int
    failed: int
    dry_run: bool
    complete: bool = True
