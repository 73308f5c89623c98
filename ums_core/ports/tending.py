"""The verbs of the protocol that keep a store small: what is alike is merged, what is known is not added again."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from ums_core.records import Draft, Memory, Namespace
from ums_core.records.distinct import Distinct, Duplicates
from ums_core.records.lifecycle import Consolidation
from ums_core.records.maintenance import Maintenance, Step

__all__ = ["Cancel", "Progress", "Strategy", "Tending"]

Strategy: TypeAlias = Callable[[Sequence[Memory]], str]
Progress: TypeAlias = Callable[[int, int], None]
Cancel: TypeAlias = Callable[[], bool]


class Tending(Protocol):
    """What every store does to stay small and sharp; a part of ``MemoryStore``."""

    def add_distinct(
        self, drafts: Sequence[Draft], *, duplicates: Duplicates = "report", similarity: float = 0.95
    ) -> Distinct:
        """Store the drafts that say what no memory of their namespace and level says yet.

        A duplicate has the same words, case and spacing aside, or a vector that is nearly the same; of a text in
        several passages only words are compared. Of two drafts in a batch, the first one counts as known. Looked for
        among the sixteen nearest under the namespace, and, in the transaction that writes, among all that was stored
        meanwhile: of two callers at one moment, whatever their process, one stores.

        Args:
            drafts: any number.
            duplicates: what becomes of a duplicate: ``report`` leaves it out; ``merge`` leaves it out as well,
                reinforces the memory that is known, adds its tags to those of that one, and keeps the greater
                importance; ``keep`` stores it all the same.
            similarity: the least cosine of a duplicate, in (0, 1].

        Raises:
            InvalidInput: as ``add``; nothing was written.
            IndexRecovering, EmbedderMismatch, StorageError: as ``add``.
        """
        ...

    def consolidate(  # noqa: PLR0913  # the options of a verb, all by name
        self,
        *,
        threshold: float = 0.8,
        level: int = 0,
        namespace: Namespace | None = None,
        strategy: Strategy | str | None = None,
        dry_run: bool = False,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> Consolidation:
        """Merge what is alike: from a level up, each cluster becomes a summary one level higher, until nothing merges.

        A summary can be found in the same transaction in which its sources go to the archive, from where ``expand``
        still gives them. What is alone at its level becomes ``final`` and is not looked at again. Pinned memories,
        those that expire, and those without a text vector stay as they are. A strategy that raises, is late, or gives
        no usable text leaves its cluster as it is, with a ``problem``.

        Cost: see ``ums_core.ranking.cluster``, and one summary a cluster. Other calls go on meanwhile.

        Args:
            threshold: cosine of a memory with the centre of its cluster, at least; in (0, 1].
            level: where to begin.
            namespace: a prefix; each namespace under it is consolidated by itself. None, as ``()``, is every namespace.
            strategy: ``head2tail``, ``concat`` or ``extractive``; a function of the memories in the order of time, or a
                language model of LangChain or LlamaIndex; None is ``AI_SUMMARY_STRATEGY``. A name alone crosses a
                network.
            dry_run: give the clusters of the one level, and change nothing; no strategy is asked.
            progress: told how many memories of a level are done, and of how many. Does not cross a network.
            cancel: asked between steps whether to stop; what is done stays. Does not cross a network.

        Raises:
            InvalidQuery: a number out of its range.
            SettingsError: no such strategy.
            IndexRecovering, StorageError: as ``add``; the steps before are done.
        """
        ...

    def maintain(
        self,
        *,
        steps: Sequence[Step] | None = None,
        dry_run: bool = False,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> Maintenance:
        """Do what is due, by ``AI_MAINTENANCE__…``: sweep what has expired, consolidate, forget, purge.

        One at a time for a database, whatever the process; killed or stopped, the next run goes on.

        Args:
            steps: of ``sweep``, ``consolidate``, ``forget`` and ``purge``; None is what the settings say.
            dry_run: only say what would be done; nothing is changed.
            progress: told how far consolidation is. Does not cross a network.
            cancel: asked between transactions whether to stop. Does not cross a network.

        Raises:
            MaintenanceRunning: another one is at it.
            InvalidField: no such step.
            IndexRecovering, StorageError: as ``add``; the steps before are done.
        """
        ...
