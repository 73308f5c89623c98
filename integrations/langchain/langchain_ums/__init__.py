"""LangChain and LangGraph on UMS: what was said and learned, found by meaning and kept by its owner.

``UMSStore`` is long-term memory for LangGraph, ``UMSSaver`` keeps the state of its threads, ``UMSMemoryMiddleware`` and
the tools give agents a memory; ``UMSVectorStore`` holds documents, ``UMSRetriever`` finds memories as documents, and
``UMSChatMessageHistory`` keeps the messages of a conversation. ``langchain_ums.testing`` judges any LangGraph store.
"""

from typing import TYPE_CHECKING

from ._items import decode_label, encode_label
from .history import UMSChatMessageHistory
from .retriever import UMSRetriever
from .saver import UMSSaver
from .store import UMSStore
from .tools import create_forget_tool, create_recall_tool, create_remember_tool
from .vectorstore import UMSVectorStore

if TYPE_CHECKING:
    from .middleware import UMSMemoryMiddleware

__all__ = [
    "UMSChatMessageHistory",
    "UMSMemoryMiddleware",
    "UMSRetriever",
    "UMSSaver",
    "UMSStore",
    "UMSVectorStore",
    "create_forget_tool",
    "create_recall_tool",
    "create_remember_tool",
    "decode_label",
    "encode_label",
]


def __getattr__(name: str) -> object:
    """Import the middleware at its first use: it alone needs the package langchain, which takes long to load."""
    if name != "UMSMemoryMiddleware":
        raise AttributeError(f"module 'langchain_ums' has no attribute {name!r}")
    try:
        from .middleware import UMSMemoryMiddleware  # noqa: PLC0415  # see above
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("langchain", "langgraph"):
            raise
        raise ImportError("UMSMemoryMiddleware needs langchain: pip install 'langchain-ums[agents]'") from error
    return UMSMemoryMiddleware
