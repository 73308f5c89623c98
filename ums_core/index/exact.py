"""Exact search: the product of all vectors with one. Needs nothing but numpy, and misses nothing."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ums_core.errors import StorageError, StoreClosed
from ums_core.index.rows import Floats, Growing, Ids, Ranking, Rows, check_query
from ums_core.index.snapshot import NOWHERE, Home, Section, Snapshot, read, section, write
from ums_core.ports.index import Change, RowSet

__all__ = ["ExactIndex", "rows_from", "sections_of"]

_log = logging.getLogger(__name__)


class ExactIndex:
    """All vectors in one float32 matrix: 0.05 to 0.1 us a vector and search at 384 components, and 1.5 KB in memory.

    Readers take no lock: a write puts a new immutable view in the place of the old one.

    Args:
        dim: number of components of a vector.
        home: where ``settle`` and ``close`` save what changed.
    """

    def __init__(self, dim: int, *, home: Home = NOWHERE) -> None:
        self._dim = dim
        self._expected = {"index": "exact", "dim": dim, "binding": dict(home.binding or {})}
        self._home, self._path = home, home.path
        self._lock = threading.Lock()
        self._growing = Growing.empty(dim)
        self._state: tuple[Rows, tuple[int, int]] | None = (self._growing.rows, (0, 0))
        self._saved: Rows | None = self._growing.rows

    @property
    def kind(self) -> str:
        """``exact``."""
        return "exact"

    @property
    def dim(self) -> int:
        """Number of components of a vector."""
        return self._dim

    @property
    def seq(self) -> int:
        """Number of the last change taken up; 0 for none."""
        return self._open()[1][0]

    @property
    def mark(self) -> int:
        """Mark of the last change taken up; 0 for none."""
        return self._open()[1][1]

    @property
    def recovering(self) -> bool:
        """False: there is no structure to rebuild."""
        return False

    def __len__(self) -> int:
        """Return the number of live vectors."""
        return self._open()[0].live

    def apply(self, change: Change) -> None:
        """Take up one change; visible to the next search when this returns.

        Raises:
            StoreClosed: after ``close``.
            DimensionMismatch: the vectors have another number of components.
            ValueError: the row ids do not ascend.
        """
        with self._lock:
            self._open()
            self._growing.apply(change)
            self._state = self._growing.rows, (change.seq, change.mark)

    def search(self, vector: Floats, k: int, allowed: RowSet | None = None) -> Ranking:
        """Row ids and cosines of the k nearest rows, best first; ties by ascending row id.

        Raises:
            StoreClosed: after ``close``.
            InvalidQuery: k < 1.
            DimensionMismatch: the vector has another number of components.
        """
        rows = self._open()[0]
        vector = check_query(vector, k, self._dim)
        return rows.nearest(vector, k, None if allowed is None else rows.positions(allowed))

    def scores(self, vector: Floats, rids: Ids) -> Floats:
        """Cosine of each row's best passage, shape (m,); NaN where a row is unknown."""
        return self._open()[0].cosines(check_query(vector, 1, self._dim), rids)

    def rids(self) -> Ids:
        """All live row ids, distinct and ascending."""
        return np.unique(self._open()[0].live_rids())

    @contextmanager
    def recovery(self) -> Iterator[None]:
        """Nothing happens around the changes: there is no structure to rebuild."""
        yield

    def settle(self) -> None:
        """Save what changed, if there is a path; no other work waits."""
        self._open()
        self._save_changes()

    def save(self, path: Path) -> None:
        """Write a checksummed snapshot that replaces the file at once or not at all.

        Raises:
            StorageError: the file system refused; the old file stays.
        """
        rows, (seq, mark) = self._open()
        header = self._expected | {"kind": self.kind, "seq": seq, "mark": mark}
        write(path, header, sections_of(rows), self._home.seal)
        if path == self._path:
            self._saved = rows

    def load(self, path: Path) -> bool:
        """Take the place of a snapshot; False, and empty, where there is none that can be trusted."""
        snapshot = read(path, self._expected, self._home.seal)
        rows = None if snapshot is None else rows_from(snapshot, self._dim)
        with self._lock:
            self._open()
            self._growing = Growing.empty(self._dim) if rows is None else Growing(rows)
            self._state = self._growing.rows, (0, 0) if snapshot is None or rows is None else snapshot.reached
            self._saved = self._growing.rows if rows is None or path == self._path else None
        return rows is not None

    def close(self) -> None:
        """Save what changed, if there is a path, and free the memory; a second call does nothing."""
        self._save_changes()
        with self._lock:
            self._growing, self._state, self._saved = Growing.empty(self._dim), None, None

    def _open(self) -> tuple[Rows, tuple[int, int]]:
        state = self._state
        if state is None:
            raise StoreClosed("the index was closed")
        return state

    def _save_changes(self) -> None:
        state = self._state
        if self._path is None or state is None or state[0] is self._saved:
            return
        try:
            self.save(self._path)
        except StorageError:
            _log.warning("the index was not saved; it will be rebuilt from storage", exc_info=True)


def sections_of(rows: Rows) -> list[Section]:
    """The live rows as two sections of a snapshot, the vectors last."""
    rids = rows.live_rids()
    size = rows.live * rows.vectors.shape[1] * rows.vectors.itemsize
    return [section("rids", [rids], rids.nbytes), section("vectors", rows.slices(), size)]


def rows_from(snapshot: Snapshot, dim: int) -> Rows | None:
    """The rows of those sections, or None where they are not as ``sections_of`` makes them."""
    try:
        return Rows.over(snapshot.array("vectors", np.float32, dim), snapshot.array("rids", np.int64))
    except (KeyError, ValueError):
        return None
