"""Verbs as calls: what to send, and what an answer means. Sends nothing itself.

Arguments are checked here as a store on this device checks them, by the same errors, so bad input never leaves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ums_core.errors import InvalidInput
from ums_core.ports.tending import Strategy
from ums_core.records import Draft, Filter, Health, Hit, Memory, Namespace, Page, Patch, Query
from ums_core.records.arguments import (
    check_batch,
    check_cursor,
    check_duplicates,
    check_filter,
    check_ids,
    check_keys,
    check_limit,
    check_query,
    check_share,
    check_steps,
)
from ums_core.records.check import (
    check_flag,
    check_label,
    check_namespace,
    check_number,
    check_prefix,
    check_text,
    check_whole,
)
from ums_core.records.distinct import Distinct, Duplicates
from ums_core.records.lifecycle import Change, Consolidation, Forgetting
from ums_core.records.maintenance import Maintenance, Step
from ums_core.wire.problem import load_problem
from ums_core.wire.schema import VERBS

__all__ = [
    "Call",
    "add",
    "add_distinct",
    "check_here",
    "consolidate",
    "count",
    "delete",
    "expand",
    "forget",
    "get",
    "health",
    "history",
    "kv_delete",
    "kv_get",
    "kv_put",
    "kv_scan",
    "maintain",
    "namespaces",
    "reinforce",
    "scan",
    "search",
    "supersede",
    "undo",
    "update",
]

T = TypeVar("T")
_OK = 200


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One verb, ready to be sent.

    Attributes:
        verb: its name in the protocol.
        method: ``POST``, or ``GET`` where nothing is asked.
        path: below the address of the service.
        body: JSON, empty for a ``GET``.
        repeatable: whether it may be sent again after an answer was lost: it reads, or has an idempotency key.
    """

    verb: str
    method: str
    path: str
    body: bytes
    repeatable: bool

    def result(self, status: int, body: bytes) -> T:
        """What the verb returned.

        Raises:
            UMSError: the error that the service raised, of the same class.
            RemoteError: an answer that cannot be understood.
        """
        if status != _OK:
            raise load_problem(status, body)
        answer: T = VERBS[self.verb].load_reply(body)
        return answer


def add(drafts: Sequence[Draft], *, idempotency_key: str | None = None) -> Call[list[Memory]]:
    """Store drafts; see ``MemoryStore.add``."""
    return _call("add", drafts=check_batch(drafts, Draft), idempotency_key=_key(idempotency_key))


def get(ids: Sequence[str], *, namespace: Namespace = (), vectors: bool = False) -> Call[list[Memory | None]]:
    """Memories by their ids; see ``MemoryStore.get``."""
    namespace = check_namespace(namespace)
    return _call("get", ids=check_ids(ids), namespace=namespace, vectors=check_flag(vectors, "vectors"))


def update(patches: Sequence[Patch], *, idempotency_key: str | None = None) -> Call[list[Memory]]:
    """Change memories; see ``MemoryStore.update``."""
    return _call("update", patches=check_batch(patches, Patch), idempotency_key=_key(idempotency_key))


def delete(ids: Sequence[str], *, namespace: Namespace = (), idempotency_key: str | None = None) -> Call[int]:
    """Delete memories; see ``MemoryStore.delete``."""
    namespace = check_namespace(namespace)
    return _call("delete", ids=check_ids(ids), namespace=namespace, idempotency_key=_key(idempotency_key))


def search(query: Query) -> Call[list[Hit]]:
    """Ask; see ``MemoryStore.search``."""
    return _call("search", query=check_query(query))


def scan(
    *,
    namespace: Namespace = (),
    filter: Filter | Mapping[str, object] | None = None,  # noqa: A002  # the field's standard term
    limit: int = 100,
    cursor: int | None = None,
    descending: bool = False,
) -> Call[Page]:
    """One page; see ``MemoryStore.scan``."""
    condition = check_filter(filter)
    namespace, limit = check_namespace(namespace), check_limit(limit)
    return _call(
        "scan",
        namespace=namespace,
        filter=condition,
        limit=limit,
        cursor=check_cursor(cursor),
        descending=check_flag(descending, "descending"),
    )


def count(
    *,
    namespace: Namespace = (),
    filter: Filter | Mapping[str, object] | None = None,  # noqa: A002  # the field's standard term
) -> Call[int]:
    """How many; see ``MemoryStore.count``."""
    return _call("count", namespace=check_namespace(namespace), filter=check_filter(filter))


def namespaces(
    *,
    prefix: Namespace = (),
    filter: Filter | Mapping[str, object] | None = None,  # noqa: A002  # the field's standard term
) -> Call[list[Namespace]]:
    """The namespaces under a prefix; see ``MemoryStore.namespaces``."""
    return _call("namespaces", prefix=check_namespace(prefix), filter=check_filter(filter))


def add_distinct(
    drafts: Sequence[Draft], *, duplicates: Duplicates = "report", similarity: float = 0.95
) -> Call[Distinct]:
    """Store what is not known; see ``MemoryStore.add_distinct``.

    Repeating it finds what the first one stored, where every draft has words or an id to be known by.
    """
    drafts = check_batch(drafts, Draft)
    known_again = all(draft.text.strip() or draft.caption or draft.id is not None for draft in drafts)
    return _call(
        "add_distinct",
        repeatable=duplicates != "keep" and known_again,
        drafts=drafts,
        duplicates=check_duplicates(duplicates),
        similarity=check_share(similarity, "similarity"),
    )


