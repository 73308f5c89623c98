"""A store on a file passes the suite of stores, by each index and through both doors."""

import asyncio
import shutil
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import pytest
from thorough import count

from ums_core import (
    Draft,
    EnhancedMemoryStore,
    Filter,
    Health,
    Hit,
    Memory,
    MemoryStore,
    Page,
    Patch,
    Query,
    UnifiedSettings,
    open_store,
)
from ums_core.records import Namespace
from ums_core.records.distinct import Distinct
from ums_core.records.lifecycle import Change, Consolidation, Forgetting
from ums_core.records.maintenance import Maintenance
from ums_core.settings.database import url_of
from ums_core.testing.sealed import SEALED, SEALED_FIELDS
from ums_core.testing.store_case import Abandon, MakeStore
from ums_core.testing.store_suite import MemoryStoreSuite

T = TypeVar("T")


class Places:
    """Database files by the name of a place; a place that was abandoned moves to a copy of what a kill leaves."""

    def __init__(self, root: Path, suite: "type[LocalStoreSuite]") -> None:
        self._root = root
        self._suite = suite
        self._kills: dict[str, int] = {}
        self._at: dict[int, str] = {}

    def directory(self, place: str) -> Path:
        return self._root / f"{place}-{self._kills.get(place, 0)}"

    def make(self, place: str = "memory") -> MemoryStore:
        settings = UnifiedSettings.for_testing(
            database={"backend": self._suite.backend, "url": url_of(self.directory(place) / "memory.db")},
            model={"embedder": "hashing", "vector_dim": self._suite.dim},
            perf={"max_workers": 8},
            security=dict(self._suite.security),
        )
        store = self._suite.open(settings)
        self._at[id(store)] = place
        return store

    def abandon(self, store: MemoryStore) -> None:
        place = self._at[id(store)]
        left = self.directory(place)
        self._kills[place] = self._kills.get(place, 0) + 1
        # The shared memory of a killed process is of no use to the next; neither is its lock.
        shutil.copytree(left, self.directory(place), ignore=shutil.ignore_patterns("*-shm", "*.lock", "*.tmp"))
        store.close()
        shutil.rmtree(left)


class LocalStoreSuite(MemoryStoreSuite):
    backend: ClassVar[str]
    examples = count(25, 60)
    security: ClassVar[Mapping[str, object]] = {}

    @staticmethod
    def open(settings: UnifiedSettings) -> MemoryStore:
        return open_store(settings)

    @pytest.fixture
    def places(self, tmp_path: Path) -> Places:
        return Places(tmp_path, type(self))

    @pytest.fixture
    def make_store(self, places: Places) -> MakeStore:
        return places.make


class KilledSuite(LocalStoreSuite):
    @pytest.fixture
    def abandon(self, places: Places) -> Abandon | None:
        return places.abandon


class TestExact(KilledSuite):
    backend = "exact"


@pytest.mark.no_cover
@pytest.mark.needs_faiss
class TestFaiss(KilledSuite):
    backend = "faiss"
    examples = count(12, 60)


@pytest.mark.no_cover
@pytest.mark.needs_sqlcipher
class TestSealed(KilledSuite):
    backend = "exact"
    examples = count(12, 60)
    security = SEALED


@pytest.mark.no_cover
@pytest.mark.needs_sqlcipher
class TestSealedFields(KilledSuite):
    backend = "exact"
    examples = count(12, 60)
    security = SEALED_FIELDS


