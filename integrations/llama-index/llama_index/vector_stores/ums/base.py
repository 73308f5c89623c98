"""Nodes in a store."""

from typing import TYPE_CHECKING, Any

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.vector_stores.types import BasePydanticVectorStore, MetadataFilters, VectorStoreQueryResult
from llama_index_ums.filters import deletable, named, where
from llama_index_ums.link import Link, Store
from llama_index_ums.nodes import SOURCE, draft_of, node_of
from llama_index_ums.question import question_of

from ums_core import Filter, Memory, MemoryStore, Query

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from llama_index.core.schema import BaseNode
    from llama_index.core.vector_stores.types import VectorStoreQuery

__all__ = ["UMSVectorStore"]

_PAGE = 1000


class UMSVectorStore(BasePydanticVectorStore):
    """Nodes with their vectors, texts, metadata and relationships, found by meaning, by words, or by both.

    A node is one memory in ``(*namespace, "nodes")``, under its own id; adding it again replaces it. All that is added
    is durable when ``add`` returns. Scores are cosines where vectors alone decide, and always higher for better.

    ``default`` compares vectors; ``sparse`` and ``text_search`` compare words; ``hybrid`` fuses both, ``alpha`` being
    the share of the vectors, 0.5 unless said; ``semantic_hybrid`` fuses with the shares that the core has measured, and
    lets its cross-encoder read again if the setting or ``rerank=True`` in the call says so;
    ``mmr`` prefers vectors unlike those before, by ``mmr_threshold`` of the query or the call, 1 being relevance alone.
    Any other mode raises. Filters take all operators, nested to 64 groups, and mean what LlamaIndex's reference
    function means: a key that is missing meets only ``!=``, ``nin`` and ``is_empty``; a flag is filtered as 1 or 0.
    ``doc_ids`` and ``node_ids`` restrict as well. An empty list means nothing, except ``node_ids`` of a query: there
    every index sends one to mean no restriction.

    One database holds vectors of one embedder and one dimension, those of the first write; the setting
    ``AI_MODEL__VECTOR_DIM`` is to be that of your embedding model. With ``is_embedding_query=False`` the store's own
    embedder is used throughout, and the embeddings of nodes and queries are ignored.

    Sync and async are both native: the async ones never block the loop. A copy shares the store. What is read back
    from a pickle or a dict finds it in the same process; in another it opens the one that the environment names.

    Args:
        store: what ``open_store`` returned, or an ``EnhancedMemoryStore``; None opens the environment's.
        namespace: where the nodes are; another namespace is another collection.
        is_embedding_query: whether vectors come from LlamaIndex's embedding model.

    Raises:
        InvalidNamespace: the namespace cannot be used.
        TypeError: store is something else.
    """

    stores_text: bool = True
    is_embedding_query: bool = True
    namespace: tuple[str, ...] = ()
    link: str = ""
    _link: Link = PrivateAttr()
    _place: tuple[str, ...] = PrivateAttr()

    def __init__(
        self,
        store: Store | None = None,
        namespace: tuple[str, ...] | list[str] = (),
        *,
        is_embedding_query: bool = True,
        **fields: Any,  # noqa: ANN401  # what a dict of this object holds besides
    ) -> None:
        namespace = Query(text="?", namespace=namespace).namespace  # type: ignore[arg-type]  # a list is read as well
        super().__init__(**{**fields, "namespace": namespace, "is_embedding_query": is_embedding_query})
        self._link = Link(store, self.link)
        self.link = self._link.name
        self._place = (*namespace, "nodes")

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex files it under."""
        return "UMSVectorStore"

    @property
    def client(self) -> MemoryStore:
        """The blocking store."""
        return self._link.sync

    def add(self, nodes: "Sequence[BaseNode]", **_: Any) -> list[str]:  # noqa: ANN401  # the framework's signature
        """Store the nodes, all or none, and return their ids in the same order; an id that is there is replaced.

        Raises:
            InvalidInput: a node holds what cannot be stored; nothing was written.
            EmbedderMismatch, DimensionMismatch: its vector is not of the kind that the database holds.
        """
        return self._add(self._link.sync, nodes)

    async def async_add(self, nodes: "Sequence[BaseNode]", **_: Any) -> list[str]:  # noqa: ANN401  # as above
        """Store the nodes, as ``add`` does."""
        return await self._link.door.run(lambda store: self._add(store, nodes))

    def delete(self, ref_doc_id: str, **_: Any) -> None:  # noqa: ANN401  # as above
        """Delete all nodes of a source document."""
        self._delete(self._link.sync, where(SOURCE, "eq", ref_doc_id))

    async def adelete(self, ref_doc_id: str, **_: Any) -> None:  # noqa: ANN401  # as above
        """Delete all nodes of a source document."""
        await self._link.door.run(lambda store: self._delete(store, where(SOURCE, "eq", ref_doc_id)))

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **_: Any,  # noqa: ANN401  # as above
    ) -> None:
        """Delete the nodes that have one of the ids and meet the filters.

        Raises:
            ValueError: neither is given; ``clear`` deletes everything.
        """
        self._delete(self._link.sync, deletable(node_ids, filters))

    async def adelete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **_: Any,  # noqa: ANN401  # as above
    ) -> None:
        """Delete nodes, as ``delete_nodes`` does."""
        condition = deletable(node_ids, filters)
        await self._link.door.run(lambda store: self._delete(store, condition))

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> "list[BaseNode]":
        """The nodes that have one of the ids, in their order, and meet the filters; without both, all of them."""
        return self._get(self._link.sync, node_ids, filters)

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> "list[BaseNode]":
        """The nodes, as ``get_nodes`` gives them."""
        return await self._link.door.run(lambda store: self._get(store, node_ids, filters))

    def clear(self) -> None:
        """Delete all nodes of this namespace."""
        self._delete(self._link.sync, None)

    async def aclear(self) -> None:
        """Delete all nodes of this namespace."""
        await self._link.door.run(lambda store: self._delete(store, None))

    def query(self, query: "VectorStoreQuery", **kwargs: Any) -> VectorStoreQueryResult:  # noqa: ANN401  # as above
        """The nodes that answer, best first, each with its score.

        Raises:
            NotImplementedError: the mode is one that this store does not have.
            ValueError: the mode needs a text or a vector that the query lacks, or a filter cannot be read.
        """
        return self._query(self._link.sync, query, kwargs)

    async def aquery(self, query: "VectorStoreQuery", **kwargs: Any) -> VectorStoreQueryResult:  # noqa: ANN401  # as above
        """The nodes that answer, as ``query`` gives them."""
        return await self._link.door.run(lambda store: self._query(store, query, kwargs))

    def persist(self, persist_path: str, fs: object = None) -> None:
        """Do nothing: what was added is in the database already, and nowhere else."""

    def _add(self, store: MemoryStore, nodes: "Sequence[BaseNode]") -> list[str]:
        drafts = [draft_of(node, self._place, embedded=self.is_embedding_query) for node in nodes]
        return [memory.id for memory in store.add(drafts)]

    def _pages(self, store: MemoryStore, condition: Filter | None) -> "Iterator[list[Memory]]":
        cursor: int | None = None
        while True:
            page = store.scan(namespace=self._place, filter=condition, limit=_PAGE, cursor=cursor)
            yield [memory for memory in page.memories if memory.namespace == self._place]
            cursor = page.cursor
            if cursor is None:
                return

    def _delete(self, store: MemoryStore, condition: Filter | None) -> None:
        for page in self._pages(store, condition):
            store.delete([memory.id for memory in page], namespace=self._place)

    def _get(self, store: MemoryStore, node_ids: list[str] | None, filters: MetadataFilters | None) -> "list[BaseNode]":
        found = {memory.id: memory for page in self._pages(store, named(node_ids, filters)) for memory in page}
        wanted = found if node_ids is None else dict.fromkeys(id_ for id_ in node_ids if id_ in found)
        return [node for node in (node_of(found[id_]) for id_ in wanted) if node is not None]

    def _query(self, store: MemoryStore, asked: "VectorStoreQuery", kwargs: dict[str, Any]) -> VectorStoreQueryResult:
        question = question_of(asked, self._place, kwargs, embedded=self.is_embedding_query)
        hits = [] if question is None else store.search(question)
        found = [(node, hit) for node, hit in ((node_of(hit.memory), hit) for hit in hits) if node is not None]
        return VectorStoreQueryResult(
            nodes=[node for node, _ in found],
            similarities=[hit.score for _, hit in found],
            ids=[hit.memory.id for _, hit in found],
        )