def consolidate(
    *,
    threshold: float = 0.8,
    level: int = 0,
    namespace: Namespace | None = None,
    strategy: Strategy | str | None = None,
    dry_run: bool = False,
) -> Call[Consolidation]:
    """Merge what is alike; see ``MemoryStore.consolidate``. It may be repeated: it goes on with what is left."""
    if not isinstance(strategy, str | None):
        raise InvalidInput("a strategy of your own works where the memories are; over a network, name one")
    return _call(
        "consolidate",
        repeatable=True,
        threshold=check_share(threshold, "threshold"),
        level=check_whole(level, "level"),
        namespace=check_prefix(namespace),
        strategy=strategy,
        dry_run=check_flag(dry_run, "dry_run"),
    )


def maintain(*, steps: Sequence[Step] | None = None, dry_run: bool = False) -> Call[Maintenance]:
    """Do what is due; see ``MemoryStore.maintain``. It may be repeated: it goes on with what is left."""
    return _call(
        "maintain",
        repeatable=True,
        steps=None if steps is None else check_steps(steps),
        dry_run=check_flag(dry_run, "dry_run"),
    )


def expand(id: str, *, namespace: Namespace = ()) -> Call[list[Memory]]:  # noqa: A002  # as in every record
    """What a summary was made from; see ``MemoryStore.expand``."""
    return _call("expand", id=check_label(id, "id"), namespace=check_namespace(namespace))


def history(id: str, *, namespace: Namespace = ()) -> Call[list[Change]]:  # noqa: A002  # as in every record
    """Who did what to a memory; see ``MemoryStore.history``."""
    return _call("history", id=check_label(id, "id"), namespace=check_namespace(namespace))


def check_here(*called: object) -> None:
    """Refuse what would be called while the verb works: that is elsewhere.

    Raises:
        InvalidInput: there is something to call.
    """
    if any(each is not None for each in called):
        raise InvalidInput("progress and cancel are called where the memories are; leave them out over a network")


def reinforce(ids: Sequence[str], *, namespace: Namespace = ()) -> Call[int]:
    """Note a use; see ``MemoryStore.reinforce``."""
    return _call("reinforce", ids=check_ids(ids), namespace=check_namespace(namespace))


def forget(  # noqa: PLR0913  # the verb that users know
    *,
    min_total: int = 0,
    retain_fraction: float = 0.9,
    namespace: Namespace | None = None,
    where: Filter | Mapping[str, object] | None = None,
    erase: bool = False,
    dry_run: bool = False,
) -> Call[Forgetting]:
    """Forget the least; see ``MemoryStore.forget``."""
    return _call(
        "forget",
        repeatable=dry_run is True,
        min_total=check_whole(min_total, "min_total"),
        retain_fraction=check_number(retain_fraction, "retain_fraction", 0.0, 1.0),
        namespace=check_prefix(namespace),
        where=check_filter(where),
        erase=check_flag(erase, "erase"),
        dry_run=check_flag(dry_run, "dry_run"),
    )


def supersede(
    old_id: str, draft: Draft, *, namespace: Namespace = (), idempotency_key: str | None = None
) -> Call[Memory]:
    """Correct a memory; see ``MemoryStore.supersede``."""
    (draft,) = check_batch([draft], Draft)
    return _call(
        "supersede",
        old_id=check_label(old_id, "old_id"),
        draft=draft,
        namespace=check_namespace(namespace),
        idempotency_key=_key(idempotency_key),
    )


def undo(batch: str) -> Call[int]:
    """Bring back a batch; see ``MemoryStore.undo``. It may be repeated: what is back is not brought back again."""
    return _call("undo", repeatable=True, batch=check_label(batch, "batch"))


def health() -> Call[Health]:
    """How the store is; see ``MemoryStore.health``."""
    return _call("health")


def kv_put(collection: str, items: Mapping[str, object]) -> Call[None]:
    """Set keys; see ``MemoryStore.kv_put``. It may be repeated: the same keys get the same values."""
    return _call("kv_put", repeatable=True, collection=check_label(collection, "collection", InvalidInput), items=items)


def kv_get(collection: str, keys: Sequence[str]) -> Call[list[object]]:
    """Values by their keys; see ``MemoryStore.kv_get``."""
    return _call("kv_get", collection=check_label(collection, "collection", InvalidInput), keys=check_keys(keys))


def kv_delete(collection: str, keys: Sequence[str]) -> Call[int]:
    """Delete keys; see ``MemoryStore.kv_delete``."""
    return _call("kv_delete", collection=check_label(collection, "collection", InvalidInput), keys=check_keys(keys))


def kv_scan(
    collection: str, *, prefix: str = "", after: str = "", limit: int = 1000, descending: bool = False
) -> Call[list[tuple[str, object]]]:
    """Keys and values in order; see ``MemoryStore.kv_scan``."""
    return _call(
        "kv_scan",
        collection=check_label(collection, "collection", InvalidInput),
        prefix=check_text(prefix, "prefix"),
        after=check_text(after, "after"),
        limit=check_whole(limit, "limit", 1),
        descending=check_flag(descending, "descending"),
    )


def _call(name: str, *, repeatable: bool = False, **arguments: object) -> Call[Any]:
    verb = VERBS[name]
    repeatable = repeatable or not verb.writes or arguments.get("idempotency_key") is not None
    return Call(name, verb.method, verb.path, verb.dump_request(arguments), repeatable)


def _key(key: str | None) -> str | None:
    return None if key is None else check_label(key, "idempotency_key")
