"""The composition root: settings in, a store out. The only module that names concrete mechanisms."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path

from ums_core.channels.habits import habits_of
from ums_core.channels.keys import key_source
from ums_core.channels.local import LocalStore
from ums_core.channels.sealed import check_production, keys_of, open_database
from ums_core.pipeline.indexing import Indexes
from ums_core.pipeline.ingest import Ingest
from ums_core.pipeline.recency import Recency
from ums_core.pipeline.rerank import Rerank
from ums_core.pipeline.retrieve import Retrieve
from ums_core.pipeline.surroundings import Surroundings
from ums_core.ports import Embedder, EmbedderIdentity, FileSeal, Reranker, VectorIndex
from ums_core.settings import RankingSettings, UnifiedSettings
from ums_core.storage.database import Database

__all__ = ["open_store"]

_log = logging.getLogger("ums_core")


def _now() -> datetime:
    return datetime.now(UTC)


def open_store(
    settings: UnifiedSettings | None = None,
    *,
    embedder: Embedder | None = None,
    reranker: Reranker | None = None,
    clock: Callable[[], datetime] = _now,
    indexed: Callable[[int, float], None] | None = None,
) -> LocalStore:
    """A store on the database that the settings name, created where it does not exist. Close it, or use ``with``.

    Args:
        settings: None reads the environment and ``.env``.
        embedder: an object of your own, in place of the one that ``settings.model.embedder`` names.
        reranker: likewise, in place of the one that ``settings.ranking.cross_encoder`` names.
        clock: the current time in UTC.
        indexed: told of each change that an index took up: how many rows came and went, and in how many seconds.

    Raises:
        SettingsError: the settings name something that does not exist.
        StorageError: the file cannot be used; a subclass tells why.
    """
    settings = settings or UnifiedSettings()
    check_production(settings)
    embedders = partial(_embedder, settings.model.vector_dim)
    if embedder is None:
        embedder = embedders(settings.model.embedder)
    keys = keys_of(settings, partial(key_source, settings.security, random=settings.env == "production"))
    database = open_database(settings, clock, keys)
    try:
        make = partial(_index, settings.database.backend, database, None if keys is None else keys.files)
        ingest = Ingest(embedder, database.binding, settings.model.dim_of, _spans, clock)
        indexes = Indexes(database, make, indexed)
        rerank = _rerank(settings.ranking, reranker)
        kinds = settings.ranking.kind_of
        recency = Recency(clock, settings.dynamics.of())
        retrieve = Retrieve(Surroundings(database, kinds), indexes.current, ingest.query_vector, recency, rerank)
        return LocalStore(database, indexes, ingest, retrieve, habits_of(settings, embedders))
    except BaseException:
        database.close()
        raise


def _embedder(dim: int, name: str) -> Embedder | None:
    from ums_core.encoders.cached import CachedEmbedder  # noqa: PLC0415  # mechanisms are imported when they are chosen
    from ums_core.encoders.registry import make_embedder  # noqa: PLC0415  # as above

    made = make_embedder(name, dim)
    return None if made is None else CachedEmbedder(made)


def _rerank(ranking: RankingSettings, reranker: Reranker | None) -> Rerank:
    from ums_core.encoders.cross_encoder import SentenceTransformerReranker  # noqa: PLC0415  # as above

    return Rerank(
        reranker or SentenceTransformerReranker(ranking.cross_encoder),
        always=ranking.use_cross_encoder,
        top_n=ranking.cross_encoder_top_n,
        budget_s=ranking.cross_encoder_budget_s,
    )


def _spans(text: str, embedder: Embedder) -> list[tuple[int, int]]:
    from ums_core.encoders.split import split  # noqa: PLC0415  # as above

    return split(text, count_tokens=embedder.count_tokens, max_tokens=embedder.max_tokens)


def _index(
    backend: str, database: Database, seal: FileSeal | None, modality: str, identity: EmbedderIdentity
) -> tuple[VectorIndex, Path]:
    path = database.path.with_name(f"{database.path.name}.{modality.replace('/', '%2F')}.index")
    binding = {"database_id": database.database_id, "modality": modality, "embedder": str(identity)}
    from ums_core.index.snapshot import Home  # noqa: PLC0415  # as above

    if backend == "faiss":
        try:
            from ums_core.index.faiss import FaissIndex  # noqa: PLC0415  # optional: extra `faiss`

            return FaissIndex(identity.dim, home=Home(path, binding, seal)), path
        except ModuleNotFoundError as missing:
            _say_once(missing.name or "faiss")
    from ums_core.index.exact import ExactIndex  # noqa: PLC0415  # as above

    return ExactIndex(identity.dim, home=Home(path, binding, seal)), path


@cache
def _say_once(package: str) -> None:
    _log.warning(
        "%s is not installed, so every search is exact, which is slower above some thousand memories: "
        "pip install 'ums-core[faiss]'",
        package,
    )
