"""The chores of maintenance, as a local store does them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np

from ums_core.channels.habits import Habits
from ums_core.pipeline.forget import Forget, Sparing
from ums_core.ports.forgetting import Standing
from ums_core.ports.tending import Cancel, Progress
from ums_core.records import Filter, Namespace
from ums_core.records.lifecycle import Consolidation, Forgetting
from ums_core.records.maintenance import Step
from ums_core.records.match import micros
from ums_core.storage.archive import Archive
from ums_core.storage.database import Database
from ums_core.storage.history import prunable
from ums_core.storage.idempotency import lapse, lapsing

__all__ = ["StoreChores"]


class _Tended(Protocol):
    """The verbs of a store that are chores as they are."""

    def sweep(self, limit: int) -> int: ...

    def purge(self, limit: int) -> int: ...

    def prune_history(self, before: datetime, limit: int) -> int: ...

    def consolidate(
        self, *, threshold: float, dry_run: bool, progress: Progress | None, cancel: Cancel | None
    ) -> Consolidation: ...


@dataclass(frozen=True, slots=True)
class StoreChores:
    """The :class:`~ums_core.pipeline.maintain.Chores` of one store, by its own verbs and habits."""

    store: _Tended
    archive: Archive
    database: Database
    habits: Habits
    progress: Progress | None

    def sweep(self, limit: int) -> int:
        """Delete so many that have expired, and return how many there were."""
        return self.store.sweep(limit)

    def purge(self, limit: int) -> int:
        """Delete so many of those that can no longer be brought back, and return how many there were."""
        return self.store.purge(limit)

    def prune(self, limit: int) -> int:
        """Let the history forget so many of the changes that it need not tell of, and return how many there were."""
        before = self._ago(self.habits.history_days)
        return 0 if before is None else self.store.prune_history(before, limit)

    def lapse(self, limit: int) -> int:
        """Let so many answers to idempotency keys go that are old enough, and return how many there were."""
        before = self._ago(self.habits.idempotency_days)
        if before is None:
            return 0
        return self.database.write(lambda tx: lapse(tx.connection, micros(before), limit))

    def due(self, step: Step) -> int:
        """How many a sweep or a purge would delete now, or pruning forget, or how many answers would lapse."""
        if step in {"sweep", "purge"}:
            return self.archive.due(expired=step == "sweep")
        days, count = {
            "prune": (self.habits.history_days, prunable),
            "lapse": (self.habits.idempotency_days, lapsing),
        }[step]
        before = self._ago(days)
        if before is None:
            return 0
        with self.database.reader() as connection:
            return count(connection, micros(before))

    def consolidate(self, *, dry_run: bool, cancel: Cancel) -> Consolidation:
        """Merge what is alike."""
        threshold = self.habits.maintenance.threshold
        return self.store.consolidate(threshold=threshold, dry_run=dry_run, progress=self.progress, cancel=cancel)

    def _ago(self, days: float) -> datetime | None:
        return self.database.clock() - timedelta(days=days) if days else None

    def namespaces(self) -> list[Namespace]:
        """Where there is anything."""
        return self.database.namespaces((), None)

    def forget(self, namespace: Namespace, *, dry_run: bool, cancel: Cancel) -> Forgetting:
        """Forget what has faded most in one exact namespace."""
        habits = self.habits.maintenance
        sparing = Sparing(namespace=namespace, min_total=habits.min_total, retain_fraction=habits.retain_fraction)
        own = _Own(self.database, namespace)
        forget = Forget(own, self.habits.dynamics, self.habits.undo_days, self.database.clock)
        return forget.plan(sparing) if dry_run else forget.run(sparing, cancel=cancel)


class _Own(Archive):
    """The archive, but for what there is to weigh: one exact namespace, without those below it."""

    def __init__(self, database: Database, namespace: Namespace) -> None:
        super().__init__(database)
        self._namespace = namespace

    def standing(self, namespace: Namespace, condition: Filter | None) -> Standing:
        """All that live in the namespace itself."""
        found = super().standing(namespace, condition)
        names = self.named(found.rids.tolist())
        own = np.array([names.get(rid, ((), ""))[0] == self._namespace for rid in found.rids.tolist()], np.bool_)
        return Standing(found.rids[own], found.traits[own], found.used[own], found.accesses[own], found.pinned[own])
