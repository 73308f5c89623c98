"""What a run of maintenance is to do, and what it did."""

from dataclasses import dataclass
from typing import Literal

from ums_core.records.lifecycle import Consolidation, Forgetting

__all__ = ["STEPS", "Maintenance", "Step"]

Step = Literal["sweep", "consolidate", "forget", "purge", "prune", "lapse"]
STEPS: tuple[Step, ...] = ("sweep", "consolidate", "forget", "purge", "prune", "lapse")


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """What a run of maintenance did, or would do.

    Attributes:
        steps: those that were done to their end, in their order.
        expired: how many memories were swept that had expired.
        consolidation: what became of memories that are alike; None where that was no step.
        forgetting: what was forgotten, one a namespace that anything was forgotten of.
        purged: how many can no longer be brought back.
        pruned: how many changes the history no longer tells of.
        lapsed: how many answers to idempotency keys were let go.
        complete: False where it was stopped before its end; the next run goes on.
        dry_run: whether this is only a plan.
    """

    steps: tuple[Step, ...] = ()
    expired: int = 0
    consolidation: Consolidation | None = None
    forgetting: tuple[Forgetting, ...] = ()
    purged: int = 0
    pruned: int = 0
    lapsed: int = 0
    complete: bool = True
    dry_run: bool = False
