"""What the parts ask of each other: the protocols that any implementation satisfies. No concrete class."""

from ums_core.ports.embedder import Embedder, EmbedderIdentity, Forgetful
from ums_core.ports.index import Change, RowSet, VectorIndex
from ums_core.ports.keys import Context, KeySource, KeyStatus, Wrapped
from ums_core.ports.reranker import Reranker
from ums_core.ports.sealing import FileSeal, Header, SealedReader, SealedWriter
from ums_core.ports.store import MemoryStore, PersonalStore

__all__ = [
    "Change",
    "Context",
    "Embedder",
    "EmbedderIdentity",
    "FileSeal",
    "Forgetful",
    "Header",
    "KeySource",
    "KeyStatus",
    "MemoryStore",
    "PersonalStore",
    "Reranker",
    "RowSet",
    "SealedReader",
    "SealedWriter",
    "VectorIndex",
    "Wrapped",
]
