"""The channel on this device: one database file and its indexes, without a network."""

import json
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Literal, Self, TypeVar

from ums_core.channels.care import Backup, back_up
from ums_core.channels.habits import Habits
from ums_core.channels.lifecycle import LocalLifecycle
from ums_core.channels.tending import LocalTending, stored
from ums_core.channels.upkeep import destroyed, erased, rotated, state_of, verified
from ums_core.errors import SettingsError
from ums_core.pipeline.indexing import Indexes
from ums_core.pipeline.ingest import Ingest
from ums_core.pipeline.patch import patched
from ums_core.pipeline.reembed import reembed
from ums_core.pipeline.repeat import answer_of, draft_parts, existing, patch_parts, replayed
from ums_core.pipeline.retrieve import Retrieve
from ums_core.ports import Embedder
from ums_core.ports.sealed import KeyState
from ums_core.ports.tending import Progress
from ums_core.records import Draft, Event, Filter, Health, Hit, Memory, Namespace, Page, Patch, Query, Receipt
from ums_core.records.arguments import (
    check_batch,
    check_callbacks,
    check_cursor,
    check_filter,
    check_ids,
    check_limit,
    check_query,
)
from ums_core.records.check import check_flag, check_label, check_namespace, check_whole
from ums_core.records.memory import TEXT
from ums_core.storage import events, kv
from ums_core.storage.archive import Archive
from ums_core.storage.database import Database
from ums_core.storage.erase import leftovers
from ums_core.storage.idempotency import answered, digest_of, once
from ums_core.storage.listing import Walk
from ums_core.storage.reembed import Aside
from ums_core.storage.transaction import SqlTransaction

__all__ = ["LocalStore"]

T = TypeVar("T")


