"""Forgetting: weigh what there is, and let the least of it go."""

import math
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from ums_core.errors import InvalidInput
from ums_core.ports.forgetting import Forgettable, Standing
from ums_core.ports.ledger import Archiving
from ums_core.ports.tending import Cancel, Progress
from ums_core.ranking.decay import retention
from ums_core.records import Filter, Namespace, Receipt
from ums_core.records.dynamics import Dynamics
from ums_core.records.lifecycle import Fading, Forgetting
from ums_core.records.match import micros

__all__ = ["Forget", "Sparing"]

# So many go in one transaction, so that writers wait some milliseconds and no longer.
BATCH = 256
_DAY = 86_400e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparing:
    """What is not forgotten, and how what is.

    Attributes:
        namespace: a prefix; nothing outside it is looked at.
        condition: likewise, what does not meet it.
        min_total: so many stay at least, of those looked at.
        retain_fraction: such a share of them stays at least, in [0, 1].
        erase: whether they go at once and for good.

    Raises:
        InvalidInput: a number out of range.
    """

    namespace: Namespace = ()
    condition: Filter | None = None
    min_total: int = 0
    retain_fraction: float = 0.9
    erase: bool = False

    def __post_init__(self) -> None:
        """Check the numbers once."""
        if isinstance(self.min_total, bool) or not isinstance(self.min_total, int) or self.min_total < 0:
            raise InvalidInput(f"min_total must be an integer of at least 0, got {self.min_total!r}")
        share = self.retain_fraction
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise InvalidInput(f"retain_fraction must lie between 0, nothing, and 1, everything, got {share!r}")
        if not isinstance(self.erase, bool):
            raise InvalidInput(f"erase must be True or False, got {self.erase!r}")

    def leave(self, total: int) -> int:
        """How many of so many are to go."""
        # Shares such as 0.7 * 10 are a little off.
        return max(0, total - max(self.min_total, math.ceil(self.retain_fraction * total - 1e-9)))


class Forget:
    """Forgets the least of what there is.

    Args:
        store: where memories are.
        dynamics: how they fade.
        undo_days: how long what was forgotten may come back.
        clock: the current time in UTC.
    """

    def __init__(self, store: Forgettable, dynamics: Dynamics, undo_days: float, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._dynamics = dynamics
        self._undo_days = undo_days
        self._clock = clock

    def plan(self, sparing: Sparing) -> Forgetting:
        """What ``run`` would forget now, the lowest retention first."""
        return self._planned(sparing)[0]

    def run(
        self,
        sparing: Sparing,
        *,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> Forgetting:
        """Forget, and say what; a few hundred in one transaction, so others write meanwhile.

        Killed or cancelled at any point, what is gone so far can be undone, and the next call goes on. Whatever is
        changed or used between the plan and its turn, by a new version, stays.

        Args:
            sparing: what stays.
            progress: told how many are gone, and of how many.
            cancel: asked before each transaction whether to stop.
        """
        plan, rids = self._planned(sparing)
        if sparing.erase:
            return self._erased(plan, rids, progress, cancel)
        until = self._clock() + timedelta(days=self._undo_days)
        archiving = Archiving(why="forgotten", batch=uuid.uuid4().hex, until=until)
        gone: set[int] = set()
        for start in range(0, len(rids), BATCH):
            part = rids[start : start + BATCH]
            if cancel is not None and cancel():
                break
            gone.update(self._store.put_away(part, archiving))
            _tell(progress, len(gone), len(rids))
        forgotten = tuple(fading for rid, fading in zip(rids, plan.forgotten, strict=True) if rid in gone)
        return Forgetting(
            batch=archiving.batch if gone else None,
            forgotten=forgotten,
            kept=plan.kept + len(rids) - len(gone),
            removed=len(gone),
            dry_run=False,
            until=until if gone else None,
        )

    def _erased(
        self,
        plan: Forgetting,
        rids: Sequence[int],
        progress: Progress | None,
        cancel: Cancel | None,
    ) -> Forgetting:
        receipts: list[Receipt] = []
        gone: set[tuple[Namespace, str]] = set()
        for namespace, parts in _in_parts(self._store.erasable(rids)):
            if cancel is not None and cancel():
                break
            receipt = self._store.erase([id_ for part in parts.values() for id_ in part], namespace)
            receipts.append(receipt)
            gone.update((namespace, id_) for id_ in receipt.ids if id_ in parts)
            _tell(progress, len(gone), len(rids))
        forgotten = tuple(fading for fading in plan.forgotten if (fading.namespace, fading.id) in gone)
        return Forgetting(
            batch=None,
            forgotten=forgotten,
            kept=plan.kept + len(rids) - len(gone),
            removed=len(gone),
            dry_run=False,
            receipts=tuple(receipts),
        )

    def _planned(self, sparing: Sparing) -> tuple[Forgetting, list[int]]:
        now = self._clock()
        standing = self._store.standing(sparing.namespace, sparing.condition)
        total = len(standing.rids)
        ages = (micros(now) - standing.used) / _DAY
        kept = retention(standing.traits, ages, standing.accesses, self._dynamics)
        order = lowest(standing, kept, sparing.leave(total))
        if sparing.erase:
            spared = self._spared(standing.rids[order])
            order = order[~np.isin(standing.rids[order], list(spared))]
        rids = standing.rids[order].tolist()
        names = self._store.named(rids)
        forgotten = tuple(
            Fading(
                id=names[rid][1],
                namespace=names[rid][0],
                retention=float(kept[place]),
                reason=f"number {rank} of {total} from below, not used for {max(0.0, ages[place]):.1f} days",
            )
            for rank, (rid, place) in enumerate(zip(rids, order.tolist(), strict=True), 1)
            if rid in names
        )
        rids = [rid for rid in rids if rid in names]
        plan = Forgetting(batch=None, forgotten=forgotten, kept=total - len(rids), removed=0, dry_run=True)
        return plan, rids

    def _spared(self, rids: npt.NDArray[np.int64]) -> set[int]:
        """The rows that cannot be erased without what was made from them."""
        planned = rids.tolist()
        going = {(namespace, id_) for namespace, parts in self._store.erasable(planned) for id_ in parts}
        return {rid for rid, name in self._store.named(planned).items() if name not in going}


def lowest(standing: Standing, kept: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.intp]:
    """Places of the lowest that are not pinned: by retention, then by last use, then by age; shape (count,) or less."""
    order = np.lexsort((np.arange(len(kept)), standing.used, kept))
    return order[~standing.pinned[order]][:count]


def _in_parts(
    going: Sequence[tuple[Namespace, dict[str, list[str]]]],
) -> Iterator[tuple[Namespace, dict[str, list[str]]]]:
    for namespace, parts in going:
        ids = list(parts)
        for start in range(0, len(ids), BATCH):
            yield namespace, {id_: parts[id_] for id_ in ids[start : start + BATCH]}


def _tell(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)
