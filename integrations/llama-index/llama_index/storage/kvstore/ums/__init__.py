"""LlamaIndex on UMS: values by key."""

from llama_index.storage.kvstore.ums.base import UMSKVStore

__all__ = ["UMSKVStore"]
