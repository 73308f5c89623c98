"""LlamaIndex on UMS: a second look at what was found."""

from llama_index.postprocessor.ums.base import UMSRerank

__all__ = ["UMSRerank"]
