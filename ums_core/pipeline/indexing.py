"""Keeps one index a modality in step with storage: at open, after each commit, and across processes."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from time import perf_counter
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ums_core.errors import IndexRecovering
from ums_core.ports.embedder import EmbedderIdentity
from ums_core.ports.index import Change, VectorIndex

__all__ = ["Indexes", "Journal"]

MakeIndex = Callable[[str, EmbedderIdentity], tuple[VectorIndex, Path]]

# Rows that wait for the next search, at most about: taking up many at once costs little more than one.
_WAITING_ROWS = 256


class Committed(Protocol):
    """One committed work, as an index sees it."""

    rebound: bool

    @property
    def size(self) -> int:
        """How many rows came and went in it."""
        ...

    def change(self, modality: str, dim: int) -> Change:
        """What it means for the index of a modality."""
        ...


class Seq(Protocol):
    """A point of the journal."""

    @property
    def seq(self) -> int:
        """Number of the last change before it."""
        ...

    @property
    def hi(self) -> int:
        """The largest row id given before it."""
        ...


class Journal(Protocol):
    """Storage as an index sees it."""

    def snapshot(self) -> AbstractContextManager[Seq]:
        """Let this thread read storage as of one moment, for a ``with`` block; gives the end of the journal."""
        ...

    def bindings(self, *, fresh: bool = False) -> Mapping[str, EmbedderIdentity]:
        """What each modality is bound to; ``fresh`` looks again for what other processes bound."""
        ...

    def mark_of(self, seq: int) -> int:
        """The mark of a change; 0 where there is no such change."""
        ...

    def changes_since(self, seq: int, modality: str, dim: int) -> Iterator[Change]:
        """What an index that has reached ``seq`` must take up."""
        ...

    def rebound_since(self, seq: int) -> bool:
        """Whether the database changed its embedder after a change."""
        ...

    def rids(self, modality: str) -> npt.NDArray[np.int64]:
        """The rows that have a vector of the modality."""
        ...


class Indexes:
    """The indexes of one database, by modality; each is made when the modality is first bound.

    Args:
        journal: storage.
        make: an empty index of a modality, and the path of its snapshot.
        told: called with how many rows came and went, and in how many seconds, each time that an index took some up.
    """

    def __init__(self, journal: Journal, make: MakeIndex, told: Callable[[int, float], None] | None = None) -> None:
        self._journal = journal
        self._make = make
        self._told = told
        self._held: dict[str, tuple[EmbedderIdentity, VectorIndex]] = {}
        self._paths: dict[str, Path] = {}
        # One at a time takes up changes: a committer, or a reader that found another process's commit.
        self._lock = threading.RLock()
        self._seq = 0
        # Commits that no search has needed yet, with where the journal stood before each.
        self._waiting: deque[tuple[Seq, Sequence[Committed]]] = deque()
        self._waiting_rows = 0

    def open(self) -> None:
        """Load the snapshots, replay what came after them, and rebuild what cannot be trusted."""
        with self._lock:
            self._catch_up()

    def current(self, modality: str, seq: int) -> tuple[EmbedderIdentity, VectorIndex] | None:
        """The index of a modality, with every change up to ``seq`` at least; None before its first write."""
        if seq > self._seq:
            with self._lock:
                self._take_up()
                if seq > self._seq:
                    self._catch_up()
        return self._held.get(modality)

    def committed(self, before: Seq, works: Sequence[Committed]) -> None:
        """Note the works of one commit for the next search; take up those that wait when they are many."""
        self._waiting.append((before, works))
        self._waiting_rows += sum(work.size for work in works)
        if self._waiting_rows >= _WAITING_ROWS:
            with self._lock:
                self._take_up()

    def refuse_while_recovering(self) -> None:
        """Raise while any index is being rebuilt.

        Raises:
            IndexRecovering: reads go on; retry the write.
        """
        for modality, (_, index) in self._held.items():
            if index.recovering:
                raise IndexRecovering(
                    f"the {modality} index is being rebuilt from storage: searches are answered exactly, writes are "
                    "refused until it is done; retry in a second",
                    retry_after_s=1.0,
                )

    def verify(self) -> list[str]:
        """Differences between each index and storage, in words; empty when the sets are equal."""
        with self._lock:
            # Before the snapshot: what waits later may be of a commit that it does not show.
            self._take_up()
            with self._journal.snapshot() as head:
                self._read_up_to(head)
                return [
                    f"the {modality} index and storage differ by {len(odd)} rows"
                    for modality, (_, index) in self._held.items()
                    if len(odd := np.setxor1d(index.rids(), self._journal.rids(modality)))
                ]

    def held(self) -> Mapping[str, VectorIndex]:
        """The indexes by modality, with every commit."""
        with self._lock:
            self._catch_up()
        return {modality: index for modality, (_, index) in self._held.items()}

    def settle(self) -> None:
        """Return when no index has work left in the background."""
        for index in self.held().values():
            index.settle()

    def save(self) -> None:
        """Write every snapshot anew, whether or not anything changed.

        Raises:
            StorageError: the disk refused; the old files stay.
        """
        with self._lock:
            self._catch_up()
            for modality, (_, index) in self._held.items():
                index.save(self._paths[modality])

    def close(self) -> None:
        """Take up what other processes committed, then save and close every index."""
        with self._lock:
            self._catch_up()
            for _, index in self._held.values():
                index.close()

    def _take_up(self) -> None:
        """Take up what waits, in one change a modality; nothing where only storage can tell what came."""
        waiting = []
        while self._waiting:
            waiting.append(self._waiting.popleft())
        self._waiting_rows = 0
        end = self._seq
        works: list[Committed] = []
        for before, done in waiting:
            if end < before.seq or any(work.rebound for work in done):
                # Another process committed in between, or every vector is another one.
                return
            works += done
            end = max(end, before.seq + len(done))
        if end > self._seq:
            for modality, identity in self._journal.bindings().items():
                self._apply(modality, identity, works)
            self._seq = end

    def _apply(self, modality: str, identity: EmbedderIdentity, works: Sequence[Committed]) -> None:
        if modality not in self._held:
            # Bound by one of these works: no earlier vector of the modality exists.
            index, self._paths[modality] = self._make(modality, identity)
            self._held[modality] = identity, index
        _, index = self._held[modality]
        changes = [change for work in works if (change := work.change(modality, identity.dim)).seq > index.seq]
        self._taken(index, changes[0] if len(changes) == 1 else _as_one(changes))

    def _taken(self, index: VectorIndex, change: Change) -> None:
        started = perf_counter()
        index.apply(change)
        if self._told is not None:
            self._told(len(change.added) + len(change.removed), perf_counter() - started)

    def _catch_up(self) -> None:
        """Take up what waits, and then all else that storage holds at one moment."""
        self._take_up()
        # A row that went between two reads would be missing, and the one in its place not yet there.
        with self._journal.snapshot() as head:
            self._read_up_to(head)

    def _read_up_to(self, head: Seq) -> None:
        """Take up what storage holds at the moment that this thread reads."""
        if self._held and self._journal.rebound_since(self._seq):
            for _, index in self._held.values():
                index.close()
            self._held = {}
        for modality, identity in self._journal.bindings(fresh=True).items():
            if modality not in self._held:
                self._open(modality, identity, head.seq)
            else:
                _, index = self._held[modality]
                for change in self._journal.changes_since(index.seq, modality, identity.dim):
                    self._taken(index, change)
        self._seq = max(self._seq, head.seq)

    def _open(self, modality: str, identity: EmbedderIdentity, seq: int) -> None:
        index, path = self._make(modality, identity)
        if index.load(path) and self._stale(index, seq):
            # Storage is another copy than the one indexed: nothing that the snapshot says can be trusted.
            path.unlink(missing_ok=True)
            index.close()
            index, path = self._make(modality, identity)
        if index.seq:
            for change in self._journal.changes_since(index.seq, modality, identity.dim):
                index.apply(change)
        else:
            with index.recovery():
                for change in self._journal.changes_since(0, modality, identity.dim):
                    index.apply(change)
        self._held[modality], self._paths[modality] = (identity, index), path

    def _stale(self, index: VectorIndex, seq: int) -> bool:
        return index.seq > seq or index.mark != self._journal.mark_of(index.seq)


def _as_one(changes: Sequence[Change]) -> Change:
    """Several changes as one; a row that came in one of them and went in a later one never was."""
    removed = np.concatenate([change.removed for change in changes])
    added = np.concatenate([change.added for change in changes])
    vectors = np.concatenate([change.vectors for change in changes])
    if len(removed):
        stays = ~np.isin(added, removed)
        added, vectors = added[stays], vectors[stays]
    return Change(seq=changes[-1].seq, mark=changes[-1].mark, removed=removed, added=added, vectors=vectors)