class LocalStore(LocalLifecycle, LocalTending):
    """A :class:`~ums_core.ports.MemoryStore` on one file; ``open_store(settings)`` makes it. Thread-safe.

    Args:
        database: the canonical store.
        indexes: derived from it, one a modality.
        ingest: makes rows of drafts.
        retrieve: answers queries.
        habits: what the settings say.
    """

    def __init__(
        self,
        database: Database,
        indexes: Indexes,
        ingest: Ingest,
        retrieve: Retrieve,
        habits: Habits,
    ) -> None:
        self._database = database
        self._indexes = indexes
        self._ingest = ingest
        self._habits = habits
        self._retrieve = retrieve
        self._archive = Archive(database)
        self._closed = False
        database.on_commit = indexes.committed
        indexes.open()

    @property
    def on_device(self) -> Literal[True]:
        """Always True: it holds no network client."""
        return True

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed

    def add(self, drafts: Sequence[Draft], *, idempotency_key: str | None = None) -> list[Memory]:
        """Store the drafts durably and return them as memories, in the same order; see the protocol."""
        self._writable()
        asked = check_batch(drafts, Draft)
        drafts = self._habits.lasting(asked)
        if not drafts:
            return []
        if idempotency_key is None:
            prepared = self._ingest.prepare(drafts)
            return self._database.write(lambda tx: stored(tx, prepared))
        # Of what the caller asked for: what the settings add may be another thing by the next time.
        digest = digest_of(part for draft in asked for part in draft_parts(draft))
        # Embedded before the lock is taken, but not again for a key that has its answer.
        with self._database.reader() as connection:
            known = answered(connection, check_label(idempotency_key, "idempotency_key"))
        ready = None if known else self._ingest.prepare(drafts)

        def work(tx: SqlTransaction) -> list[list[object]]:
            return self._once(
                tx,
                idempotency_key,
                digest,
                lambda: [answer_of(memory) for memory in stored(tx, ready or self._ingest.prepare(drafts))],
            )

        answers = self._database.write(work)
        # Of one identity the last draft was stored, and answers for all.
        last: dict[tuple[Namespace, str | None], Draft] = {(d.namespace, d.id): d for d in drafts if d.id is not None}
        told = [last.get((draft.namespace, draft.id), draft) for draft in drafts]
        return [replayed(d, self._ingest.passages(d), answer) for d, answer in zip(told, answers, strict=True)]

    def get(self, ids: Sequence[str], *, namespace: Namespace = (), vectors: bool = False) -> list[Memory | None]:
        """The memories of one exact namespace, in the order of the ids, None where there is none."""
        return self._read(self._database.get(check_ids(ids), check_namespace(namespace), vectors=vectors))

    def update(self, patches: Sequence[Patch], *, idempotency_key: str | None = None) -> list[Memory]:
        """Change some fields of existing memories and return them as they are now; see the protocol."""
        self._writable()
        patches = check_batch(patches, Patch)
        if not patches:
            return []

        def work(tx: SqlTransaction) -> list[Memory]:
            return stored(tx, self._ingest.prepare(patched(tx, patches)), "updated")

        if idempotency_key is None:
            return self._database.write(work)
        check_label(idempotency_key, "idempotency_key")
        digest = digest_of(part for patch in patches for part in patch_parts(patch))

        def kept(tx: SqlTransaction) -> list[Memory]:
            self._once(tx, idempotency_key, digest, lambda: bool(work(tx)))
            return existing(tx, patches)

        return self._database.write(kept)

    def delete(self, ids: Sequence[str], *, namespace: Namespace = (), idempotency_key: str | None = None) -> int:
        """Delete from one exact namespace, and return how many there were; unknown ids are ignored."""
        self._writable()
        ids, namespace = check_ids(ids), check_namespace(namespace)
        if idempotency_key is None:
            return self._database.write(lambda tx: tx.delete(ids, namespace)) if ids else 0
        check_label(idempotency_key, "idempotency_key")
        digest = digest_of(json.dumps(part).encode() for part in (["delete", *namespace], ids))
        return self._database.write(
            lambda tx: self._once(tx, idempotency_key, digest, lambda: tx.delete(ids, namespace))
        )

    def erase(self, ids: Sequence[str], *, namespace: Namespace = (), idempotency_key: str | None = None) -> Receipt:
        """Delete from one exact namespace for good, with all that was derived from it, and say so in a receipt.

        Derived are passages, keywords, vectors, the index in memory and on disk, and memories whose ``source_ids`` name
        an erased one, and so on. Freed pages are overwritten, the write-ahead log is truncated, remembered embeddings
        are dropped. Backups, and what file systems and SSDs keep of overwritten blocks, are out of reach. A write under
        an idempotency key leaves a SHA-256 of all that it asked for, which can confirm a guess of the whole of it.

        Costs what ``delete`` does, one pass over the rows with ``source_ids``, and saving the index.

        Raises:
            IndexRecovering, IdempotencyConflict, StorageError: as ``delete``.
        """
        self._writable()
        ids, namespace = check_ids(ids), check_namespace(namespace)
        return self._gone_for_good([erased(self._database, ids, namespace, idempotency_key)])[0]

    def verify_erased(self, receipt: Receipt) -> list[str]:
        """What is left of an erasure, in words; empty when there is nothing.

        Searches the index, the database, and byte by byte every file beside it that bears its name.
        What something living holds as well, word by word, or a namespace is called, is not counted.

        Cost: about 0.5 s for 100 MB of files.

        Raises:
            InvalidInput: the receipt is of another database.
        """
        indexed = {modality: index.rids() for modality, index in self._indexes.held().items()}
        return leftovers(self._database, receipt, indexed)

    def search(self, query: Query) -> list[Hit]:
        """The best hits, best first, at most ``query.k``; what has expired is never among them."""
        return self._asked(check_query(query))

    def scan(
        self,
        *,
        namespace: Namespace = (),
        filter: Filter | Mapping[str, object] | None = None,  # noqa: A002  # the field's standard term
        limit: int = 100,
        cursor: int | None = None,
        descending: bool = False,
    ) -> Page:
        """One page of all memories under a namespace prefix, as they were first stored, or from the last one back."""
        return self._database.scan(
            check_namespace(namespace),
            check_filter(filter),
            Walk(check_limit(limit), check_cursor(cursor), check_flag(descending, "descending")),
        )

    def count(
        self,
        *,
        namespace: Namespace = (),
        filter: Filter | Mapping[str, object] | None = None,  # noqa: A002  # the field's standard term
    ) -> int:
        """How many memories there are under a namespace prefix."""
        return self._database.count(check_namespace(namespace), check_filter(filter))

    def namespaces(
        self,
        *,
        prefix: Namespace = (),
        filter: Filter | Mapping[str, object] | None = None,  # noqa: A002  # the field's standard term
    ) -> list[Namespace]:
        """All namespaces under the prefix that hold a memory which meets the filter, in ascending order of labels."""
        return self._database.namespaces(check_namespace(prefix), check_filter(filter))

    def health(self) -> Health:
        """Whether writes are taken, and what stands behind the answers."""
        held = self._indexes.held()
        keys, suspicion = self.key_state(), self._database.guard.suspicion
        recovering = any(index.recovering for index in held.values())
        status: Literal["ok", "recovering", "degraded"]
        status = "degraded" if suspicion else "recovering" if recovering else "ok"
        bindings = self._database.bindings()
        return Health(
            status=status,
            memories=self.count(),
            seq=self._database.head().seq,
            index_seq={modality: index.seq for modality, index in held.items()},
            index={modality: index.kind for modality, index in held.items()},
            embedder={modality: str(identity) for modality, identity in bindings.items()},
            driver=self._database.driver,
            encryption=keys.mode,
            detail=(*([suspicion] if suspicion else []), *keys.detail),
            dim={modality: self._ingest.dim(modality) for modality in {TEXT, *bindings}},
        )

    def verify(self, *, progress: Progress | None = None) -> list[str]:
        """Differences between the indexes and storage, and a field that does not open; empty when there is none.

        ``progress`` is told rows done and rows in all. Costs a pass over the keys of the vectors; where fields are
        sealed, every value is opened, some 10 microseconds each.
        """
        check_callbacks(progress=progress)
        return verified(self._database, self._indexes, progress)

    def key_state(self) -> KeyState:
        """Where the keys of the database stand; it asks the key service, where there is one, how it is."""
        return state_of(self._database)

    def rotate(self, *, progress: Progress | None = None) -> KeyState:
        """Put the database and its indexes under a new data key, and destroy the former one.

        Goes on with a rotation that was interrupted; killed at any moment, the store opens and the next call goes on.
        Pages are encrypted in place: reads and writes wait, about 1.7 s for 60 MB. Fields are sealed anew row by
        row: reads and writes go on, in other processes too, and ``progress`` is told rows done and rows in all.

        Raises:
            SettingsError: the database is not sealed.
            DatabaseBusy: another process has the file open, and its pages are encrypted.
            KeyFailure: the source gives no key.
            TamperSuspected: nobody accepted the database as it is.
        """
        self._writable()
        check_callbacks(progress=progress)
        return rotated(self._database, self._indexes, progress)

    def backup(self, path: str | PathLike[str], *, progress: Progress | None = None) -> Backup:
        """Copy the database, as it is at one moment, into a file, and return what the copy holds.

        Reads and writes go on. The copy is opened and every page checked before it takes the place of an older one.
        That of a sealed store is sealed by AES-256-GCM; its wrapped keys are in it, and beside it as ``.keys.json``.
        ``restore_store`` is the way back.

        Raises:
            InvalidInput: the path is that of the database itself.
            StorageError: the disk refused; an older backup of that name stays.
        """
        check_callbacks(progress=progress)
        return back_up(self._database, path, progress)

    def accept_state(self) -> None:
        """Believe in a database that :meth:`health` calls degraded, as it is; writes are taken again."""
        self._database.accept()

    def destroy(self) -> None:
        """Close the store, destroy its keys, and remove its files: nothing of it can be opened again.

        Of a sealed database every copy is unreadable with it, as long as nobody kept a copy of its key file and the
        key that wraps it. Of a plain one the file system and SSDs may keep what was removed.
        """
        self.close()
        destroyed(self._database)

    def reembed(self, embedder: Embedder | str | None = None, *, progress: Progress | None = None) -> int:
        """Embed every text anew with another embedder, switch to it at once, and return how many memories moved.

        The former embedder answers until the switch. Killed at any point, the next call goes on where this one was.
        Set ``AI_MODEL__EMBEDDER`` to the new one for the next time that the database is opened.

        Args:
            embedder: an object, or a name as in the settings; None is the one that the store was opened with.
            progress: told how many memories are done, and of how many.

        Raises:
            InvalidText: a memory has a text vector but no text.
            SettingsError: there is no such embedder, or none to move to.
        """
        self._writable()
        check_callbacks(progress=progress)
        target = self._habits.embedders(embedder) if isinstance(embedder, str) else embedder or self._ingest.embedder
        if not isinstance(target, Embedder):
            raise SettingsError(
                f"there is no embedder to move to, but {type(target).__name__}: name one, such as reembed('static')"
            )
        moved = reembed(Aside(self._database), self._ingest.towards(target), target.identity, progress)
        self._ingest.embedder = target
        return moved

    def close_models(self) -> None:
        """Free the weights of the embedder and of the cross-encoder; the next use loads them again."""
        self._retrieve.close_models()
        if self._ingest.embedder is not None:
            self._ingest.embedder.close()

    def settle(self) -> None:
        """Return when no index has work left in the background; searches never need it."""
        # In a forked child nobody is at work, and to wait for that would have no end.
        self._database.head()
        self._indexes.settle()

    def kv_put(self, collection: str, items: Mapping[str, object]) -> None:
        """Set keys of a collection to bytes or JSON values, all or none."""
        self._writable()
        self._database.write(lambda tx: kv.put(tx.connection, collection, items))

    def kv_get(self, collection: str, keys: Sequence[str]) -> list[object]:
        """The values in the order of the keys, None where there is none."""
        with self._database.reader() as connection:
            return kv.get(connection, collection, keys)

    def kv_delete(self, collection: str, keys: Sequence[str]) -> int:
        """Delete keys of a collection and return how many there were."""
        self._writable()
        return self._database.write(lambda tx: kv.delete(tx.connection, collection, keys))

    def kv_scan(
        self, collection: str, *, prefix: str = "", after: str = "", limit: int = 1000, descending: bool = False
    ) -> list[tuple[str, object]]:
        """Keys that begin with ``prefix`` and follow ``after``, with their values, at most ``limit``.

        The order is that of code points, ascending or descending; an empty ``after`` is the start of it.
        """
        with self._database.reader() as connection:
            return kv.scan(connection, collection, kv.Walk(prefix, after, descending), limit)

    def seq(self) -> int:
        """Number of the last committed change, other processes' included."""
        return self._database.head().seq

    def events(self, after: int, *, limit: int = 100) -> list[Event]:
        """The changes after a number, ascending, at most ``limit``: what somebody hears who follows the store."""
        check_whole(after, "after")
        check_whole(limit, "limit", 1)
        with self._database.reader() as connection:
            return events.read(connection, after, limit)

    def close(self) -> None:
        """Save the indexes and let go of the files; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._database.of_parent:
            return
        # In this order: no write is left that an index could miss, and the last ones of other processes are seen.
        self._database.stop_writes()
        self._indexes.close()
        self._database.close()
        self.close_models()

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the store."""
        self.close()

    @staticmethod
    def _once(tx: SqlTransaction, key: str, digest: bytes, work: Callable[[], T]) -> T:
        return once(tx.connection, key, digest, int(tx.now.timestamp() * 1e6), work)
