"""LlamaIndex's document store in a store."""

import asyncio

from llama_index.core.storage.docstore.keyval_docstore import KVDocumentStore
from llama_index.storage.kvstore.ums import UMSKVStore
from llama_index_ums.link import Store

__all__ = ["UMSDocumentStore"]


class UMSDocumentStore(KVDocumentStore):
    """Documents, nodes and their hashes, for indexes that need them and for ``IngestionPipeline(docstore=…)``.

    Args:
        store: what ``open_store`` returned, or an ``EnhancedMemoryStore``; None opens the environment's.
        namespace: where they are.
        name: what LlamaIndex calls a namespace, ``docstore`` unless said.
    """

    def __init__(self, store: Store | None = None, namespace: tuple[str, ...] = (), *, name: str | None = None) -> None:
        # One batch: they are stored all or none anyway.
        super().__init__(UMSKVStore(store, namespace), namespace=name, batch_size=10_000)

    async def adelete_document(self, doc_id: str, raise_error: bool = True) -> None:  # noqa: FBT001, FBT002  # the framework's signature
        """Delete a document or a node, and take it off the list of its source, as LlamaIndex's own twin does not."""
        await asyncio.to_thread(self.delete_document, doc_id, raise_error)
