"""The verbs of the protocol that are about time: what fades, what is summarised, what is corrected."""

from typing import Protocol

from ums_core.records import Memory, Namespace

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
