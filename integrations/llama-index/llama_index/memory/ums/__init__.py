"""LlamaIndex on UMS: a memory for agents and chat engines, and a block for LlamaIndex's own."""

from llama_index.memory.ums.base import UMSMemory
from llama_index.memory.ums.block import UMSMemoryBlock

__all__ = ["UMSMemory", "UMSMemoryBlock"]
