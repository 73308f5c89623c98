"""The awaitable door: one thread hop a call, no loop of its own."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from os import PathLike
from typing import TYPE_CHECKING, Literal, overload

from ums_core.channels.care import Backup
from ums_core.channels.door import Door
from ums_core.ports import Embedder
from ums_core.ports.sealed import KeyState
from ums_core.ports.tending import Cancel, Progress, Strategy
from ums_core.records import Draft, Event, Filter, Health, Hit, Memory, Namespace, Page, Patch, Query, Receipt
from ums_core.records.distinct import Distinct, Duplicates
from ums_core.records.lifecycle import Change, Consolidation, Forgetting
from ums_core.records.maintenance import Maintenance, Step

if TYPE_CHECKING:
    from ums_core.records.memory import Vector

__all__ = ["EnhancedMemoryStore"]


class EnhancedMemoryStore(Door):
    """The awaitable face of a store: every verb of ``MemoryStore``, and the verbs users know.

    Each call hops once to a thread pool of ``settings.perf.max_workers``; nothing is bound to an event loop, so one
    object serves any number of loops, one after the other or side by side. A write that is cancelled may still
    commit: give it an ``idempotency_key`` if it is to be repeated.

    Args:
        source: settings, which open a store at the first use and close it with this object; a store of any channel,
            which stays its owner's; None reads the environment.

    Raises:
        SettingsError: the source is something else.
    """

    async def add_memory(
        self,
        text: str = "",
        *,
        embedding: "Vector | None" = None,
        idempotency_key: str | None = None,
        **fields: object,
    ) -> Memory:
        """Store one memory and return it.

        Args:
            text: what to remember.
            embedding: the caller's own vector, shape (d,); None lets the store embed the text.
            idempotency_key: the same key with the same memory stores it once.
            **fields: any other field of :class:`~ums_core.Draft`, such as ``role``, ``tags`` or ``namespace``.
        """
        draft = Draft(text=text, embedding=embedding, **fields)  # type: ignore[arg-type]  # checked by Draft
        return (await self.add([draft], idempotency_key=idempotency_key))[0]

    @overload
    async def semantic_search(
        self, query: str | None = None, *, return_distance: Literal[True], **options: object
    ) -> list[tuple[Memory, float]]: ...

    @overload
    async def semantic_search(
        self, query: str | None = None, *, return_distance: Literal[False] = False, **options: object
    ) -> list[Memory]: ...

    async def semantic_search(
        self, query: str | None = None, *, return_distance: bool = False, **options: object
    ) -> list[Memory] | list[tuple[Memory, float]]:
        """The memories nearest in meaning, best first.

        Args:
            query: the question in words; or give ``vector=``.
            return_distance: give (memory, distance) pairs; the distance is 1 - cosine, in [0, 2], lower is nearer.
            **options: ``vector``, ``k``, ``metadata_filter``, ``level``, ``namespace`` and ``modality``, as in
                :class:`~ums_core.Query`, where ``metadata_filter`` is called ``filter``.
        """
        if "metadata_filter" in options:
            options["filter"] = options.pop("metadata_filter")
        question = Query(text=query, mode="vector", **options)  # type: ignore[arg-type]  # checked by Query
        hits = await self.search(question)
        if return_distance:
            return [(hit.memory, 1.0 - (hit.similarity or 0.0)) for hit in hits]
        return [hit.memory for hit in hits]

    async def add(self, drafts: Sequence[Draft], *, idempotency_key: str | None = None) -> list[Memory]:
        """Store the drafts durably and return them as memories, in the same order."""
        return await self._hop(lambda: self.sync.add(drafts, idempotency_key=idempotency_key))

    async def get(self, ids: Sequence[str], *, namespace: Namespace = (), vectors: bool = False) -> list[Memory | None]:
        """The memories of one exact namespace, in the order of the ids, None where there is none."""
        return await self._hop(lambda: self.sync.get(ids, namespace=namespace, vectors=vectors))

    async def update(self, patches: Sequence[Patch], *, idempotency_key: str | None = None) -> list[Memory]:
        """Change some fields of existing memories and return them as they are now."""
        return await self._hop(lambda: self.sync.update(patches, idempotency_key=idempotency_key))

    async def delete(self, ids: Sequence[str], *, namespace: Namespace = (), idempotency_key: str | None = None) -> int:
        """Delete from one exact namespace, and return how many there were; unknown ids are ignored."""
        return await self._hop(lambda: self.sync.delete(ids, namespace=namespace, idempotency_key=idempotency_key))

    async def erase(
        self, ids: Sequence[str], *, namespace: Namespace = (), idempotency_key: str | None = None
    ) -> Receipt:
        """Delete for good, with all that was derived, and say so in a receipt; see ``LocalStore.erase``."""
        return await self._hop(
            lambda: self._local("erase").erase(ids, namespace=namespace, idempotency_key=idempotency_key)
        )

    async def verify_erased(self, receipt: Receipt) -> list[str]:
        """What is left of an erasure, in words; empty when there is nothing."""
        return await self._hop(lambda: self._local("verify_erased").verify_erased(receipt))

    async def key_state(self) -> KeyState:
        """Where the keys of the database stand."""
        return await self._hop(lambda: self._local("key_state").key_state())

    async def rotate(self, *, progress: Progress | None = None) -> KeyState:
        """Put the database and its indexes under a new data key; see ``LocalStore.rotate``."""
        return await self._hop(lambda: self._local("rotate").rotate(progress=progress))

    async def backup(self, path: str | PathLike[str], *, progress: Progress | None = None) -> Backup:
        """Copy the database, as it is at one moment, into a file; see ``LocalStore.backup``."""
        return await self._hop(lambda: self._local("backup").backup(path, progress=progress))

    async def accept_state(self) -> None:
        """Believe in a database that :meth:`health` calls degraded, as it is; writes are taken again."""
        await self._hop(lambda: self._local("accept_state").accept_state())

    async def destroy(self) -> None:
        """Close the store, destroy its keys, and remove its files; see ``LocalStore.destroy``."""
        await self._hop(lambda: self._local("destroy").destroy())

    async def search(self, query: Query) -> list[Hit]:
        """The best hits, best first, at most ``query.k``; what has expired is never among them."""
        return await self._hop(lambda: self.sync.search(query))

    async def scan(
        self,
        *,
        namespace: Namespace = (),
        filter: Filter | Mapping[str, object] | None = None,  # noqa: A002  # the field's standard term
        limit: int = 100,
        cursor: int | None = None,
        descending: bool = False,
    ) -> Page:
        """One page of all memories under a namespace prefix, as they were first stored, or from the last one back."""
        return await self._hop(
            lambda: self.sync.scan(
                namespace=namespace, filter=filter, limit=limit, cursor=cursor, descending=descending
            )
        )

    async def count(
        self,
        *,
        namespace: Namespace = (),
        filter: Filter | Mapping[str, object] | None = None,  # noqa: A002  # the field's standard term
    ) -> int:
        """How many memories there are under a namespace prefix."""
        return await self._hop(lambda: self.sync.count(namespace=namespace, filter=filter))

    async def namespaces(
        self,
        *,
        prefix: Namespace = (),
        filter: Filter | Mapping[str, object] | None = None,  # noqa: A002  # the field's standard term
    ) -> list[Namespace]:
        """All namespaces under the prefix that hold a memory which meets the filter, in ascending order of labels."""
        return await self._hop(lambda: self.sync.namespaces(prefix=prefix, filter=filter))

    async def add_distinct(
        self, drafts: Sequence[Draft], *, duplicates: Duplicates = "report", similarity: float = 0.95
    ) -> Distinct:
        """Store the drafts that say what no memory of their namespace and level says yet; see the protocol."""
        return await self._hop(lambda: self.sync.add_distinct(drafts, duplicates=duplicates, similarity=similarity))

    async def consolidate(  # noqa: PLR0913  # the options of a verb, all by name
        self,
        *,
        threshold: float = 0.8,
        level: int = 0,
        namespace: Namespace | None = None,
        strategy: Strategy | str | None = None,
        dry_run: bool = False,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> Consolidation:
        """Merge what is alike among memories, from a level up, until nothing merges; see the protocol."""
        return await self._hop(
            lambda: self.sync.consolidate(
                threshold=threshold,
                level=level,
                namespace=namespace,
                strategy=strategy,
                dry_run=dry_run,
                progress=progress,
                cancel=cancel,
            )
        )

    async def consolidate_memories(self, **options: object) -> Consolidation:
        """Merge what is alike; :meth:`consolidate` by the name that users know, with its options."""
        return await self.consolidate(**options)  # type: ignore[arg-type]  # checked by the verb

    async def maintain(
        self,
        *,
        steps: Sequence[Step] | None = None,
        dry_run: bool = False,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> Maintenance:
        """Do what is due: sweep what has expired, consolidate, forget, purge; see the protocol."""
        return await self._hop(
            lambda: self.sync.maintain(steps=steps, dry_run=dry_run, progress=progress, cancel=cancel)
        )

    async def expand(self, id: str, *, namespace: Namespace = ()) -> list[Memory]:  # noqa: A002  # as in every record
        """What a summary was made from, in the order of its ``source_ids``, archived or alive."""
        return await self._hop(lambda: self.sync.expand(id, namespace=namespace))

    async def history(self, id: str, *, namespace: Namespace = ()) -> list[Change]:  # noqa: A002  # as in every record
        """Who did what to a memory of one exact namespace, the first change first."""
        return await self._hop(lambda: self.sync.history(id, namespace=namespace))

    async def reinforce(self, ids: Sequence[str], *, namespace: Namespace = ()) -> int:
        """Note that memories of one exact namespace were used, and return how many of them there are."""
        return await self._hop(lambda: self.sync.reinforce(ids, namespace=namespace))

    async def forget(  # noqa: PLR0913  # the verb that users know
        self,
        *,
        min_total: int = 0,
        retain_fraction: float = 0.9,
        namespace: Namespace | None = None,
        where: Filter | Mapping[str, object] | None = None,
        erase: bool = False,
        dry_run: bool = False,
    ) -> Forgetting:
        """Forget the memories that are kept least firmly, or say which they would be; see the protocol."""
        return await self._hop(
            lambda: self.sync.forget(
                min_total=min_total,
                retain_fraction=retain_fraction,
                namespace=namespace,
                where=where,
                erase=erase,
                dry_run=dry_run,
            )
        )

    async def supersede(
        self, old_id: str, draft: Draft, *, namespace: Namespace = (), idempotency_key: str | None = None
    ) -> Memory:
        """Store a memory that is true in place of another one, archive that, and return the new one."""
        return await self._hop(
            lambda: self.sync.supersede(old_id, draft, namespace=namespace, idempotency_key=idempotency_key)
        )

    async def undo(self, batch: str) -> int:
        """Bring back what a batch put into the archive, and return how many memories live again."""
        return await self._hop(lambda: self.sync.undo(batch))

    async def mark_access(self, ids: Sequence[str], *, namespace: Namespace = ()) -> int:
        """As ``reinforce``, by the name that the HTTP interface has for it."""
        return await self.reinforce(ids, namespace=namespace)

    async def forget_memories(  # noqa: PLR0913  # the verb that users know
        self,
        *,
        min_total: int = 0,
        retain_fraction: float = 0.9,
        namespace: Namespace | None = None,
        where: Filter | Mapping[str, object] | None = None,
        erase: bool = False,
        dry_run: bool = False,
    ) -> int:
        """As ``forget``, and return how many memories are gone, or would be; see ``MemoryStore.forget``."""
        done = await self.forget(
            min_total=min_total,
            retain_fraction=retain_fraction,
            namespace=namespace,
            where=where,
            erase=erase,
            dry_run=dry_run,
        )
        return len(done.forgotten)

    async def sweep(self, limit: int = 1000) -> int:
        """Delete what has expired, at most so many, and return how many there were."""
        return await self._hop(lambda: self._local("sweep").sweep(limit))

    async def purge(self, limit: int = 1000) -> int:
        """Delete for good what was forgotten and can no longer be brought back, and return how many memories went."""
        return await self._hop(lambda: self._local("purge").purge(limit))

    async def history_mark(self) -> str:
        """Where the history ends now, to be kept elsewhere and given to ``verify_history``."""
        return await self._hop(lambda: self._local("history_mark").history_mark())

    async def verify_history(self, *, reached: str | None = None, progress: Progress | None = None) -> list[str]:
        """What is wrong with the history, in words; empty when all is right."""
        return await self._hop(lambda: self._local("verify_history").verify_history(reached=reached, progress=progress))

    async def prune_history(self, before: datetime, limit: int = 1000) -> int:
        """Let the history forget the changes before a moment, at most so many, and return how many there were."""
        return await self._hop(lambda: self._local("prune_history").prune_history(before, limit))

    async def health(self) -> Health:
        """Whether writes are taken, and what stands behind the answers."""
        return await self._hop(lambda: self.sync.health())  # noqa: PLW0108  # opens the store in the pool, not here

    async def reembed(self, embedder: Embedder | str | None = None, *, progress: Progress | None = None) -> int:
        """Embed every text anew with another embedder and switch to it at once; see ``LocalStore.reembed``."""
        return await self._hop(lambda: self._local("reembed").reembed(embedder, progress=progress))

    async def seq(self) -> int:
        """Number of the last committed change, other processes' included."""
        return await self._hop(lambda: self._local("seq").seq())

    async def events(self, after: int, *, limit: int = 100) -> list[Event]:
        """The changes after a number, ascending, at most ``limit``: what somebody hears who follows the store."""
        return await self._hop(lambda: self._local("events").events(after, limit=limit))

    async def verify(self, *, progress: Progress | None = None) -> list[str]:
        """Differences between the indexes and storage, in words; see ``LocalStore.verify``."""
        return await self._hop(lambda: self._local("verify").verify(progress=progress))

    async def settle(self) -> None:
        """Return when no index has work left in the background; searches never need it."""
        await self._hop(lambda: self._local("settle").settle())

    async def close_models(self) -> None:
        """Free the weights of the embedder and of the cross-encoder; the next use loads them again."""
        await self._hop(lambda: self._local("close_models").close_models())

    async def kv_put(self, collection: str, items: Mapping[str, object]) -> None:
        """Set keys of a collection to bytes or JSON values, all or none."""
        await self._hop(lambda: self.sync.kv_put(collection, items))

    async def kv_get(self, collection: str, keys: Sequence[str]) -> list[object]:
        """The values in the order of the keys, None where there is none."""
        return await self._hop(lambda: self.sync.kv_get(collection, keys))

    async def kv_delete(self, collection: str, keys: Sequence[str]) -> int:
        """Delete keys of a collection and return how many there were."""
        return await self._hop(lambda: self.sync.kv_delete(collection, keys))

    async def kv_scan(
        self, collection: str, *, prefix: str = "", after: str = "", limit: int = 1000, descending: bool = False
    ) -> list[tuple[str, object]]:
        """Keys that begin with ``prefix`` and follow ``after``, with their values, at most ``limit``.

        The order is that of code points, ascending or descending; an empty ``after`` is the start of it.
        """
        return await self._hop(
            lambda: self.sync.kv_scan(collection, prefix=prefix, after=after, limit=limit, descending=descending)
        )
