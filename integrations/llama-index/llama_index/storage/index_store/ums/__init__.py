"""LlamaIndex on UMS: the structures of indexes."""

from llama_index.storage.index_store.ums.base import UMSIndexStore

__all__ = ["UMSIndexStore"]
