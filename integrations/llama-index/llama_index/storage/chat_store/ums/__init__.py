"""LlamaIndex on UMS: conversations, awaitable and blocking."""

from llama_index.storage.chat_store.ums.base import UMSChatStore
from llama_index.storage.chat_store.ums.blocking import UMSSyncChatStore

__all__ = ["UMSChatStore", "UMSSyncChatStore"]
