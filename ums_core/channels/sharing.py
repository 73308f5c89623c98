"""Several stores in one process: what they may share, and what they may not."""

from collections.abc import Callable

from ums_core.channels.build import open_store
from ums_core.channels.local import LocalStore
from ums_core.encoders.cached import CachedEmbedder
from ums_core.encoders.cross_encoder import SentenceTransformerReranker
from ums_core.encoders.lent import Lent
from ums_core.encoders.registry import make_embedder
from ums_core.settings import UnifiedSettings

__all__ = ["sharing_embedder"]


def sharing_embedder(
    settings: UnifiedSettings,
    watch: Callable[[int, float], None],
    indexed: Callable[[int, float], None] | None = None,
) -> Callable[[UnifiedSettings], LocalStore]:
    """What opens stores that share the weights of one embedder and one cross-encoder, and nothing else.

    Each store remembers its own texts, so that the time of an answer tells nothing of another store's.

    Args:
        settings: name the embedder.
        watch: told of each embedding: how many texts, and how many seconds.
        indexed: told of each change that an index took up: how many rows, and how many seconds.
    """
    shared = make_embedder(settings.model.embedder, settings.model.vector_dim)
    reader = SentenceTransformerReranker(settings.ranking.cross_encoder)

    def open_one(own: UnifiedSettings) -> LocalStore:
        embedder = None if shared is None else CachedEmbedder(Lent(shared, watch))
        return open_store(own, embedder=embedder, reranker=reader, indexed=indexed)

    return open_one
