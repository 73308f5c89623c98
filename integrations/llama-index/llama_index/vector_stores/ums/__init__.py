"""LlamaIndex on UMS: nodes and their vectors in a store that keeps its promises."""

from llama_index.vector_stores.ums.base import UMSVectorStore

__all__ = ["UMSVectorStore"]
