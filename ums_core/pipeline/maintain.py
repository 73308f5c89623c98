"""Maintenance: what is due, step by step, as long as nobody says stop."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from ums_core.ports.tending import Cancel
from ums_core.records import Namespace
from ums_core.records.lifecycle import Consolidation, Forgetting
from ums_core.records.maintenance import STEPS, Maintenance, Step

__all__ = ["Chores", "maintain"]

# Memories that are swept or purged in one transaction: what another writer waits for.
BATCH = 500


class Chores(Protocol):
    """What maintenance is made of."""

    def sweep(self, limit: int) -> int:
        """Delete so many that have expired, and return how many there were."""
        ...

    def purge(self, limit: int) -> int:
        """Delete so many of those that can no longer be brought back, and return how many there were."""
        ...

    def prune(self, limit: int) -> int:
        """Let the history forget so many changes that it need not tell of, and return how many there were."""
        ...

    def lapse(self, limit: int) -> int:
        """Let so many answers to idempotency keys go that are old enough, and return how many there were."""
        ...

    def due(self, step: Step) -> int:
        """How many a sweep or a purge would delete now, or pruning forget, or how many answers would lapse."""
        ...

    def consolidate(self, *, dry_run: bool, cancel: Cancel) -> Consolidation:
        """Merge what is alike."""
        ...

    def namespaces(self) -> list[Namespace]:
        """Where there is anything."""
        ...

    def forget(self, namespace: Namespace, *, dry_run: bool, cancel: Cancel) -> Forgetting:
        """Forget what has faded most in one exact namespace."""
        ...


def maintain(chores: Chores, steps: Sequence[Step], *, dry_run: bool, cancel: Cancel) -> Maintenance:
    """Do the steps, and say what was done.

    Each is made of transactions of bounded size, and each begins with what it finds: killed at any moment, or stopped,
    the next run goes on.

    Args:
        chores: how each step is done.
        steps: which.
        dry_run: only say what would be done; nothing is changed.
        cancel: asked between transactions whether to stop.
    """
    told = Maintenance(dry_run=dry_run)
    for step in (step for step in STEPS if step in steps):
        if cancel():
            return replace(told, complete=False)
        if step == "consolidate":
            merged = chores.consolidate(dry_run=dry_run, cancel=cancel)
            told = replace(told, consolidation=merged)
            if not merged.complete:
                return replace(told, complete=False)
        elif step == "forget":
            forgotten, finished = _forget(chores, dry_run=dry_run, cancel=cancel)
            told = replace(told, forgetting=forgotten)
            if not finished:
                return replace(told, complete=False)
        else:
            work, field = {
                "sweep": (chores.sweep, "expired"),
                "purge": (chores.purge, "purged"),
                "prune": (chores.prune, "pruned"),
                "lapse": (chores.lapse, "lapsed"),
            }[step]
            count, finished = (chores.due(step), True) if dry_run else _all(work, cancel)
            told = replace(told, **{field: count})  # type: ignore[arg-type]  # a number of the record
            if not finished:
                return replace(told, complete=False)
        told = replace(told, steps=(*told.steps, step))
    return told


def _forget(chores: Chores, *, dry_run: bool, cancel: Cancel) -> tuple[tuple[Forgetting, ...], bool]:
    """What was forgotten, namespace by namespace, so that none is forgotten for the sake of another."""
    done: list[Forgetting] = []
    for namespace in chores.namespaces():
        if cancel():
            return tuple(done), False
        forgotten = chores.forget(namespace, dry_run=dry_run, cancel=cancel)
        done += [forgotten] if forgotten.forgotten else []
    return tuple(done), True


def _all(work: Callable[[int], int], cancel: Cancel) -> tuple[int, bool]:
    """How many were deleted, and whether none is left."""
    total = 0
    while count := work(BATCH):
        total += count
        if count < BATCH:
            break
        if cancel():
            return total, False
    return total, True
