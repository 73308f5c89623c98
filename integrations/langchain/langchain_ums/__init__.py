"""LangChain on UMS: what was said and learned, found by meaning and kept on the device.

``UMSRetriever`` finds memories as documents; ``UMSChatMessageHistory`` keeps the messages of a conversation.
"""

from .history import UMSChatMessageHistory
from .retriever import UMSRetriever

__all__ = ["UMSChatMessageHistory", "UMSRetriever"]
