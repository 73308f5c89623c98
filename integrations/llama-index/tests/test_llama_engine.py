import asyncio

from llama_index.core import VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.retrievers.ums import UMSRetriever

from ums_core import (
    LocalStore,
)

ADA, BOB = ("users", "ada@example.org"), ("users", "bob")


def texts(nodes: list[NodeWithScore]) -> set[str]:
    return {node.text for node in nodes}


def test_an_embedding_that_another_retriever_left_in_the_bundle_is_not_used(
    watched: tuple[LocalStore, set[int]],
) -> None:
    store, threads = watched
    bundle = QueryBundle("aaa", embedding=[0.0, 1.0, 0.0])
    retriever = UMSRetriever(store=store, k=1)
    assert texts(retriever.retrieve(bundle)) == {"aaa"}
    assert threads


def test_a_query_engine_answers_from_memories(filled: LocalStore) -> None:
    retriever = UMSRetriever(store=filled, k=1, namespace=ADA)
    engine = RetrieverQueryEngine.from_args(retriever, llm=MockLLM())
    for response in (engine.query("Lisbon"), asyncio.run(engine.aquery("Lisbon"))):
        assert "I moved to Lisbon." in str(response)
        assert "Oslo" not in str(response)
        assert [node.metadata["ums"]["id"] for node in response.source_nodes] == ["m/1"]


def test_fusion_counts_a_memory_of_two_retrievers_once(filled: LocalStore) -> None:
    both = [UMSRetriever(store=filled, k=4, mode=mode) for mode in ("vector", "hybrid")]
    fused = QueryFusionRetriever(both, llm=MockLLM(), num_queries=1, similarity_top_k=9, mode="reciprocal_rerank")
    assert len(fused.retrieve("moved to Lisbon")) == 4
    assert len(asyncio.run(fused.aretrieve("moved to Lisbon"))) == 4


def test_fusion_with_a_vector_index_of_another_embedder_works_in_any_order(filled: LocalStore) -> None:
    index = VectorStoreIndex([TextNode(text="A note.")], embed_model=MockEmbedding(embed_dim=8)).as_retriever()
    memories = UMSRetriever(store=filled, k=1)

    def fused(*retrievers: BaseRetriever, use_async: bool) -> QueryFusionRetriever:
        return QueryFusionRetriever(list(retrievers), llm=MockLLM(), num_queries=1, use_async=use_async)

    expected = {"A note.", "I moved to Lisbon."}
    assert texts(fused(memories, index, use_async=False).retrieve("Lisbon")) == expected
    assert texts(fused(index, memories, use_async=False).retrieve("Lisbon")) == expected
    assert texts(asyncio.run(fused(index, memories, use_async=True).aretrieve("Lisbon"))) == expected