class Waiting:
    """The awaitable door for a caller without a loop: each call runs in a loop of its own."""

    def __init__(self, settings: UnifiedSettings) -> None:
        self._door = EnhancedMemoryStore(settings)
        self._run(self._door.__aenter__())

    def add(self, drafts: Sequence[Draft], *, idempotency_key: str | None = None) -> list[Memory]:
        return self._run(self._door.add(drafts, idempotency_key=idempotency_key))

    def get(self, ids: Sequence[str], *, namespace: Namespace = (), vectors: bool = False) -> list[Memory | None]:
        return self._run(self._door.get(ids, namespace=namespace, vectors=vectors))

    def update(self, patches: Sequence[Patch], *, idempotency_key: str | None = None) -> list[Memory]:
        return self._run(self._door.update(patches, idempotency_key=idempotency_key))

    def delete(self, ids: Sequence[str], *, namespace: Namespace = (), idempotency_key: str | None = None) -> int:
        return self._run(self._door.delete(ids, namespace=namespace, idempotency_key=idempotency_key))

    def search(self, query: Query) -> list[Hit]:
        return self._run(self._door.search(query))

    def scan(
        self,
        *,
        namespace: Namespace = (),
        filter: Filter | Mapping[str, object] | None = None,  # noqa: A002  # the protocol's name
        limit: int = 100,
        cursor: int | None = None,
        descending: bool = False,
    ) -> Page:
        return self._run(
            self._door.scan(namespace=namespace, filter=filter, limit=limit, cursor=cursor, descending=descending)
        )

    def count(
        self,
        *,
        namespace: Namespace = (),
        filter: Filter | Mapping[str, object] | None = None,  # noqa: A002  # the protocol's name
    ) -> int:
        return self._run(self._door.count(namespace=namespace, filter=filter))

    def namespaces(
        self,
        *,
        prefix: Namespace = (),
        filter: Filter | Mapping[str, object] | None = None,  # noqa: A002  # the protocol's name
    ) -> list[Namespace]:
        return self._run(self._door.namespaces(prefix=prefix, filter=filter))

    def add_distinct(self, drafts: Sequence[Draft], **options: Any) -> Distinct:  # noqa: ANN401  # those of the verb
        return self._run(self._door.add_distinct(drafts, **options))

    def consolidate(self, **options: Any) -> Consolidation:  # noqa: ANN401  # those of the verb
        return self._run(self._door.consolidate_memories(**options))

    def maintain(self, **options: Any) -> Maintenance:  # noqa: ANN401  # those of the verb
        return self._run(self._door.maintain(**options))

    def history(self, id: str, *, namespace: Namespace = ()) -> list[Change]:  # noqa: A002  # the protocol's name
        return self._run(self._door.history(id, namespace=namespace))

    def expand(self, id: str, *, namespace: Namespace = ()) -> list[Memory]:  # noqa: A002  # the protocol's name
        return self._run(self._door.expand(id, namespace=namespace))

    def reinforce(self, ids: Sequence[str], *, namespace: Namespace = ()) -> int:
        return self._run(self._door.reinforce(ids, namespace=namespace))

    def forget(self, **options: Any) -> Forgetting:  # noqa: ANN401  # those of the protocol
        return self._run(self._door.forget(**options))

    def supersede(self, old_id: str, draft: Draft, **options: Any) -> Memory:  # noqa: ANN401  # those of the protocol
        return self._run(self._door.supersede(old_id, draft, **options))

    def undo(self, batch: str) -> int:
        return self._run(self._door.undo(batch))

    def kv_put(self, collection: str, items: Mapping[str, object]) -> None:
        self._run(self._door.kv_put(collection, items))

    def kv_get(self, collection: str, keys: Sequence[str]) -> list[object]:
        return self._run(self._door.kv_get(collection, keys))

    def kv_delete(self, collection: str, keys: Sequence[str]) -> int:
        return self._run(self._door.kv_delete(collection, keys))

    def kv_scan(
        self, collection: str, *, prefix: str = "", after: str = "", limit: int = 1000, descending: bool = False
    ) -> list[tuple[str, object]]:
        return self._run(self._door.kv_scan(collection, prefix=prefix, after=after, limit=limit, descending=descending))

    def health(self) -> Health:
        return self._run(self._door.health())

    def close(self) -> None:
        self._run(self._door.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @staticmethod
    def _run(call: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(call)


class AwaitableSuite(LocalStoreSuite):
    # The store behind the door is the one above.
    examples = count(6, 60)

    @staticmethod
    def open(settings: UnifiedSettings) -> MemoryStore:
        return Waiting(settings)


@pytest.mark.no_cover
class TestAwaitableExact(AwaitableSuite):
    backend = "exact"
