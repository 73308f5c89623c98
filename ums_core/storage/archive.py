"""What is asked of the archive of one database."""

from collections.abc import Sequence

from ums_core.errors import MemoryNotFound
from ums_core.records import Memory, Namespace
from ums_core.storage import shelf
from ums_core.storage.connect import Connection
from ums_core.storage.database import Database
from ums_core.storage.reading import find_nid, read_memories
from ums_core.storage.table import encode_namespace

__all__ = ["Archive"]


class Archive:
    """Reads the archive of one database.

    Args:
        database: gives readers, and the time.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def expand(self, id_: str, namespace: Namespace) -> list[Memory]:
        """What a memory was made from, in the order of its ``source_ids``, archived or alive, as far as it is there.

        Raises:
            MemoryNotFound: there is no such memory, not in the archive either.
        """
        now = self._database.clock()
        with self._database.snapshot(), self._database.reader() as connection:
            nid = find_nid(connection, encode_namespace(namespace))
            place = namespace, -1 if nid is None else nid
            (memory,) = _either(connection, place, [id_])
            if memory is None:
                raise MemoryNotFound(f"no memory {id_!r} in namespace {namespace!r}, so it has no sources")
            sources = _either(connection, place, memory.source_ids)
        return [m for m in sources if m is not None and (m.expires_at is None or m.expires_at > now)]


def _either(connection: Connection, place: tuple[Namespace, int], ids: Sequence[str]) -> list[Memory | None]:
    living = read_memories(connection, ids, place, vectors=False)
    away = {memory.id: memory for memory in shelf.memories(connection, place, ids)}
    return [memory or away.get(id_) for id_, memory in zip(ids, living, strict=True)]
