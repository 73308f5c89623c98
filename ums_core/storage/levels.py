"""What consolidation reads and writes: memories of one level of one namespace, and summaries in their place."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ums_core.ports.levels import Merge
from ums_core.records import Memory, Namespace
from ums_core.records.memory import TEXT
from ums_core.storage.database import Database
from ums_core.storage.table import ORDINAL_BITS, encode_namespace
from ums_core.storage.vectors import unpack_all

__all__ = ["SqlLevels"]

# What stays until it is told to go. What expires goes by itself, and must leave no summary behind that outlives it.
_OPEN = "m.nid = (SELECT nid FROM namespaces WHERE path = ?) AND m.final = 0 AND m.pinned = 0 AND m.expires_at IS NULL"
_CHUNK = 4096


class SqlLevels:
    """The levels of a database; see ``ums_core.ports.levels``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def namespaces(self, prefix: Namespace) -> list[Namespace]:
        """The namespaces under a prefix that hold anything."""
        return self._database.namespaces(prefix, None)

    def lowest(self, namespace: Namespace, level: int) -> int | None:
        """The lowest level of an open memory, from a given one up; None where there is none."""
        asked = encode_namespace(namespace), level
        with self._database.reader() as connection:
            found = connection.execute(
                f"SELECT min(m.level) FROM memories m WHERE {_OPEN} AND m.level >= ?", asked
            ).fetchone()
        return None if found[0] is None else int(found[0])

    def vectors_at(self, namespace: Namespace, level: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Row ids and unit rows of the open memories of a level."""
        binding = self._database.binding(TEXT)
        dim = 1 if binding is None else binding.dim
        rids: list[int] = []
        blocks = [np.empty((0, dim), np.float32)]
        with self._database.reader() as connection:
            found = connection.execute(
                f"SELECT m.rid, p.vector FROM memories m JOIN passages p ON p.pid >= m.rid << {ORDINAL_BITS} "
                f"AND p.pid < (m.rid + 1) << {ORDINAL_BITS} WHERE {_OPEN} AND m.level = ? AND p.modality = ? "
                "ORDER BY p.pid",
                (encode_namespace(namespace), level, TEXT),
            )
            while part := found.fetchmany(_CHUNK):
                rids += [row[0] for row in part]
                blocks.append(unpack_all([row[1] for row in part]))
        vectors = np.concatenate(blocks)
        blocks.clear()
        each, starts = np.unique(np.array(rids, np.int64), return_index=True)
        if len(each) < len(rids):
            vectors = np.add.reduceat(vectors, starts, axis=0)
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        return each, vectors

    def rows(self, rids: Sequence[int]) -> Mapping[int, Memory]:
        """The memories of those rows that still exist."""
        return self._database.rows(rids)

    def merge(self, merges: Sequence[Merge], batch: str) -> list[str | None]:
        """Store summaries and archive their sources, in one transaction; why not, for each that was left as it was."""
        return self._database.write(lambda tx: [tx.merge(each.rids, each.summary, batch) for each in merges])

    def finish(self, rids: Sequence[int]) -> None:
        """Mark memories as final, those that still exist."""
        self._database.write(lambda tx: tx.mark_final(rids))
