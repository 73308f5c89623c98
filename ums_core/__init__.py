"""UMS: a memory for LLM agents that is theirs.

``open_store(settings)`` gives a blocking, thread-safe store; ``EnhancedMemoryStore(settings)`` is the same, awaitable.
Both speak the protocol ``MemoryStore``; what goes in are ``Draft`` objects, what comes out are ``Memory`` and ``Hit``.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from ums_core.errors import UMSError
from ums_core.records import Draft, Filter, Health, Hit, Hits, Memory, Page, Passage, Patch, Query, Receipt
from ums_core.records.actor import acting_as

if TYPE_CHECKING:
    from ums_core.aio import EnhancedMemoryStore
    from ums_core.channels.build import open_store
    from ums_core.channels.care import restore_store
    from ums_core.channels.choose import open_channel
    from ums_core.channels.dual import DualStore
    from ums_core.channels.local import LocalStore
    from ums_core.channels.promotion import Promotion
    from ums_core.channels.remote import RemoteStore
    from ums_core.channels.transport import RemoteOptions
    from ums_core.encoders.cross_encoder import SentenceTransformerReranker
    from ums_core.ports import Embedder, EmbedderIdentity, MemoryStore, Reranker
    from ums_core.settings import ModelConfig, UnifiedSettings

__all__ = [
    "Draft",
    "DualStore",
    "Embedder",
    "EmbedderIdentity",
    "EnhancedMemoryStore",
    "Filter",
    "Health",
    "Hit",
    "Hits",
    "LocalStore",
    "Memory",
    "MemoryStore",
    "ModelConfig",
    "Page",
    "Passage",
    "Patch",
    "Promotion",
    "Query",
    "Receipt",
    "RemoteOptions",
    "RemoteStore",
    "Reranker",
    "SentenceTransformerReranker",
    "UMSError",
    "UnifiedSettings",
    "acting_as",
    "open_channel",
    "open_store",
    "restore_store",
]

# Imported at first use, so that importing the package costs little and needs no optional package.
_LATER = {
    "DualStore": "ums_core.channels.dual",
    "Embedder": "ums_core.ports",
    "EmbedderIdentity": "ums_core.ports",
    "EnhancedMemoryStore": "ums_core.aio",
    "LocalStore": "ums_core.channels.local",
    "MemoryStore": "ums_core.ports",
    "Reranker": "ums_core.ports",
    "ModelConfig": "ums_core.settings",
    "Promotion": "ums_core.channels.promotion",
    "UnifiedSettings": "ums_core.settings",
    "RemoteOptions": "ums_core.channels.transport",
    "RemoteStore": "ums_core.channels.remote",
    "SentenceTransformerReranker": "ums_core.encoders.cross_encoder",
    "open_channel": "ums_core.channels.choose",
    "open_store": "ums_core.channels.build",
    "restore_store": "ums_core.channels.care",
}


def __getattr__(name: str) -> object:
    """Import a public name at its first use."""
    if name not in _LATER:
        raise AttributeError(f"module 'ums_core' has no attribute {name!r}")
    value = getattr(import_module(_LATER[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
