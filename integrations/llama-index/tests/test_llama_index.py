"""The vector store inside LlamaIndex's indexes, pipelines and engines."""

import asyncio
import threading
from pathlib import Path

import pytest
from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.core.embeddings import BaseEmbedding, MockEmbedding
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters, VectorStoreQuery
from llama_index.core.vector_stores.types import VectorStoreQueryMode
from llama_index.vector_stores.ums import UMSVectorStore

from ums_core import EnhancedMemoryStore, LocalStore, UMSError, UnifiedSettings, open_store
from ums_core.settings.database import url_of


class Letters(BaseEmbedding):
    """A vector of letter counts: near means spelled alike."""

    def _get_text_embedding(self, text: str) -> list[float]:
        return [float(text.lower().count(chr(letter))) + 0.01 for letter in range(97, 123)]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


@pytest.fixture
def letters() -> LocalStore:
    with open_store(UnifiedSettings.for_testing(model={"vector_dim": 26})) as store:
        yield store


DOCS = [Document(text="zebra zebra", doc_id="z", metadata={"n": 1}), Document(text="quilt", doc_id="q")]


def test_an_index_over_an_existing_store_needs_no_docstore(letters: LocalStore) -> None:
    vectors = UMSVectorStore(store=letters)
    storage = StorageContext.from_defaults(vector_store=vectors)
    VectorStoreIndex.from_documents(DOCS, storage_context=storage, embed_model=Letters())
    index = VectorStoreIndex.from_vector_store(vectors, embed_model=Letters())
    (best, second) = index.as_retriever(similarity_top_k=2).retrieve("zebra")
    assert (best.text, best.node.ref_doc_id, best.metadata) == ("zebra zebra", "z", {"n": 1})
    assert (best.score or 0) > (second.score or 0)
    (found,) = asyncio.run(index.as_retriever(similarity_top_k=1).aretrieve("quilt"))
    assert found.text == "quilt"
    index.delete_ref_doc("z")
    assert [node.text for node in index.as_retriever().retrieve("zebra")] == ["quilt"]
    index.delete_nodes([found.node_id])
    assert index.as_retriever().retrieve("zebra") == []


@pytest.mark.parametrize(
    "options",
    [
        {"vector_store_query_mode": "text_search"},
        {"vector_store_query_mode": "sparse"},
        {"vector_store_query_mode": "hybrid", "alpha": 0.3},
        {"vector_store_query_mode": "semantic_hybrid"},
        {"doc_ids": ["z"]},
        {"filters": MetadataFilters(filters=[MetadataFilter(key="n", value=1)])},
    ],
    ids=str,
)
def test_a_retriever_of_an_index_has_every_option(letters: LocalStore, options: dict[str, object]) -> None:
    storage = StorageContext.from_defaults(vector_store=UMSVectorStore(store=letters))
    index = VectorStoreIndex.from_documents(DOCS, storage_context=storage, embed_model=Letters())
    retriever = index.as_retriever(similarity_top_k=1, **options)
    for found in (retriever.retrieve("zebra"), asyncio.run(retriever.aretrieve("zebra"))):
        assert [node.text for node in found] == ["zebra zebra"]


@pytest.mark.parametrize("strategy", [DocstoreStrategy.UPSERTS, DocstoreStrategy.UPSERTS_AND_DELETE])
def test_a_pipeline_leaves_no_stale_chunk(letters: LocalStore, strategy: DocstoreStrategy) -> None:
    vectors = UMSVectorStore(store=letters)
    pipeline = IngestionPipeline(
        transformations=[SentenceSplitter(chunk_size=20, chunk_overlap=0), Letters()],
        vector_store=vectors, docstore=SimpleDocumentStore(), docstore_strategy=strategy,
    )  # fmt: skip

    def texts() -> str:
        return " ".join(sorted(node.get_content() for node in vectors.get_nodes()))

    pipeline.run(documents=[Document(text="One zebra. " * 20, doc_id="z"), Document(text="quilt", doc_id="q")])
    chunks = len(vectors.get_nodes())
    assert chunks > 2
    pipeline.run(documents=[Document(text="One zebra. " * 20, doc_id="z"), Document(text="quilt", doc_id="q")])
    assert len(vectors.get_nodes()) == chunks
    asyncio.run(pipeline.arun(documents=[Document(text="Now a yak.", doc_id="z")]))
    assert texts() == ("Now a yak." if strategy is DocstoreStrategy.UPSERTS_AND_DELETE else "Now a yak. quilt")


