"""Chroma's ``PersistentClient`` as a contestant; it never embeds, and sends nothing home."""

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from ums_core import Draft
from ums_core.bench.store_contest import Found, K
from ums_core.bench.store_data import Scope

if TYPE_CHECKING:
    from chromadb.api.client import Client

__all__ = ["Chroma", "chroma_version"]


def chroma_version() -> str | None:
    """The version that is installed, or None. Costs its import."""
    try:
        import chromadb  # noqa: PLC0415  # of the extra "bench"
    except ModuleNotFoundError:
        return None
    return chromadb.__version__


class Chroma:
    """One collection, cosine distance, the namespace as a key of the metadata; ids are made up here.

    Args:
        directory: exists and is empty.
    """

    def __init__(self, directory: Path) -> None:
        import chromadb  # noqa: PLC0415  # of the extra "bench"
        from chromadb.config import Settings  # noqa: PLC0415  # as above

        # Declared as its own base, which cannot be closed.
        client = cast("Client", chromadb.PersistentClient(directory, settings=Settings(anonymized_telemetry=False)))
        self._client = client
        self._collection = self._client.create_collection(
            "memories", metadata={"hnsw:space": "cosine"}, embedding_function=None
        )

    def ingest(self, batches: Sequence[Sequence[Draft]]) -> None:
        """The largest batches that it takes, whatever was asked for, and a first search, which takes up the rest."""
        drafts = [draft for batch in batches for draft in batch]
        size = self._client.get_max_batch_size()
        for start in range(0, len(drafts), size):
            self._add(drafts[start : start + size])
        self._collection.query(query_embeddings=_matrix(drafts[:1]), n_results=1)

    def add(self, draft: Draft) -> None:
        """One ``add``."""
        self._add([draft])

    def search(self, vector: npt.NDArray[np.float32], scope: Scope) -> object:
        """Documents, metadata and distances of the 10 nearest."""
        where = None
        if scope.source is not None:
            where = {"source": scope.source}
        elif scope.namespace:
            where = {"namespace": "/".join(scope.namespace)}
        return self._collection.query(
            query_embeddings=vector[None],
            n_results=K,
            where=where,  # type: ignore[arg-type]  # a plain dict, which the invariant type does not take
            include=["documents", "metadatas", "distances"],
        )

    def found(self, answer: object) -> list[Found]:
        """Documents, and cosines from the distances."""
        result = cast("dict[str, list[list[object]]]", answer)
        documents, distances = result["documents"][0], result["distances"][0]
        return [(str(text), 1.0 - cast("float", far)) for text, far in zip(documents, distances, strict=True)]

    def count(self) -> int:
        """How many documents there are."""
        return self._collection.count()

    def close(self) -> None:
        """Close the client."""
        self._client.close()

    def _add(self, drafts: Sequence[Draft]) -> None:
        self._collection.add(
            ids=[uuid.uuid4().hex for _ in drafts],
            embeddings=_matrix(drafts),
            documents=[draft.text for draft in drafts],
            metadatas=[{**draft.metadata, "namespace": "/".join(draft.namespace)} for draft in drafts],  # type: ignore[dict-item]  # the values are strings
        )


def _matrix(drafts: Sequence[Draft]) -> npt.NDArray[np.float32]:
    return np.array([draft.embedding for draft in drafts], np.float32)
