"""The verbs of a local store that are about time; ``LocalStore`` inherits them, as one of the protocol's templates."""

from ums_core.records import Memory, Namespace
from ums_core.records.check import check_label, check_namespace
from ums_core.storage.archive import Archive

__all__ = ["LocalLifecycle"]


class LocalLifecycle:
    """What a store on this device does with memories as they grow old."""

    _archive: Archive

    def expand(self, id: str, *, namespace: Namespace = ()) -> list[Memory]:  # noqa: A002  # as in every record
        """What a summary was made from, in the order of its ``source_ids``, archived or alive; see the protocol."""
        return self._archive.expand(check_label(id, "id"), check_namespace(namespace))
