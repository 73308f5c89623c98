"""The channel to a service: the same verbs, over HTTP."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NoReturn, Self

from ums_core.channels.streaming import follow, send
from ums_core.channels.transport import RemoteOptions, Transport
from ums_core.policy import check_verb
from ums_core.ports.tending import Cancel, Progress, Strategy
from ums_core.records import Draft, Filter, Health, Hit, Memory, Namespace, Page, Patch, Query
from ums_core.records.distinct import Distinct, Duplicates
from ums_core.records.event import Event
from ums_core.records.lifecycle import Change, Consolidation, Forgetting
from ums_core.records.maintenance import Maintenance, Step
from ums_core.wire import calls
from ums_core.wire.stream import Ack

__all__ = ["RemoteStore"]


class RemoteStore:
    """A :class:`~ums_core.ports.MemoryStore` that a service keeps. Blocking and thread-safe; extra ``http``.

    The token decides which tenant's memories these are. What reads is repeated when an answer is lost, and so is what
    writes under an idempotency key; any other write is sent once. Errors are those that the service raised.

    Args:
        url: of the service, such as ``https://memory.example.org``; ``http://`` only to this machine.
        token: what ``ums tokens create`` printed.
        options: deadlines, attempts and certificates.

    Raises:
        SettingsError: the url or the token cannot be used.
        MissingExtra: httpx is not installed.
    """

    def __init__(self, url: str, token: str, options: RemoteOptions | None = None) -> None:
        options = options or RemoteOptions()
        self._privacy_mode = options.privacy_mode
        self._transport = Transport(url, token, options)

    def add(self, drafts: Sequence[Draft], *, idempotency_key: str | None = None) -> list[Memory]:
        """Store the drafts durably and return them as memories, in the same order; see the protocol."""
        return self._transport.send(calls.add(drafts, idempotency_key=idempotency_key))

    def get(self, ids: Sequence[str], *, namespace: Namespace = (), vectors: bool = False) -> list[Memory | None]:
        """The memories of one exact namespace, in the order of the ids, None where there is none."""
        return self._transport.send(calls.get(ids, namespace=namespace, vectors=vectors))

    def update(self, patches: Sequence[Patch], *, idempotency_key: str | None = None) -> list[Memory]:
        """Change some fields of existing memories and return them as they are now; see the protocol."""
        return self._transport.send(calls.update(patches, idempotency_key=idempotency_key))

    def delete(self, ids: Sequence[str], *, namespace: Namespace = (), idempotency_key: str | None = None) -> int:
        """Delete from one exact namespace, and return how many there were; unknown ids are ignored."""
        return self._transport.send(calls.delete(ids, namespace=namespace, idempotency_key=idempotency_key))

    def search(self, query: Query) -> list[Hit]:
        """The best hits, best first, at most ``query.k``; what has expired is never among them."""
        return self._transport.send(calls.search(query))

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
        return self._transport.send(
            calls.scan(namespace=namespace, filter=filter, limit=limit, cursor=cursor, descending=descending)
        )

    def count(
        self,
        *,
        namespace: Namespace = (),
        filter: Filter | Mapping[str, object] | None = None,  # noqa: A002  # the field's standard term
    ) -> int:
        """How many memories there are under a namespace prefix."""
        return self._transport.send(calls.count(namespace=namespace, filter=filter))

    def namespaces(
        self,
        *,
        prefix: Namespace = (),
        filter: Filter | Mapping[str, object] | None = None,  # noqa: A002  # the field's standard term
    ) -> list[Namespace]:
        """All namespaces under the prefix that hold a memory which meets the filter, in ascending order of labels."""
        return self._transport.send(calls.namespaces(prefix=prefix, filter=filter))

    def add_distinct(
        self, drafts: Sequence[Draft], *, duplicates: Duplicates = "report", similarity: float = 0.95
    ) -> Distinct:
        """Store the drafts that say what no memory of their namespace and level says yet; see the protocol."""
        return self._transport.send(calls.add_distinct(drafts, duplicates=duplicates, similarity=similarity))

    def consolidate(  # noqa: PLR0913  # the options of a verb, all by name
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
        calls.check_here(progress, cancel)
        return self._transport.send(
            calls.consolidate(threshold=threshold, level=level, namespace=namespace, strategy=strategy, dry_run=dry_run)
        )

    def maintain(
        self,
        *,
        steps: Sequence[Step] | None = None,
        dry_run: bool = False,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> Maintenance:
        """Do what is due: sweep what has expired, consolidate, forget, purge; see the protocol."""
        calls.check_here(progress, cancel)
        return self._transport.send(calls.maintain(steps=steps, dry_run=dry_run))

    def expand(self, id: str, *, namespace: Namespace = ()) -> list[Memory]:  # noqa: A002  # as in every record
        """What a summary was made from, in the order of its ``source_ids``, archived or alive."""
        return self._transport.send(calls.expand(id, namespace=namespace))

    def history(self, id: str, *, namespace: Namespace = ()) -> list[Change]:  # noqa: A002  # as in every record
        """Who did what to a memory of one exact namespace, the first change first."""
        return self._transport.send(calls.history(id, namespace=namespace))

    def reinforce(self, ids: Sequence[str], *, namespace: Namespace = ()) -> int:
        """Note that memories of one exact namespace were used, and return how many of them there are."""
        check_verb("reinforce", self._privacy_mode)
        return self._transport.send(calls.reinforce(ids, namespace=namespace))

    def forget(  # noqa: PLR0913  # the verb that users know
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
        return self._transport.send(
            calls.forget(
                min_total=min_total,
                retain_fraction=retain_fraction,
                namespace=namespace,
                where=where,
                erase=erase,
                dry_run=dry_run,
            )
        )

    def supersede(
        self, old_id: str, draft: Draft, *, namespace: Namespace = (), idempotency_key: str | None = None
    ) -> Memory:
        """Store a memory that is true in place of another one, archive that, and return the new one."""
        call = calls.supersede(old_id, draft, namespace=namespace, idempotency_key=idempotency_key)
        return self._transport.send(call)

    def undo(self, batch: str) -> int:
        """Bring back what a batch put into the archive, and return how many memories live again."""
        return self._transport.send(calls.undo(batch))

    def kv_put(self, collection: str, items: Mapping[str, object]) -> None:
        """Set keys of a collection to bytes or JSON values, all or none."""
        self._transport.send(calls.kv_put(collection, items))

    def kv_get(self, collection: str, keys: Sequence[str]) -> list[object]:
        """The values in the order of the keys, None where there is none."""
        return self._transport.send(calls.kv_get(collection, keys))

    def kv_delete(self, collection: str, keys: Sequence[str]) -> int:
        """Delete keys of a collection and return how many there were."""
        return self._transport.send(calls.kv_delete(collection, keys))

    def kv_scan(
        self, collection: str, *, prefix: str = "", after: str = "", limit: int = 1000, descending: bool = False
    ) -> list[tuple[str, object]]:
        """Keys that begin with ``prefix`` and follow ``after``, with their values, at most ``limit``."""
        return self._transport.send(
            calls.kv_scan(collection, prefix=prefix, after=after, limit=limit, descending=descending)
        )

    def health(self) -> Health:
        """Whether the service takes writes, and what stands behind its answers."""
        return self._transport.send(calls.health())

    def stream(self, drafts: Iterable[tuple[str, Draft]]) -> Iterator[Ack]:
        """Store drafts one by one as they come, each under its idempotency key; the answers in their order.

        A draft is durable when its answer comes. After a drop, what was not answered is sent again, and stored once.

        Raises:
            TryLater, ServiceUnreachable: nothing was answered for as many connections as the options allow.
            MissingExtra: websockets is not installed.
        """
        return send(self._transport, drafts)

    def events(self, after: int) -> Iterator[Event]:
        """The changes of the store after a number, such as ``health().seq``, as they come; it does not end by itself.

        Raises:
            TryLater, ServiceUnreachable: nothing came for as many connections as the options allow.
        """
        return follow(self._transport, after)

    def close(self) -> None:
        """Let calls under way end, and the connections go; the service goes on. A second call does nothing."""
        self._transport.close()

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let the connections go."""
        self.close()

    def __repr__(self) -> str:
        """Return the address without the token."""
        return f"RemoteStore({self._transport.url!r})"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: a token does not go into files."""
        raise TypeError("a RemoteStore holds a token and is not pickled; make one from the settings where it is needed")
