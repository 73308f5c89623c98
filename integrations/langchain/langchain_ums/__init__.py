"""LangChain and LangGraph on UMS: what was said and learned, found by meaning and kept by its owner.

``UMSStore`` is long-term memory for LangGraph; ``UMSVectorStore`` holds documents; ``UMSRetriever`` finds memories as
documents; ``UMSChatMessageHistory`` keeps the messages of a conversation. ``langchain_ums.testing`` judges any
LangGraph store.
"""

from ._items import decode_label, encode_label
from .history import UMSChatMessageHistory
from .retriever import UMSRetriever
from .store import UMSStore
from .vectorstore import UMSVectorStore

__all__ = ["UMSChatMessageHistory", "UMSRetriever", "UMSStore", "UMSVectorStore", "decode_label", "encode_label"]
