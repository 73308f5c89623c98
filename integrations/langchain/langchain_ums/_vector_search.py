"""How documents are found: the searching half of the vector store."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from ums_core import MemoryStore, Query

from . import _documents
from ._store import Faces

__all__ = ["VectorSearch"]

T = TypeVar("T")
Work = Callable[[MemoryStore, Query], T]
Namespace = tuple[str, ...]


class VectorSearch(VectorStore):
    """Searches of a vector store. ``**options`` are those of ``ums_core.Query``, such as ``filter`` or ``mode``.

    Args:
        faces: the store.
        embedding: the caller's own; None lets the store embed.
        defaults: a query whose namespace and mode hold where a call names none.
    """

    def __init__(self, faces: Faces, embedding: Embeddings | None, defaults: Query) -> None:
        self._faces = faces
        self._embedding = embedding
        self._namespace, self._mode = defaults.namespace, defaults.mode

    @property
    def embeddings(self) -> Embeddings | None:
        """The caller's embeddings; None where the store's own embedder serves."""
        return self._embedding

    def similarity_search(self, query: str, k: int = 4, **options: Any) -> list[Document]:  # noqa: ANN401
        """The k best documents, best first."""
        return _documents.documents_of(self._ask(query, k, options, _documents.search))

    async def asimilarity_search(self, query: str, k: int = 4, **options: Any) -> list[Document]:  # noqa: ANN401
        """The k best documents, best first."""
        return _documents.documents_of(await self._aask(query, k, options, _documents.search))

    def similarity_search_with_score(
        self,
        query: str,
        k: int = 4,
        **options: Any,  # noqa: ANN401
    ) -> list[tuple[Document, float]]:
        """The k best documents with their scores: cosines, or with another mode what ranks; higher is better."""
        hits = self._ask(query, k, options, _documents.search)
        return [(_documents.document_of(hit.memory), hit.score) for hit in hits]

    async def asimilarity_search_with_score(
        self,
        query: str,
        k: int = 4,
        **options: Any,  # noqa: ANN401
    ) -> list[tuple[Document, float]]:
        """The k best documents with their scores; as ``similarity_search_with_score``."""
        hits = await self._aask(query, k, options, _documents.search)
        return [(_documents.document_of(hit.memory), hit.score) for hit in hits]

    def similarity_search_by_vector(
        self,
        embedding: Sequence[float],
        k: int = 4,
        **options: Any,  # noqa: ANN401
    ) -> list[Document]:
        """The k documents nearest to a vector, nearest first."""
        query = self._query(None, embedding, k, options)
        return _documents.documents_of(self._faces.run(lambda store: store.search(query)))

    async def asimilarity_search_by_vector(
        self,
        embedding: Sequence[float],
        k: int = 4,
        **options: Any,  # noqa: ANN401
    ) -> list[Document]:
        """The k documents nearest to a vector, nearest first."""
        query = self._query(None, embedding, k, options)
        return _documents.documents_of(await self._faces.arun(lambda store: store.search(query)))

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **options: Any,  # noqa: ANN401
    ) -> list[Document]:
        """Of the ``fetch_k`` best documents that meet the filter, k that are near the question and unlike each other.

        ``lambda_mult`` is in [0, 1]: 1 asks for nearness alone, 0 for difference alone after the first.
        """
        return self._ask(query, fetch_k, options, _diverse(k, lambda_mult))

    async def amax_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **options: Any,  # noqa: ANN401
    ) -> list[Document]:
        """As ``max_marginal_relevance_search``."""
        return await self._aask(query, fetch_k, options, _diverse(k, lambda_mult))

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: Sequence[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **options: Any,  # noqa: ANN401
    ) -> list[Document]:
        """As ``max_marginal_relevance_search``, near to a vector."""
        query = self._query(None, embedding, fetch_k, options)
        return self._faces.run(lambda store: _documents.diverse(store, query, k, lambda_mult))

    async def amax_marginal_relevance_search_by_vector(
        self,
        embedding: Sequence[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **options: Any,  # noqa: ANN401
    ) -> list[Document]:
        """As ``max_marginal_relevance_search``, near to a vector."""
        query = self._query(None, embedding, fetch_k, options)
        return await self._faces.arun(lambda store: _documents.diverse(store, query, k, lambda_mult))

    def _similarity_search_with_relevance_scores(
        self,
        query: str,
        k: int = 4,
        **options: Any,  # noqa: ANN401
    ) -> list[tuple[Document, float]]:
        hits = self._ask(query, k, options, _documents.search)
        return [(_documents.document_of(hit.memory), _documents.relevance(hit)) for hit in hits]

    async def _asimilarity_search_with_relevance_scores(
        self,
        query: str,
        k: int = 4,
        **options: Any,  # noqa: ANN401
    ) -> list[tuple[Document, float]]:
        hits = await self._aask(query, k, options, _documents.search)
        return [(_documents.document_of(hit.memory), _documents.relevance(hit)) for hit in hits]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return _documents.as_relevance

    def _at(self, namespace: Namespace | None) -> Namespace:
        return self._namespace if namespace is None else namespace

    def _query(self, text: str | None, vector: Sequence[float] | None, k: int, options: Mapping[str, Any]) -> Query:
        defaults = {"namespace": self._namespace, "mode": "vector" if text is None else self._mode}
        given = {name: value for name, value in options.items() if name != "namespace" or value is not None}
        return _documents.question(text, vector, k, {**defaults, **given})

    def _ask(self, text: str, k: int, options: Mapping[str, Any], work: Work[T]) -> T:
        query = self._query(text, None, k, options)
        if self._embedding is not None and query.mode != "keyword":
            query = self._query(text, self._embedding.embed_query(text), k, options)
        return self._faces.run(lambda store: work(store, query))

    async def _aask(self, text: str, k: int, options: Mapping[str, Any], work: Work[T]) -> T:
        query = self._query(text, None, k, options)
        if self._embedding is not None and query.mode != "keyword":
            query = self._query(text, await self._embedding.aembed_query(text), k, options)
        return await self._faces.arun(lambda store: work(store, query))


def _diverse(k: int, lambda_mult: float) -> Work[list[Document]]:
    return lambda store, query: _documents.diverse(store, query, k, lambda_mult)
