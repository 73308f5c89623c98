"""LlamaIndex's index store in a store."""

from llama_index.core.storage.index_store.keyval_index_store import KVIndexStore
from llama_index.storage.kvstore.ums import UMSKVStore
from llama_index_ums.link import Store

__all__ = ["UMSIndexStore"]


class UMSIndexStore(KVIndexStore):
    """The structures of indexes, for ``load_index_from_storage``.

    Args:
        store: what ``open_store`` returned, or an ``EnhancedMemoryStore``; None opens the environment's.
        namespace: where they are.
        name: what LlamaIndex calls a namespace, ``index_store`` unless said.
    """

    def __init__(self, store: Store | None = None, namespace: tuple[str, ...] = (), *, name: str | None = None) -> None:
        super().__init__(UMSKVStore(store, namespace), namespace=name)
