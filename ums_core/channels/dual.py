"""The personal store on the device and a global one elsewhere, as one."""

import logging
import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import replace
from threading import Lock
from time import monotonic
from typing import Literal, Self

from ums_core.channels.promotion import Promotion, said
from ums_core.errors import InvalidField, InvalidQuery, MemoryNotFound, SettingsError, StoreClosed, UMSError
from ums_core.policy import (
    MODES,
    PrivacyMode,
    blinded,
    check_consent,
    condition_on_device,
    draft_to_send,
    promoted,
    query_to_send,
)
from ums_core.ports import MemoryStore, PersonalStore
from ums_core.ports.tending import Cancel, Progress, Strategy
from ums_core.ranking.rrf import rrf
from ums_core.records import Draft, Filter, Health, Hit, Hits, Memory, Namespace, Page, Patch, Query
from ums_core.records.arguments import check_batch, check_ids, check_query
from ums_core.records.check import check_label, check_namespace
from ums_core.records.distinct import Distinct, Duplicates
from ums_core.records.lifecycle import Change, Consolidation, Forgetting
from ums_core.records.maintenance import Maintenance, Step
from ums_core.records.match import matches

__all__ = ["DualStore"]

_log = logging.getLogger("ums_core")
# Searches that wait for the global side at one moment; a side that hangs takes no more threads than that.
_WAITING = 8
# A filter that stays on the device drops some of what the global side finds, so more is asked for.
_SPARE = 4
_COLLECTION, _SECRET = "ums.dual", "secret"


