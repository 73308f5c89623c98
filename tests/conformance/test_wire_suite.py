"""A store behind the wire is the store: every call and answer passes through JSON, without a network."""

from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeVar

import pytest
from test_local_store_suite import KilledSuite
from thorough import count

from ums_core import Draft, Filter, Health, Hit, Memory, MemoryStore, Page, Patch, Query, UMSError, open_store
from ums_core import UnifiedSettings as Settings
from ums_core.records import Namespace
from ums_core.records.distinct import Distinct
from ums_core.records.lifecycle import Change, Consolidation, Forgetting
from ums_core.records.maintenance import Maintenance
from ums_core.wire import calls
from ums_core.wire.calls import Call
from ums_core.wire.problem import dump_problem, status_of
from ums_core.wire.schema import VERBS

T = TypeVar("T")


class Wired:
    """Both ends of the wire in one object."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def _send(self, call: Call[T]) -> T:
        try:
            verb = VERBS[call.verb]
            body = verb.dump_reply(getattr(self._store, call.verb)(**verb.load_request(call.body)))
        except UMSError as error:
            return call.result(status_of(error), dump_problem(error))
        return call.result(200, body)

    def add(self, drafts: Sequence[Draft], *, idempotency_key: str | None = None) -> list[Memory]:
        return self._send(calls.add(drafts, idempotency_key=idempotency_key))

    def get(self, ids: Sequence[str], *, namespace: Namespace = (), vectors: bool = False) -> list[Memory | None]:
        return self._send(calls.get(ids, namespace=namespace, vectors=vectors))

    def update(self, patches: Sequence[Patch], *, idempotency_key: str | None = None) -> list[Memory]:
        return self._send(calls.update(patches, idempotency_key=idempotency_key))

    def delete(self, ids: Sequence[str], *, namespace: Namespace = (), idempotency_key: str | None = None) -> int:
        return self._send(calls.delete(ids, namespace=namespace, idempotency_key=idempotency_key))

    def search(self, query: Query) -> list[Hit]:
        return self._send(calls.search(query))

    def scan(
        self,
        *,
        namespace: Namespace = (),
        filter: Filter | Mapping[str, object] | None = None,  # noqa: A002  # the protocol's name
        limit: int = 100,
        cursor: int | None = None,
        descending: bool = False,
    ) -> Page:
        return self._send(
            calls.scan(namespace=namespace, filter=filter, limit=limit, cursor=cursor, descending=descending)
        )

    def count(
        self,
        *,
        namespace: Namespace = (),
        filter: Filter | Mapping[str, object] | None = None,  # noqa: A002  # the protocol's name
    ) -> int:
        return self._send(calls.count(namespace=namespace, filter=filter))

    def namespaces(
        self,
        *,
        prefix: Namespace = (),
        filter: Filter | Mapping[str, object] | None = None,  # noqa: A002  # the protocol's name
    ) -> list[Namespace]:
        return self._send(calls.namespaces(prefix=prefix, filter=filter))

    def health(self) -> Health:
        return self._send(calls.health())

    def add_distinct(self, drafts: Sequence[Draft], **options: Any) -> Distinct:  # noqa: ANN401  # those of the verb
        return self._send(calls.add_distinct(drafts, **options))

    def consolidate(self, **options: Any) -> Consolidation:  # noqa: ANN401  # those of the verb
        return self._send(calls.consolidate(**options))

    def maintain(self, **options: Any) -> Maintenance:  # noqa: ANN401  # those of the verb
        return self._send(calls.maintain(**options))

    def history(self, id: str, *, namespace: Namespace = ()) -> list[Change]:  # noqa: A002  # the protocol's name
        return self._send(calls.history(id, namespace=namespace))

    def expand(self, id: str, *, namespace: Namespace = ()) -> list[Memory]:  # noqa: A002  # the protocol's name
        return self._send(calls.expand(id, namespace=namespace))

    def reinforce(self, ids: Sequence[str], *, namespace: Namespace = ()) -> int:
        return self._send(calls.reinforce(ids, namespace=namespace))

    def forget(self, **options: Any) -> Forgetting:  # noqa: ANN401  # those of the verb
        return self._send(calls.forget(**options))

    def supersede(self, old_id: str, draft: Draft, **options: Any) -> Memory:  # noqa: ANN401  # those of the verb
        return self._send(calls.supersede(old_id, draft, **options))

    def undo(self, batch: str) -> int:
        return self._send(calls.undo(batch))

    def kv_put(self, collection: str, items: Mapping[str, object]) -> None:
        self._send(calls.kv_put(collection, items))

    def kv_get(self, collection: str, keys: Sequence[str]) -> list[object]:
        return self._send(calls.kv_get(collection, keys))

    def kv_delete(self, collection: str, keys: Sequence[str]) -> int:
        return self._send(calls.kv_delete(collection, keys))

    def kv_scan(
        self, collection: str, *, prefix: str = "", after: str = "", limit: int = 1000, descending: bool = False
    ) -> list[tuple[str, object]]:
        return self._send(calls.kv_scan(collection, prefix=prefix, after=after, limit=limit, descending=descending))

    def close(self) -> None:
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@pytest.mark.no_cover
class TestWired(KilledSuite):
    backend = "exact"
    examples = count(10, 60)

    @staticmethod
    def open(settings: Settings) -> MemoryStore:
        return Wired(open_store(settings))
