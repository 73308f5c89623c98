"""What happens to memories over time: what fades, what was merged, what was put away."""

from dataclasses import dataclass
from datetime import datetime

from ums_core.records.memory import Namespace
from ums_core.records.receipt import Receipt

__all__ = ["Cluster", "Consolidation", "Fading", "Forgetting"]


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
