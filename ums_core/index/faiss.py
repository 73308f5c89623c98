"""Graph search: an HNSW graph of what is old, an exact tail of what is new, and never a search that waits."""

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ums_core.errors import StorageError, StoreClosed
from ums_core.index.background import Background
from ums_core.index.exact import rows_from, sections_of
from ums_core.index.faiss_tuning import DEFAULT_PARAMS, HnswParams, build_threads, growth, save_is_due
from ums_core.index.generation import Generation
from ums_core.index.graph import Graph, OneThread
from ums_core.index.rows import Floats, Growing, Ids, Ranking, Rows, best_of, check_query
from ums_core.index.snapshot import NOWHERE, Home, Section, Snapshot, read, section, write
from ums_core.ports.index import Change, RowSet

__all__ = ["FaissIndex"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _State:
    """What a reader takes at once: the graph, the rows newer than it, and how far they reach.

    Attributes:
        reached: seq and mark of the last change.
        changes: vectors added and removed since the index was made or loaded.
    """

    generation: Generation | None
    tail: Rows
    reached: tuple[int, int]
    changes: int


class FaissIndex:
    """A graph for what is old and an exact tail for what is new, searched together; exact alone while there is little.

    Readers take no lock. A write appends to the tail; a background thread merges the tail into a clone of the graph,
    and then puts the clone in its place. A graph that is dead by a quarter is rebuilt in the same way.

    Args:
        dim: number of components of a vector.
        params: how the graph is built and searched.
        workers: threads of a bulk build, one fewer while rows come; None is all cores that the process may use.
        home: where the background thread, ``settle`` and ``close`` save what changed.
    """

    def __init__(
        self,
        dim: int,
        params: HnswParams = DEFAULT_PARAMS,
        *,
        workers: int | None = None,
        home: Home = NOWHERE,
    ) -> None:
        self._dim, self._params = dim, params
        self._workers = workers or os.cpu_count() or 1
        self._expected = {"index": "faiss", "dim": dim, "binding": dict(home.binding or {}), "params": params.build}
        self._home, self._path = home, home.path
        self._one_thread = OneThread()
        self._tail = Growing.empty(dim)
        self._state: _State | None = _State(None, self._tail.rows, (0, 0), 0)
        self._saved = 0
        self._epoch = 0
        self._applied_s = -math.inf
        self._recovering = self._held = self._closing = False
        self._changed = threading.Condition()
        self._saving = threading.Lock()
        self._background = Background(self._changed, self._due)

    @property
    def kind(self) -> str:
        """``hnsw`` where there is a graph, else ``exact``."""
        return "exact" if self._open().generation is None else "hnsw"

    @property
    def dim(self) -> int:
        """Number of components of a vector."""
        return self._dim

    @property
    def seq(self) -> int:
        """Number of the last change taken up; 0 for none."""
        return self._open().reached[0]

    @property
    def mark(self) -> int:
        """Mark of the last change taken up; 0 for none."""
        return self._open().reached[1]

    @property
    def recovering(self) -> bool:
        """Whether a graph is still due over what came under ``recovery``; searches are exact meanwhile."""
        state = self._open()
        return self._recovering and state.generation is None and state.tail.live > self._params.exact_below

    def __len__(self) -> int:
        """Return the number of live vectors."""
        return _live(self._open())

    def apply(self, change: Change) -> None:
        """Take up one change; visible to the next search when this returns. Costs a copy of the vectors.

        Raises:
            StoreClosed: after ``close``.
            DimensionMismatch: the vectors have another number of components.
            ValueError: the row ids do not ascend.
        """
        with self._changed:
            state = self._open()
            self._tail.apply(change)
            generation = None if state.generation is None else state.generation.without(change.removed)
            changes = state.changes + len(change.added) + len(change.removed)
            self._state = _State(generation, self._tail.rows, (change.seq, change.mark), changes)
            self._applied_s = time.monotonic()
            self._background.wake()

    def search(self, vector: Floats, k: int, allowed: RowSet | None = None) -> Ranking:
        """Row ids and cosines of the k nearest rows, best first; ties by ascending row id.

        Raises:
            StoreClosed: after ``close``.
            InvalidQuery: k < 1.
            DimensionMismatch: the vector has another number of components.
        """
        state = self._open()
        vector = check_query(vector, k, self._dim)
        generation, tail = state.generation, state.tail
        if generation is None:
            return tail.nearest(vector, k, None if allowed is None else tail.positions(allowed))
        self._one_thread.enter()
        if allowed is None:
            old = generation.nearest(vector, k)
            return best_of(old, tail.nearest(vector, k), k) if tail.live else old
        old = generation.nearest_allowed(vector, k, allowed)
        return best_of(old, tail.nearest(vector, k, tail.positions(allowed)), k) if tail.live else old

    def scores(self, vector: Floats, rids: Ids) -> Floats:
        """Cosine of each row's best passage, shape (m,); NaN where a row is unknown."""
        state = self._open()
        vector = check_query(vector, 1, self._dim)
        if state.generation is None:
            return state.tail.cosines(vector, rids)
        old = state.generation.rows.cosines(vector, rids)
        return np.fmax(old, state.tail.cosines(vector, rids)) if state.tail.live else old

    def rids(self) -> Ids:
        """All live row ids, distinct and ascending."""
        return np.unique(_live_rids(self._open()))

    @contextmanager
    def recovery(self) -> Iterator[None]:
        """Around the changes that bring the whole content after ``load`` returned False: one graph is built of all.

        ``recovering`` is True from the first row too many for exact search until that graph answers.
        """
        with self._changed:
            self._held = self._recovering = True
        try:
            yield
        finally:
            with self._changed:
                self._held = False
                self._recovering = self._state is not None and self.recovering
                self._background.wake()

    def settle(self) -> None:
        """Return when all that is due is merged, rebuilt, and, if there is a path, saved."""
        with self._changed:
            self._open()
            self._background.settle()
        self._save_changes()

    def save(self, path: Path) -> None:
        """Write a checksummed snapshot that replaces the file at once or not at all.

        Raises:
            StorageError: the file system refused; the old file stays.
        """
        with self._saving:
            state = self._open()
            seq, mark = state.reached
            header = self._expected | {"kind": self.kind, "seq": seq, "mark": mark}
            if state.generation is not None:
                self._one_thread.enter()
                state.generation.scrub()
            write(path, header, _sections(state), self._home.seal)
            if path == self._path:
                self._saved = state.changes

    def load(self, path: Path) -> bool:
        """Take the place of a snapshot; False, and empty, where there is none that can be trusted.

        Costs a pass over the file; the graph is a view of what was read and checked.
        """
        snapshot = read(path, self._expected, self._home.seal)
        restored = None if snapshot is None else self._restored(snapshot)
        with self._changed:
            self._open()
            self._epoch += 1
            generation, self._tail, reached = restored or (None, Growing.empty(self._dim), (0, 0))
            self._state = _State(generation, self._tail.rows, reached, 0)
            self._saved = 0 if restored is None or path == self._path else -1
            self._background.wake()
        return restored is not None

    def close(self) -> None:
        """Stop the background work, save what changed if there is a path, and free the memory.

        A build that is under way is given up; a second call does nothing.
        """
        with self._changed:
            self._closing = True
            self._background.settle()
        self._save_changes()
        with self._changed:
            self._state, self._tail = None, Growing.empty(self._dim)

    def _open(self) -> _State:
        state = self._state
        if state is None:
            raise StoreClosed("the index was closed")
        return state

    def _due(self) -> Callable[[], object] | None:
        state = self._state
        if state is None or self._closing or self._held:
            return None
        rows = None if state.generation is None else state.generation.rows
        graph, dead = (0, 0) if rows is None else (len(rows.rids), len(rows.rids) - rows.live)
        due = growth(self._params, graph=graph, dead=dead, tail=state.tail.live)
        if due != "none":
            return partial(self._grow, state, self._epoch, merge=due == "merge")
        if self._path is not None and rows and save_is_due(changed=state.changes - self._saved, rows=_live(state)):
            return partial(self.save, self._path)
        return None

    def _grow(self, state: _State, epoch: int, *, merge: bool) -> None:
        """Build the next graph aside and put it in the place of this one, or go back to exact search."""

        def goes_on() -> bool:
            return self._epoch == epoch and not self._closing

        def threads() -> int:
            return build_threads(self._workers, idle_s=time.monotonic() - self._applied_s)

        try:
            generation = None
            if merge and state.generation is not None:
                generation = state.generation.merged(state.tail, threads=threads, goes_on=goes_on)
            elif _live(state) > self._params.exact_below:
                generation = Generation.built(_parts(state), self._params, threads=threads, goes_on=goes_on)
            with self._changed:
                if goes_on():
                    self._swap(self._open(), generation)
        finally:
            with self._changed:
                self._recovering = self._recovering and self._epoch != epoch

    def _swap(self, state: _State, generation: Generation | None) -> None:
        """Make a new graph the one that answers, without what was removed while it was built."""
        if generation is None:
            vectors = np.concatenate([piece for part in _parts(state) for piece in part.slices()])
            self._tail = Growing(Rows.over(vectors, _live_rids(state)), self._tail.last)
        else:
            generation = generation.surviving(_live_rids(state))
            self._tail.drop(int(generation.rows.rids[-1]))
        self._state = replace(state, generation=generation, tail=self._tail.rows)

    def _restored(self, snapshot: Snapshot) -> tuple[Generation | None, Growing, tuple[int, int]] | None:
        rows, reached = rows_from(snapshot, self._dim), snapshot.reached
        if rows is None or "graph" not in snapshot.sections:
            return None if rows is None else (None, Growing(rows), reached)
        try:
            graph = Graph.restored(snapshot.sections["graph"], self._params, self._dim)
            rids, dead = snapshot.array("graph_rids", np.int64), snapshot.array("dead", np.bool_)
            generation = Generation(graph, Rows.over(graph.vectors, rids, dead), self._params)
        except (KeyError, ValueError):
            return None
        return generation, Growing(rows, int(rids[-1])), reached

    def _save_changes(self) -> None:
        state = self._state
        if self._path is None or state is None or state.changes == self._saved:
            return
        try:
            self.save(self._path)
        except StorageError:
            _log.warning("the index was not saved; it will be rebuilt from storage", exc_info=True)


def _parts(state: _State) -> list[Rows]:
    return [state.tail] if state.generation is None else [state.generation.rows, state.tail]


def _live(state: _State) -> int:
    return sum(rows.live for rows in _parts(state))


def _live_rids(state: _State) -> Ids:
    return np.concatenate([rows.live_rids() for rows in _parts(state)])


def _sections(state: _State) -> list[Section]:
    tail = sections_of(state.tail)
    if state.generation is None:
        return tail
    graph, rows = state.generation.graph, state.generation.rows
    dead = np.zeros(len(rows.rids), np.bool_) if rows.dead is None else rows.dead
    return [
        section("graph_rids", [rows.rids], rows.rids.nbytes),
        section("dead", [dead], dead.nbytes),
        *tail,
        Section("graph", graph.size(), graph.write),
    ]
