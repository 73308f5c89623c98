"""What the parts ask of each other: the protocols that any implementation satisfies. No concrete class."""

from ums_core.ports.embedder import Embedder, EmbedderIdentity, Forgetful
from ums_core.ports.index import Change, RowSet, VectorIndex
from ums_core.ports.store import MemoryStore, PersonalStore

__all__ = [
    "Change",
    "Embedder",
    "EmbedderIdentity",
    "Forgetful",
    "MemoryStore",
    "PersonalStore",
    "RowSet",
    "VectorIndex",
]
