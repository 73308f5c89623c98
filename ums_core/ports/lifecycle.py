"""The verbs of the protocol that are about time: what fades, what is summarised, what is corrected."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from ums_core.records import Draft, Filter, Memory, Namespace
from ums_core.records.lifecycle import Change, Forgetting

__all__ = ["Lifecycle"]


class Lifecycle(Protocol):
    """What every store does with memories as they grow old; a part of ``MemoryStore``."""

    def expand(self, id: str, *, namespace: Namespace = ()) -> list[Memory]:  # noqa: A002  # as in every record
        """What a summary was made from, in the order of its ``source_ids``, archived or alive.

        Sources that were deleted, or have expired, are not among them. A memory without sources has none.

        Args:
            id: of the summary, alive or archived.
            namespace: the whole namespace, not a prefix.

        Raises:
            MemoryNotFound: there is no such memory.
        """
        ...

    def history(self, id: str, *, namespace: Namespace = ()) -> list[Change]:  # noqa: A002  # as in every record
        """Who did what to a memory, the first change first, by keyed hashes of what it said before and after.

        Of a memory that is gone, too. It begins with the version of the database that has one, or where it was pruned.
        A use is no change: ``reinforce``, and reading, leave nothing here. See :class:`~ums_core.records.Change`.

        Args:
            id: of a memory, alive, archived, or gone.
            namespace: the whole namespace, not a prefix.

        Raises:
            MemoryNotFound: there is no such memory, and nothing is known of one.
        """
        ...

    def reinforce(self, ids: Sequence[str], *, namespace: Namespace = ()) -> int:
        """Note that memories of one exact namespace were used, and return how many of them there are.

        Age counts from the last use. A use that comes ``AI_DYNAMICS__SPACING_HOURS`` after the one before, or is the
        first one, also slows the fading from then on. Neither the index nor ``updated_at`` changes.
        """
        ...

    def forget(  # noqa: PLR0913  # the verb that users know
        self,
        *,
        min_total: int = 0,
        retain_fraction: float = 0.9,
        namespace: Namespace | None = None,
        where: Filter | Mapping[str, object] | None = None,
        erase: bool = False,
        dry_run: bool = False,
    ) -> Forgetting:
        """Forget the memories that are kept least firmly, or say which they would be.

        By retention (see ``ums_core.ranking.decay``), then by last use, then by age. Pinned ones are never forgotten,
        nor is anything outside the namespace. What is archived under a summary goes with it.

        Args:
            min_total: so many of those that are looked at stay at least.
            retain_fraction: such a share of them stays at least, in [0, 1].
            namespace: a prefix, all that is looked at; None, as ``()``, is every namespace.
            where: likewise, a condition; what does not meet it is neither counted nor forgotten.
            erase: delete at once and for good, with receipts, what nothing else was made from. Otherwise it stays in
                the archive for ``AI_LIFETIME__UNDO_DAYS``, and ``undo`` brings it back.
            dry_run: only say what would be forgotten, with retention and reason.

        Raises:
            InvalidInput: a number out of range.
        """
        ...

    def supersede(
        self, old_id: str, draft: Draft, *, namespace: Namespace = (), idempotency_key: str | None = None
    ) -> Memory:
        """Store a memory that is true in place of another one, archive that, and return the new one.

        The old one is true until the new one's ``valid_from``, from now on where the draft does not say. A search
        finds it only with ``include_archived``, or ``as_of`` a moment before. ``undo`` of the ``batch`` that it
        has there takes the new one back.

        Args:
            old_id: of a memory that lives.
            draft: what is true; its namespace is that of the old one, its id an own one or none.
            namespace: the whole namespace, not a prefix.
            idempotency_key: as ``add`` takes it; the new memory is told as it was stored.

        Raises:
            MemoryNotFound: there is no such memory, or it is in the archive; nothing was written.
            InvalidInput: another namespace, or an id that a memory has; nothing was written.
            IdempotencyConflict: the key stands for another write.
        """
        ...

    def undo(self, batch: str) -> int:
        """Bring back what a batch put into the archive, and return how many memories live again.

        What came in their place goes: the summaries, with those made of them, or the successor. Of a batch that is
        unknown, or can no longer be undone, nothing comes back. Killed at any point, the next call goes on.
        """
        ...
