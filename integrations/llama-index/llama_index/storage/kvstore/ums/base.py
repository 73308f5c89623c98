"""Documents and anything else that LlamaIndex keeps by a key, in a store."""

import json
from typing import Any
from urllib.parse import quote

from llama_index.core.storage.kvstore.types import DEFAULT_BATCH_SIZE, DEFAULT_COLLECTION, BaseKVStore
from llama_index_ums.link import Link, Store

from ums_core import MemoryStore, Query

__all__ = ["UMSKVStore"]

_PAGE = 1000
_Value = dict[str, Any]


class UMSKVStore(BaseKVStore):
    """Keys to dicts, in named collections, durable when a call returns.

    ``put_all`` stores all or none, whatever its ``batch_size``. A copy shares the store. What is read back from a
    pickle finds it in the same process; in another it opens the one that the environment names.

    Args:
        store: what ``open_store`` returned, or an ``EnhancedMemoryStore``; None opens the environment's.
        namespace: where the collections are.

    Raises:
        InvalidNamespace: the namespace cannot be used.
        InvalidInput: later, a key is empty or holds NUL.
        TypeError: store is something else, or a value is not JSON.
    """

    def __init__(self, store: Store | None = None, namespace: tuple[str, ...] = ()) -> None:
        self.namespace = Query(text="?", namespace=namespace).namespace
        self._link = Link(store)

    def put(self, key: str, val: _Value, collection: str = DEFAULT_COLLECTION) -> None:
        """Set a key."""
        self.put_all([(key, val)], collection)

    async def aput(self, key: str, val: _Value, collection: str = DEFAULT_COLLECTION) -> None:
        """Set a key."""
        await self.aput_all([(key, val)], collection)

    def put_all(
        self,
        kv_pairs: list[tuple[str, _Value]],
        collection: str = DEFAULT_COLLECTION,
        batch_size: int = DEFAULT_BATCH_SIZE,  # noqa: ARG002  # the framework's signature
    ) -> None:
        """Set keys, all or none."""
        self._link.sync.kv_put(self._place(collection), _packed(kv_pairs))

    async def aput_all(
        self,
        kv_pairs: list[tuple[str, _Value]],
        collection: str = DEFAULT_COLLECTION,
        batch_size: int = DEFAULT_BATCH_SIZE,  # noqa: ARG002  # as above
    ) -> None:
        """Set keys, all or none."""
        await self._link.door.run(lambda store: store.kv_put(self._place(collection), _packed(kv_pairs)))

    def get(self, key: str, collection: str = DEFAULT_COLLECTION) -> _Value | None:
        """The value of a key, None where there is none."""
        return _unpacked(self._link.sync.kv_get(self._place(collection), [key])[0])

    async def aget(self, key: str, collection: str = DEFAULT_COLLECTION) -> _Value | None:
        """The value of a key, None where there is none."""
        return _unpacked((await self._link.door.kv_get(self._place(collection), [key]))[0])

    def get_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, _Value]:
        """All keys with their values, ascending."""
        return _all(self._link.sync, self._place(collection))

    async def aget_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, _Value]:
        """All keys with their values, ascending."""
        return await self._link.door.run(lambda store: _all(store, self._place(collection)))

    def delete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Delete a key and return whether it was there."""
        return bool(self._link.sync.kv_delete(self._place(collection), [key]))

    async def adelete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Delete a key and return whether it was there."""
        return bool(await self._link.door.kv_delete(self._place(collection), [key]))

    def _place(self, collection: str) -> str:
        return "/".join(quote(label, safe="") for label in ("llama_index", *self.namespace, collection))


def _packed(pairs: list[tuple[str, _Value]]) -> dict[str, object]:
    # Bytes, as LlamaIndex's own stores keep what Python's JSON keeps: NaN, integers of any size.
    return {key: json.dumps(value).encode() for key, value in pairs}


def _unpacked(value: object) -> _Value | None:
    if not isinstance(value, bytes):
        return None
    unpacked: _Value = json.loads(value)
    return unpacked


def _all(store: MemoryStore, place: str) -> dict[str, _Value]:
    found: dict[str, _Value] = {}
    page = store.kv_scan(place, limit=_PAGE)
    while page:
        found |= {key: value for key, value in ((key, _unpacked(raw)) for key, raw in page) if value is not None}
        page = store.kv_scan(place, after=page[-1][0], limit=_PAGE)
    return found