class DualStore:
    """Two stores as one :class:`~ums_core.ports.MemoryStore`; ``ums_core.policy`` decides what leaves the device.

    A draft goes where its ``channel`` says, a query asks whom its ``channel`` says; both are personal unless marked.
    Every verb that names memories (get, update, delete, scan, count, namespaces, and the key-value ones) is for the
    personal store: names stay on the device. For the global ones, use ``global_`` itself. Thread-safe.

    Args:
        personal: keeps everything on this device.
        global_: shared with others; any store.
        privacy_mode: ``strict`` or ``standard``, see ``ums_core.policy``.
        budget_s: seconds that a search waits for the global side, from its start.

    Raises:
        SettingsError: the personal store is not on this device, or a value that is not one.
    """

    def __init__(
        self,
        personal: PersonalStore,
        global_: MemoryStore,
        *,
        privacy_mode: PrivacyMode = "strict",
        budget_s: float = 2.0,
    ) -> None:
        if getattr(personal, "on_device", None) is not True:
            raise SettingsError(f"the personal store must be on this device, such as a LocalStore, got {personal!r}")
        if privacy_mode not in MODES:
            raise SettingsError(f"privacy_mode must be one of {', '.join(MODES)}, got {privacy_mode!r}")
        if not budget_s > 0:
            raise SettingsError(f"budget_s must be greater than 0, got {budget_s!r}")
        self.personal = personal
        self.global_ = global_
        self._mode: PrivacyMode = privacy_mode
        self._budget_s = budget_s
        self._threads = ThreadPoolExecutor(_WAITING, thread_name_prefix="ums-global")
        self._lock = Lock()
        self._secret: bytes | None = None
        self._last = "not asked yet"

    def add(self, drafts: Sequence[Draft], *, idempotency_key: str | None = None) -> list[Memory]:
        """Store the drafts where their channel says, all or none, so one batch is of one channel; see the protocol."""
        drafts = check_batch(drafts, Draft)
        channels = {draft.channel for draft in drafts}
        if channels <= {"personal"}:
            return self.personal.add(drafts, idempotency_key=idempotency_key)
        if len(channels) > 1:
            raise InvalidField(
                "a batch is stored whole or not at all, so its drafts must name one channel; add it in two"
            )
        key = idempotency_key
        if key is not None:
            key = self._blinded("add", check_label(key, "idempotency_key"))
        return self.global_.add([draft_to_send(draft, self._mode) for draft in drafts], idempotency_key=key)

    def search(self, query: Query) -> Hits:
        """The best hits of the sides that the query's channel names, best first; each says its channel.

        Asked both, the ranks are fused: scores of two stores are not comparable, and ``score`` is then the sum of
        reciprocal ranks. A global side that fails or takes longer than the budget leaves the personal hits, and
        ``degraded`` says why. Asked alone, it raises its error.

        Raises:
            InvalidQuery: ``group`` or ``max_tokens``, which shape the answer of one store, with both channels.
        """
        channel = check_query(query).channel
        if channel == "personal":
            return Hits(_marked(self.personal.search(query), "personal"))
        if channel == "global":
            return Hits(self._ask_global(query))
        if query.group is not None or query.max_tokens is not None:
            raise InvalidQuery("group and max_tokens shape the answer of one store; ask the channels one by one")
        return self._ask_both(query)

    def promote(self, ids: Sequence[str], promotion: Promotion, *, namespace: Namespace = ()) -> list[Memory | None]:
        """Publish personal memories on the global side, and return what they are there, None for those that stay.

        Each is redacted, then shown to ``promotion.consent``, then sent as shown. The same promotion again gives the
        same global memories. Those that move are deleted here after they are stored there.

        Raises:
            ConsentRequired: there is nobody to consent.
            MemoryNotFound: one of them does not exist; nothing was sent.
        """
        check_consent(promotion.consent)
        ids, namespace = check_ids(ids), check_namespace(namespace)
        memories = self.personal.get(ids, namespace=namespace, vectors=True)
        outgoing: dict[str, Draft] = {}
        for id_, memory in zip(ids, memories, strict=True):
            if memory is None:
                raise MemoryNotFound(f"no memory {id_!r} in namespace {namespace!r}; nothing was promoted")
            redacted = promotion.redact(promoted(memory, self._mode))
            if redacted is None:
                continue
            draft = draft_to_send(replace(redacted, channel="global"), self._mode)
            if promotion.consent(draft) is True:
                outgoing[id_] = draft
        if not outgoing:
            return [None] * len(ids)
        key = self._blinded("promote", namespace, sorted(outgoing), [said(draft) for draft in outgoing.values()])
        stored = dict(zip(outgoing, self.global_.add(list(outgoing.values()), idempotency_key=key), strict=True))
        if promotion.move:
            self.personal.delete(list(outgoing), namespace=namespace)
        return [stored.get(id_) for id_ in ids]

    def get(self, ids: Sequence[str], *, namespace: Namespace = (), vectors: bool = False) -> list[Memory | None]:
        """Personal memories, in the order of the ids, None where there is none."""
        return self.personal.get(ids, namespace=namespace, vectors=vectors)

    def update(self, patches: Sequence[Patch], *, idempotency_key: str | None = None) -> list[Memory]:
        """Change some fields of personal memories and return them as they are now; see the protocol."""
        return self.personal.update(patches, idempotency_key=idempotency_key)

    def delete(self, ids: Sequence[str], *, namespace: Namespace = (), idempotency_key: str | None = None) -> int:
        """Delete personal memories, and return how many there were; unknown ids are ignored."""
        return self.personal.delete(ids, namespace=namespace, idempotency_key=idempotency_key)

    def scan(
        self,
        *,
        namespace: Namespace = (),
        filter: Filter | Mapping[str, object] | None = None,  # noqa: A002  # the field's standard term
        limit: int = 100,
        cursor: int | None = None,
        descending: bool = False,
    ) -> Page:
        """One page of all personal memories under a prefix, as they were first stored, or from the last one back."""
        return self.personal.scan(namespace=namespace, filter=filter, limit=limit, cursor=cursor, descending=descending)

    def count(
        self,
        *,
        namespace: Namespace = (),
        filter: Filter | Mapping[str, object] | None = None,  # noqa: A002  # the field's standard term
    ) -> int:
        """How many personal memories there are under a namespace prefix."""
        return self.personal.count(namespace=namespace, filter=filter)

    def namespaces(
        self,
        *,
        prefix: Namespace = (),
        filter: Filter | Mapping[str, object] | None = None,  # noqa: A002  # the field's standard term
    ) -> list[Namespace]:
        """All namespaces under the prefix that hold a personal memory which meets the filter, in ascending order."""
        return self.personal.namespaces(prefix=prefix, filter=filter)

    def add_distinct(
        self, drafts: Sequence[Draft], *, duplicates: Duplicates = "report", similarity: float = 0.95
    ) -> Distinct:
        """Store the drafts that say what no personal memory of their namespace and level says yet; see the protocol."""
        if any(draft.channel != "personal" for draft in check_batch(drafts, Draft)):
            raise InvalidField("what is known is looked for on this device: add global drafts with add()")
        return self.personal.add_distinct(drafts, duplicates=duplicates, similarity=similarity)

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
        """Merge what is alike among personal memories, from a level up, until nothing merges; see the protocol."""
        return self.personal.consolidate(
            threshold=threshold,
            level=level,
            namespace=namespace,
            strategy=strategy,
            dry_run=dry_run,
            progress=progress,
            cancel=cancel,
        )

    def maintain(
        self,
        *,
        steps: Sequence[Step] | None = None,
        dry_run: bool = False,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> Maintenance:
        """Do what is due on this device: sweep what has expired, consolidate, forget, purge; see the protocol."""
        return self.personal.maintain(steps=steps, dry_run=dry_run, progress=progress, cancel=cancel)

    def expand(self, id: str, *, namespace: Namespace = ()) -> list[Memory]:  # noqa: A002  # as in every record
        """What a personal summary was made from, in the order of its ``source_ids``, archived or alive."""
        return self.personal.expand(id, namespace=namespace)

    def history(self, id: str, *, namespace: Namespace = ()) -> list[Change]:  # noqa: A002  # as in every record
        """Who did what to a personal memory of one exact namespace, the first change first."""
        return self.personal.history(id, namespace=namespace)

    def reinforce(self, ids: Sequence[str], *, namespace: Namespace = ()) -> int:
        """Note that personal memories of one exact namespace were used, and return how many of them there are."""
        return self.personal.reinforce(ids, namespace=namespace)

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
        """Forget the personal memories that are kept least firmly, or say which they would be; see the protocol."""
        return self.personal.forget(
            min_total=min_total,
            retain_fraction=retain_fraction,
            namespace=namespace,
            where=where,
            erase=erase,
            dry_run=dry_run,
        )

    def supersede(
        self, old_id: str, draft: Draft, *, namespace: Namespace = (), idempotency_key: str | None = None
    ) -> Memory:
        """Store a personal memory that is true in place of another one, archive that, and return the new one."""
        return self.personal.supersede(old_id, draft, namespace=namespace, idempotency_key=idempotency_key)

    def undo(self, batch: str) -> int:
        """Bring back what a batch put into the archive, and return how many personal memories live again."""
        return self.personal.undo(batch)

    def kv_put(self, collection: str, items: Mapping[str, object]) -> None:
        """Set keys of a personal collection to bytes or JSON values, all or none."""
        self.personal.kv_put(collection, items)

    def kv_get(self, collection: str, keys: Sequence[str]) -> list[object]:
        """The personal values in the order of the keys, None where there is none."""
        return self.personal.kv_get(collection, keys)

    def kv_delete(self, collection: str, keys: Sequence[str]) -> int:
        """Delete keys of a personal collection and return how many there were."""
        return self.personal.kv_delete(collection, keys)

    def kv_scan(
        self, collection: str, *, prefix: str = "", after: str = "", limit: int = 1000, descending: bool = False
    ) -> list[tuple[str, object]]:
        """Personal keys that begin with ``prefix`` and follow ``after``, with their values, at most ``limit``."""
        return self.personal.kv_scan(collection, prefix=prefix, after=after, limit=limit, descending=descending)

    def health(self) -> Health:
        """How the personal store is, and in ``detail`` how the global one last answered; it is not asked for this."""
        health = self.personal.health()
        return replace(health, detail=(*health.detail, f"global channel: {self._last}"))

    def close(self) -> None:
        """Close both stores; a second call does nothing."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.global_.close()
        self.personal.close()

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the stores."""
        self.close()

    def _ask_both(self, query: Query) -> Hits:
        started = monotonic()
        # Pages add up over both sides only where each begins with its best.
        whole = replace(query, offset=0, k=query.offset + query.k)
        try:
            pending = self._threads.submit(self._ask_global, whole)
        except RuntimeError as error:
            raise StoreClosed("the two stores were closed; open them again") from error
        try:
            personal = _marked(self.personal.search(replace(whole, channel="personal")), "personal")
        except BaseException:
            pending.cancel()
            raise
        others, degraded = self._await(pending, started + self._budget_s)
        hits = Hits(_fused(personal, others)[query.offset : query.offset + query.k])
        hits.degraded = degraded
        return hits

    def _await(self, pending: "Future[list[Hit]]", deadline: float) -> tuple[list[Hit], str | None]:
        try:
            return pending.result(timeout=max(0.0, deadline - monotonic())), None
        except NotInTime:
            pending.cancel()
            why = f"no answer within {self._budget_s:g} s"
            self._last = why
        except CancelledError:
            why = "closed before it was asked"
        except UMSError as error:
            why = f"{error.code}: {error}"
        _log.warning("the global channel has no part in an answer: %s", why)
        return [], why

    def _ask_global(self, query: Query) -> list[Hit]:
        condition = condition_on_device(query, self._mode)
        sent = query_to_send(query, self._mode)
        if condition is not None:
            sent = replace(sent, k=(query.offset + query.k) * _SPARE, offset=0)
        try:
            hits = self.global_.search(sent)
        except UMSError as error:
            self._last = f"{error.code}: {error}"
            raise
        self._last = "answers"
        if condition is not None:
            hits = [_meeting(hit, condition) for hit in hits if matches(condition, hit.memory)]
            hits = hits[query.offset : query.offset + query.k]
        return _marked(hits, "global")

    def _blinded(self, *parts: object) -> str:
        with self._lock:
            if self._secret is None:
                (kept,) = self.personal.kv_get(_COLLECTION, [_SECRET])
                if not isinstance(kept, bytes):
                    kept = secrets.token_bytes(32)
                    self.personal.kv_put(_COLLECTION, {_SECRET: kept})
                self._secret = kept
        return blinded(self._secret, *parts)


def _marked(hits: Sequence[Hit], channel: Literal["personal", "global"]) -> list[Hit]:
    return [replace(hit, channel=channel) for hit in hits]


def _meeting(hit: Hit, condition: Filter) -> Hit:
    before = tuple(memory for memory in hit.before if matches(condition, memory))
    return replace(hit, before=before, after=tuple(memory for memory in hit.after if matches(condition, memory)))


def _fused(personal: Sequence[Hit], others: Sequence[Hit]) -> list[Hit]:
    """Both rankings as one; what was promoted and kept is one hit, the personal one."""
    known = {hit.memory.text: place for place, hit in reversed(list(enumerate(personal))) if hit.memory.text}
    hits = [*personal, *others]
    theirs = [known.get(hit.memory.text, len(personal) + place) for place, hit in enumerate(others)]
    return [replace(hits[place], score=score) for place, score in rrf([range(len(personal)), theirs])]
