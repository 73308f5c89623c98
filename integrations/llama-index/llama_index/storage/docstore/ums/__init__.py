"""LlamaIndex on UMS: documents."""

from llama_index.storage.docstore.ums.base import UMSDocumentStore

__all__ = ["UMSDocumentStore"]
