"""A LangChain vector store on UMS."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Self

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from ums_core import EnhancedMemoryStore, MemoryStore, Query

from . import _documents
from ._store import Faces
from ._vector_search import VectorSearch

__all__ = ["UMSVectorStore"]

Namespace = tuple[str, ...]


class UMSVectorStore(VectorSearch):
    """Documents, kept in UMS and found by meaning.

    A document is one memory: its id any string, its metadata any JSON object, given back exactly. Every method takes
    ``namespace=`` in place of the store's own, so one object serves many users. What is written, read and deleted by id
    lies in that exact namespace; a search covers the namespaces below it, too.

    Setup:
        ``pip install langchain-ums 'ums-core[lite]'``

    Key init args:
        store: what ``open_store`` returned, any other ``MemoryStore``, or an ``EnhancedMemoryStore``; it stays open.
        embedding: used in place of the store's own embedder; its vectors must be as long as those of the store.
        namespace: where the documents are.
        mode: how ``similarity_search`` ranks: ``vector`` by meaning, ``hybrid`` by meaning and words, ``keyword``.

    Instantiate:
        .. code-block:: python

            vectors = UMSVectorStore(open_store(settings), namespace=("documents", "handbook"))

    Add:
        ``vectors.add_documents([Document("Tea is at five.", id="tea", metadata={"kind": "rule"})])``

    Delete:
        ``vectors.delete(ids=["tea"])`` or ``vectors.delete(filter={"kind": "rule"})``

    Search:
        ``vectors.similarity_search("When is tea?", k=1)``

    Search with filter:
        ``vectors.similarity_search("tea", filter={"kind": "rule", "year": {"$gte": 2020}})``; a dict names keys of the
        metadata, a ``Filter`` of UMS may look at everything.

    Search with score:
        ``vectors.similarity_search_with_score("tea")``: the score is a cosine, higher is better; relevance scores are
        (cosine + 1) / 2. Every further option of ``ums_core.Query`` is a keyword argument, as ``mode="hybrid"``.

    Async:
        ``await vectors.asimilarity_search("When is tea?")``; every method has a native awaitable twin.

    Use as Retriever:
        ``vectors.as_retriever(search_type="mmr", search_kwargs={"k": 3, "fetch_k": 20})``
    """

    def __init__(
        self,
        store: MemoryStore | EnhancedMemoryStore,
        *,
        embedding: Embeddings | None = None,
        namespace: Namespace = ("documents",),
        mode: Literal["vector", "hybrid", "keyword"] = "vector",
    ) -> None:
        super().__init__(Faces(store), embedding, Query(text="?", namespace=namespace, mode=mode))

    def add_texts(  # type: ignore[override]  # namespace is one keyword more
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        namespace: Namespace | None = None,
        batch_size: int | None = None,
    ) -> list[str]:
        """Store texts, all or none, and return their ids; an existing id is replaced.

        Args:
            texts: any number.
            metadatas: one a text.
            ids: one a text; None makes one up.
            namespace: in place of the store's own.
            batch_size: taken for LangChain's indexing, which cuts its batches itself.

        Raises:
            ValueError: texts, metadatas and ids are not as many.
        """
        del batch_size
        given = list(texts)
        vectors = self._embedding.embed_documents(given) if self._embedding is not None and given else None
        drafts = _documents.drafts_of(given, metadatas, ids, vectors, self._at(namespace))
        return [memory.id for memory in self._faces.run(lambda store: store.add(drafts))]

    async def aadd_texts(  # type: ignore[override]  # as add_texts
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        namespace: Namespace | None = None,
        batch_size: int | None = None,
    ) -> list[str]:
        """Store texts; as ``add_texts``."""
        del batch_size
        given = list(texts)
        vectors = await self._embedding.aembed_documents(given) if self._embedding is not None and given else None
        drafts = _documents.drafts_of(given, metadatas, ids, vectors, self._at(namespace))
        return [memory.id for memory in await self._faces.arun(lambda store: store.add(drafts))]

    def get_by_ids(self, ids: Sequence[str], /, *, namespace: Namespace | None = None) -> list[Document]:
        """The documents that exist, in the order of their ids."""
        at = self._at(namespace)
        return self._faces.run(lambda store: _documents.get(store, ids, at))

    async def aget_by_ids(self, ids: Sequence[str], /, *, namespace: Namespace | None = None) -> list[Document]:
        """The documents that exist, in the order of their ids."""
        at = self._at(namespace)
        return await self._faces.arun(lambda store: _documents.get(store, ids, at))

    def delete(  # type: ignore[override]  # two keywords more
        self,
        ids: Sequence[str] | None = None,
        *,
        filter: Mapping[str, Any] | None = None,  # noqa: A002  # the field's standard term
        namespace: Namespace | None = None,
    ) -> bool:
        """Delete documents, and return True; those that do not exist are no error.

        Args:
            ids: which.
            filter: or a condition on the metadata; ``{}`` is every document of the namespace.
            namespace: in place of the store's own.

        Raises:
            ValueError: neither of both: nothing is deleted by leaving something out.
        """
        at = self._at(namespace)
        return self._faces.run(lambda store: _documents.delete(store, ids, filter, at))

    async def adelete(  # type: ignore[override]  # as delete
        self,
        ids: Sequence[str] | None = None,
        *,
        filter: Mapping[str, Any] | None = None,  # noqa: A002  # the field's standard term
        namespace: Namespace | None = None,
    ) -> bool:
        """Delete documents; as ``delete``."""
        at = self._at(namespace)
        return await self._faces.arun(lambda store: _documents.delete(store, ids, filter, at))

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **options: Any,  # noqa: ANN401  # those of the constructor
    ) -> Self:
        """A vector store with these texts; ``store=`` and the other options are those of the constructor."""
        made = cls(embedding=embedding, **options)
        made.add_texts(texts, metadatas, ids=ids)
        return made

    @classmethod
    async def afrom_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **options: Any,  # noqa: ANN401  # those of the constructor
    ) -> Self:
        """A vector store with these texts; as ``from_texts``."""
        made = cls(embedding=embedding, **options)
        await made.aadd_texts(texts, metadatas, ids=ids)
        return made