def test_what_was_added_is_there_after_a_restart_without_persisting(tmp_path: Path) -> None:
    settings = UnifiedSettings.for_testing(
        database={"url": url_of(tmp_path / "m.db")}, model={"vector_dim": 26, "embedder": "none"}
    )
    with open_store(settings) as store:
        storage = StorageContext.from_defaults(vector_store=UMSVectorStore(store=store, namespace=("docs",)))
        index = VectorStoreIndex.from_documents(DOCS, storage_context=storage, embed_model=Letters())
        index.storage_context.persist(str(tmp_path / "persisted"))
    with open_store(settings) as store:
        vectors = UMSVectorStore(store=store, namespace=("docs",))
        again = VectorStoreIndex.from_vector_store(vectors, embed_model=Letters())
        assert [node.text for node in again.as_retriever(similarity_top_k=1).retrieve("zebra")] == ["zebra zebra"]


def test_a_collection_sees_neither_those_below_it_nor_other_memories(letters: LocalStore) -> None:
    above, below = (UMSVectorStore(store=letters, namespace=place) for place in (("a",), ("a", "b")))
    node = TextNode(id_="same", text="above", embedding=[1.0] * 26)
    above.add([node])
    below.add([TextNode(id_="same", text="below", embedding=[1.0] * 26)])
    asked = VectorStoreQuery(query_embedding=[1.0] * 26, similarity_top_k=9)
    assert [found.text for found in above.query(asked).nodes or []] == ["above"]
    above.clear()
    assert [found.text for found in below.get_nodes()] == ["below"]


def test_the_store_can_do_the_embedding(store: LocalStore) -> None:
    vectors = UMSVectorStore(store=store, is_embedding_query=False)
    storage = StorageContext.from_defaults(vector_store=vectors)
    index = VectorStoreIndex.from_documents(DOCS, storage_context=storage, embed_model=MockEmbedding(embed_dim=1))
    assert [node.text for node in index.as_retriever(similarity_top_k=1).retrieve("zebra")] == ["zebra zebra"]
    # What is embedded is what LlamaIndex would show to an embedder, metadata and all.
    (memory, _) = store.scan(namespace=("nodes",)).memories
    assert [passage.of(memory.text) for passage in memory.passages] == ["n: 1\n\nzebra zebra"]


def test_nodes_without_an_embedding_are_embedded_by_the_store(store: LocalStore) -> None:
    vectors = UMSVectorStore(store=store)
    vectors.add([TextNode(text="a zebra"), TextNode(text="a quilt")])
    (found,) = vectors.query(VectorStoreQuery(query_str="zebra")).nodes or []
    assert found.get_content() == "a zebra"


def test_a_vector_of_another_length_is_refused_and_nothing_is_written(letters: LocalStore) -> None:
    vectors = UMSVectorStore(store=letters)
    with pytest.raises(UMSError, match="components"):
        vectors.add([TextNode(text="x", embedding=[1.0] * 26), TextNode(text="y", embedding=[1.0])])
    assert vectors.get_nodes() == []


def test_a_query_without_a_vector_or_a_text_says_what_it_needs(letters: LocalStore) -> None:
    with pytest.raises(ValueError, match="'default' needs query_embedding or query_str"):
        UMSVectorStore(store=letters).query(VectorStoreQuery(mode=VectorStoreQueryMode.DEFAULT))


def test_something_else_than_a_store_is_refused() -> None:
    with pytest.raises(TypeError, match="got str"):
        UMSVectorStore(store="sqlite:///memory.db")
    with pytest.raises(UMSError):
        UMSVectorStore(namespace="docs")


@pytest.mark.parametrize("wrap", [lambda store: store, EnhancedMemoryStore], ids=["store", "door"])
def test_no_awaitable_call_blocks_the_loop(
    watched: tuple[LocalStore, set[int]], wrap: type[EnhancedMemoryStore]
) -> None:
    store, threads = watched
    vectors = UMSVectorStore(store=wrap(store), is_embedding_query=False)

    async def run() -> None:
        related = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="d")}
        assert await vectors.async_add([TextNode(id_="a", text="aaa", relationships=related)]) == ["a"]
        assert (await vectors.aquery(VectorStoreQuery(query_str="aaa"))).ids == ["a"]
        await vectors.adelete("d")
        assert await vectors.aget_nodes() == []

    asyncio.run(run())
    assert threads
    assert threading.get_ident() not in threads
    assert vectors.client is store
