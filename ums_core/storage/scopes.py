"""Which namespaces are under a prefix, by their ids."""

from collections.abc import Callable

from ums_core.ports.ledger import Head
from ums_core.records import Namespace
from ums_core.storage.connect import Reader
from ums_core.storage.table import prefix_range

__all__ = ["MAX_SCOPES", "KnownScopes"]

# More are not looked up one by one.
MAX_SCOPES = 64
_MAX_KNOWN = 1000


class KnownScopes:
    """Ids of namespaces by prefix, kept until the next change. Thread-safe."""

    def __init__(self) -> None:
        # Replaced as a whole, so that a reader needs no lock.
        self._known: tuple[int, dict[Namespace, list[int]]] = (0, {})

    def get(self, reader: Callable[[], Reader], namespace: Namespace, head: Head) -> list[int] | None:
        """At most one more than ``MAX_SCOPES``; None for the root, that is, for all.

        Args:
            reader: lends a connection; asked only for what is not known.
            namespace: the prefix.
            head: the last change.
        """
        if not namespace:
            return None
        seq, known = self._known
        if seq != head.seq or len(known) > _MAX_KNOWN:
            known = {}
            self._known = (head.seq, known)
        scopes = known.get(namespace)
        if scopes is None:
            with reader() as connection:
                found = connection.execute(
                    "SELECT nid FROM namespaces WHERE path >= ? AND path < ? LIMIT ?",
                    (*prefix_range(namespace), MAX_SCOPES + 1),
                ).fetchall()
            known[namespace] = scopes = [row[0] for row in found]
        return scopes
