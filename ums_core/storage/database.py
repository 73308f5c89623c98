"""One database file: the canonical store of rows, vectors, terms, journal and bindings."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ums_core.errors import StorageError, StoreClosed
from ums_core.ports.embedder import EmbedderIdentity
from ums_core.ports.index import Change, RowSet
from ums_core.ports.ledger import Head, TurnRow, VectorType
from ums_core.ports.sealed import Sealing
from ums_core.ranking.lexical import WordRows
from ums_core.records import Filter, Memory, Namespace, Page
from ums_core.records.actor import actor
from ums_core.records.match import micros
from ums_core.storage import filters, journal, keyword, listing, raw
from ums_core.storage.allowed import AllowedRows, condition_sql
from ums_core.storage.codec import check_kind, codec_of
from ums_core.storage.complaint import translated
from ums_core.storage.connect import Connection, Connector, Reader, load_driver
from ums_core.storage.exclusive import alone
from ums_core.storage.files import prepare_directory
from ums_core.storage.folding import Folding, Pace
from ums_core.storage.guard import Guard
from ums_core.storage.migrations import agree_on_terms, migrate
from ums_core.storage.pending import Pending
from ums_core.storage.postings import Candidates, Postings
from ums_core.storage.reading import find_nid, labels_of, read_bindings, read_memories, rids_of, vectors_of
from ums_core.storage.row_cache import RowCache
from ums_core.storage.scopes import MAX_SCOPES, KnownScopes
from ums_core.storage.table import LazyNamespaces, decode, encode_namespace, read_turns
from ums_core.storage.transaction import Known, SqlTransaction, in_name_of
from ums_core.storage.worded import Asked, rows_with
from ums_core.storage.writer import GroupWriter

__all__ = ["Database"]

_log = logging.getLogger("ums_core")

T = TypeVar("T")

_PAUSE_S = 0.05

# Told of the journal's end before the first of these works, and of each work that changed something.
OnCommit = Callable[[Head, Sequence[SqlTransaction]], None]


class Database:
    """Reads through a pool, writes through one connection with group commit. Thread-safe.

    Any number of processes may open the same file. Only the writer checkpoints, one process at a time, under a lock
    file beside the database.

    Args:
        path: created where it does not exist.
        clock: the current time in UTC.
        pace: when the log is folded, and how long others are waited for.
        sealing: the keys of the database; None for a plain file. Neither is ever opened as the other.

    Raises:
        StorageError: the file cannot be used; a subclass tells why.
    """

    def __init__(self, path: Path, clock: Callable[[], datetime], pace: Pace, sealing: Sealing | None = None) -> None:
        prepare_directory(path)
        self.path = path
        self._let_go_of_files = raw.hold(self, path)
        self.allowed_rows = AllowedRows()
        self._postings = Postings()
        self._scopes = KnownScopes()
        # Of what is written from now on; what is stored says itself how it is to be read.
        self.vector_type: VectorType = "float32"
        self.on_commit: OnCommit = lambda _head, _works: None
        self.clock = clock
        page_key = None if sealing is None else sealing.page_key
        driver = load_driver(encrypting=sealing is not None)
        self.codec = codec_of(path, driver, sealing)
        self._connector = Connector(
            path, driver, self.codec.setup if self.codec else filters.register, page_key, pace.busy_timeout_s
        )
        self._connector.told = self.codec.problem if self.codec else self._connector.told
        self.guard = Guard(self._connector, sealing)
        self._folding = Folding(self.guard, pace)
        self._write_lock = threading.Lock()
        self._nids: dict[str, int] = {}
        self._paths: dict[int, Namespace] = LazyNamespaces(self.namespace_of)
        self._rows = RowCache(self._paths, None if self.codec is None else self.codec.row)
        self._bindings: dict[str, EmbedderIdentity] = {}
        self._seen = -1
        self._stopped = self._closed = False
        # Whatever is not ours, or is too new for us, is left as it is.
        self._connector.peek(lambda connection: check_kind(connection, path, sealing))
        with alone(path, pace.busy_timeout_s):
            self._own: Connection | None = self._connector.open(writable=True)
            try:
                with self._translated():
                    self._secure_terms = self._connector.deletes_terms
                    self.database_id = migrate(
                        self._writing,
                        path,
                        secure_terms=self._secure_terms,
                        database_id=None if sealing is None else sealing.database_id,
                    )
                    if self.codec is not None:
                        self.codec.begin(self._writing)
                    self.guard.check(self._writing)
                    agree_on_terms(self._writing, secure=self._secure_terms)
                    self.ink = journal.begun(self._writing)
            except BaseException:
                self._writing.close()
                raise
        self._connector.newer_key = self.guard.newer_key
        self._writer: GroupWriter[SqlTransaction] = GroupWriter(self._transact)

    @property
    def driver(self) -> str:
        """Driver and SQLite version."""
        return self._connector.label

    @property
    def of_parent(self) -> bool:
        """Whether this process was forked from the one that opened it, and has no part in it."""
        return self._connector.of_parent

    def reader(self) -> Reader:
        """A connection that only reads, for a ``with`` block."""
        return self._connector.reader()

    @contextmanager
    def snapshot(self) -> Iterator[Head]:
        """Let this thread read the database as it is now; see the port."""
        with self._connector.snapshot() as connection:
            yield journal.head(connection)

    def write(self, work: Callable[[SqlTransaction], T]) -> T:
        """Run the work in a transaction, durable when this returns; see the port."""
        self._connector.check_open()
        return self._writer.submit(in_name_of(actor(), work))

    def mark_of(self, seq: int) -> int:
        """The mark of a change; 0 where there is no such change."""
        with self.reader() as connection:
            return journal.mark_of(connection, seq)

    def head(self) -> Head:
        """The end of the journal, other processes' commits included."""
        with self.reader() as connection:
            return journal.head(connection)

    def changes_since(self, seq: int, modality: str, dim: int) -> Iterator[Change]:
        """What an index that has reached ``seq`` must take up."""
        with self.reader() as connection:
            yield from journal.changes_since(connection, seq, modality, dim)

    def rebound_since(self, seq: int) -> bool:
        """Whether the database changed its embedder after a change; forgets what was known of it, if so."""
        with self.reader() as connection:
            rebound = journal.rebound_since(connection, seq)
        if rebound:
            self._bindings = {}
        return rebound

    def bindings(self, *, fresh: bool = False) -> Mapping[str, EmbedderIdentity]:
        """What each modality is bound to; ``fresh`` looks again for what other processes bound."""
        if fresh or not self._bindings:
            with self.reader() as connection:
                self._bindings = read_bindings(connection)
        return self._bindings

    def binding(self, modality: str) -> EmbedderIdentity | None:
        """What the modality is bound to; None before its first write."""
        return self.bindings().get(modality) or self.bindings(fresh=True).get(modality)

    def get(self, ids: Sequence[str], namespace: Namespace, *, vectors: bool) -> list[Memory | None]:
        """The memories of one exact namespace in the order of the ids."""
        # Rows and vectors of one moment.
        with self._connector.snapshot() as connection:
            path = encode_namespace(namespace)
            nid = self._nids.get(path) or find_nid(connection, path)
            return read_memories(connection, ids, (namespace, nid), vectors=vectors)

    def scan(self, namespace: Namespace, condition: Filter | None, walk: listing.Walk) -> Page:
        """One page in the order in which the identities were first stored, or the reverse."""
        with self.reader() as connection:
            passing = bool(namespace) and listing.has_many(connection, condition_sql(namespace, None))
            rows, after = listing.page(connection, condition_sql(namespace, condition, passing=passing), walk)
        return Page([decode(row, self._paths[row[2]]) for row in rows], after)

    def count(self, namespace: Namespace, condition: Filter | None) -> int:
        """How many rows meet the conditions."""
        with self.reader() as connection:
            return listing.count(connection, condition_sql(namespace, condition))

    def namespaces(self, prefix: Namespace, condition: Filter | None) -> list[Namespace]:
        """The namespaces under a prefix that hold a memory which meets the condition."""
        with self.reader() as connection:
            return listing.namespaces(connection, prefix, condition_sql((), condition))

    def allowed(self, namespace: Namespace, condition: Filter | None, head: Head) -> RowSet | None:
        """The rows that meet the conditions, from the cache as far as it reaches; see the port."""
        return self.allowed_rows.of(self.reader, namespace, condition, head.hi)

    def unexpired(self, namespace: Namespace, condition: Filter | None, head: Head, now: datetime) -> RowSet:
        """The same without those that have expired; see the port."""
        return self.allowed_rows.unexpired(self.reader, namespace, condition, head.hi, micros(now))

    def rows_with(
        self, text: str, namespace: Namespace, allowed: RowSet | None, head: Head, *, prune: bool
    ) -> tuple[list[WordRows], bool]:
        """The rows that hold each word of a text; see the port."""
        scopes = self._scopes.get(self.reader, namespace, head)
        exact = scopes is None or len(scopes) <= MAX_SCOPES
        if scopes == [] or (allowed is not None and not len(allowed)):
            return [], exact
        places = tuple(scopes) if scopes is not None and exact else None
        candidates = Candidates(head, None if allowed is None else allowed.rids)
        asked = Asked(places, candidates, prune=prune and exact)
        return rows_with(self.reader, self._postings, keyword.question_words(text), asked, self.codec), exact

    def removed_since(self, seq: int) -> npt.NDArray[np.int64]:
        """The rows that went after a change; see the port."""
        with self.reader() as connection:
            return journal.removed_since(connection, seq)

    def turns_since(self, seq: int, hi: int) -> tuple[int, npt.NDArray[np.int64], list[TurnRow]]:
        """What changed in conversations; see the port."""
        # Of one moment: what went after it is told the next time, and not twice.
        with self.snapshot() as head, self.reader() as connection:
            return head.seq, journal.removed_since(connection, seq), read_turns(connection, hi)

    def scopes(self, namespace: Namespace, head: Head) -> list[int] | None:
        """The ids of the namespaces under a prefix; see the port."""
        scopes = self._scopes.get(self.reader, namespace, head)
        return [] if scopes is not None and len(scopes) > MAX_SCOPES else scopes

    def rows(self, rids: Sequence[int]) -> dict[int, Memory]:
        """The memories of those rows that still exist."""
        with self.reader() as connection:
            return self._rows.select(connection, rids)

    def vectors(self, rids: Sequence[int]) -> dict[int, list[npt.NDArray[np.float32]]]:
        """The vectors of each row's passages."""
        with self.reader() as connection:
            return vectors_of(connection, rids)

    def rids(self, modality: str) -> npt.NDArray[np.int64]:
        """The rows that have a vector of the modality: what an index must hold, no more and no less."""
        with self.reader() as connection:
            return rids_of(connection, modality)

    def accept(self) -> None:
        """Believe in the database as it is."""
        with self._write_lock, self._translated():
            self.guard.accept(self._writing)

    def checkpoint(self, mode: str = "PASSIVE") -> bool:
        """Fold the write-ahead log into the file; False when it could not be done now."""
        with self._write_lock:
            return self._folding.fold(self._writing, mode)

    def fold(self) -> bool:
        """Fold the log into the file and truncate it, also when that means to wait; False when a reader holds it."""
        deadline = time.monotonic() + self._connector.wait_s
        while not (done := self.checkpoint("TRUNCATE")) and time.monotonic() < deadline:
            time.sleep(_PAUSE_S)
        return done

    @contextmanager
    def let_go(self) -> Iterator[Connector]:
        """No connection of this object to the file for a ``with`` block; reads and writes wait until it ends."""
        with self._write_lock, self._connector.paused(), self._translated():
            self._folding.fold(self._writing, "TRUNCATE")
            self._writing.close()
            self._own = None
            self.forget()
            try:
                yield self._connector
            finally:
                # Where that fails, whoever writes next tries again.
                with suppress(StorageError):
                    self._own = self._connector.open(writable=True)

    def forget(self) -> None:
        """Drop what was read lately."""
        self._rows.forget()
        if self.codec is not None:
            self.codec.forget()

    def stop_writes(self) -> None:
        """Wait for the writes under way, and refuse any other; reads go on."""
        with self._write_lock:
            self._stopped = True

    def close(self) -> None:
        """Fold the log, and close every connection. Idempotent."""
        self.stop_writes()
        with self._write_lock:
            if self._closed:
                return
            self._closed = True
            self._connector.close()
            if self._own is not None:
                with self._translated():
                    self._folding.fold(self._own, "TRUNCATE", last=True)
                    self._own.close()
            self._let_go_of_files()
            self.forget()
            if self.codec is not None:
                self.codec.words.close()

    def namespace_of(self, nid: int) -> Namespace:
        """The labels of a namespace id that a row names."""
        with self.reader() as connection:
            return labels_of(connection, nid)

    @property
    def _writing(self) -> Connection:
        """The connection that writes, opened again where it could not be when it was due."""
        if self._own is None:
            self._own = self._connector.open(writable=True)
        return self._own

    def _translated(self) -> AbstractContextManager[None]:
        return translated(self.path, self._connector.told)

    def _transact(self, works: Sequence[Callable[[SqlTransaction], object]]) -> list[object]:
        with self._write_lock, self._translated():
            if self._stopped:
                raise StoreClosed(f"the store on {self.path} was closed; open it again with open_store(settings)")
            self.guard.refuse()
            connection = self._writing
            connection.execute("BEGIN IMMEDIATE")
            try:
                if self.codec is not None:
                    self.codec.follow(connection)
                first, link, named = journal.tip(connection)
                # Bound anew, or written by another process: what was known of its bindings may have changed.
                bindings = self._bindings if first.seq == self._seen else {}
                done, results, new_nids, last = self._work(
                    works, Pending(connection, link, named, self.codec), first, bindings
                )
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            self._seen = last.seq
            self._nids.update(new_nids)
            for transaction in done:
                self._bindings = {**self._bindings, **transaction.bound}
            self._after_commit(first, last, done, len(works))
        return results

    def _after_commit(self, first: Head, last: Head, done: Sequence[SqlTransaction], works: int) -> None:
        try:
            if done:
                self.guard.committed(done[-1].seq, done[-1].mark)
                self.on_commit(first, done)
            self._folding.note(self._writing, works, last.hi - first.hi)
        except Exception:  # noqa: BLE001  # what is committed is not to be reported as failed; a search catches up
            _log.exception("an index could not take up a committed change of %s", self.path)

    def _work(
        self,
        works: Sequence[Callable[[SqlTransaction], object]],
        pending: Pending,
        head: Head,
        bindings: Mapping[str, EmbedderIdentity],
    ) -> tuple[list[SqlTransaction], list[object], dict[str, int], Head]:
        done: list[SqlTransaction] = []
        results: list[object] = []
        nids = self._nids
        new_nids: dict[str, int] = {}
        for work in works:
            known = Known(nids, bindings, self._secure_terms, self.vector_type, self.ink, self.codec)
            transaction = SqlTransaction(pending, head, self.clock(), known)
            results.append(work(transaction))
            if transaction.new_nids:
                new_nids |= transaction.new_nids
                nids = {**self._nids, **new_nids}
            if transaction.bound:
                bindings = {**bindings, **transaction.bound}
            after = transaction.finish()
            if after.seq > head.seq:
                done.append(transaction)
            head = after
        pending.flush()
        return done, results, new_nids, head
