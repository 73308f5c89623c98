"""LlamaIndex on UMS: what was said and learned, found by meaning and kept on the device."""

from llama_index.retrievers.ums.base import UMSRetriever

__all__ = ["UMSRetriever"]
