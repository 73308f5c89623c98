"""The retriever's later options, and the second look at nodes."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pytest
from llama_index.core.llms import MockLLM
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.core.vector_stores import FilterOperator, MetadataFilter, MetadataFilters, VectorStoreQuery
from llama_index.core.vector_stores.types import VectorStoreQueryMode
from llama_index.postprocessor.ums import UMSRerank
from llama_index.retrievers.ums import UMSRetriever
from llama_index.vector_stores.ums import UMSVectorStore

from ums_core import Draft, DualStore, MemoryStore, RemoteStore, UnifiedSettings, open_store


class Shortest:
    """A small real reader: the shorter a text that shares a word with the question, the better."""

    def scores(self, question: str, texts: Sequence[str], *, budget_s: float) -> npt.NDArray[np.float64] | None:
        if budget_s < 0.01:
            return None
        return np.array([(question in text) - len(text) / 1000 for text in texts])

    def close(self) -> None: ...


def texts(nodes: list[NodeWithScore]) -> list[str]:
    return [node.text for node in nodes]


NODES = [
    NodeWithScore(node=TextNode(id_=str(n), text=text), score=0.9 - n / 10)
    for n, text in enumerate(["a zebra among many other animals", "a quilt", "a zebra"])
]


@pytest.mark.parametrize("face", ["sync", "async"])
def test_nodes_come_in_the_order_of_the_reader_with_its_scores(face: str) -> None:
    rerank = UMSRerank(Shortest(), top_n=2)
    found = (
        rerank.postprocess_nodes(NODES, query_str="zebra")
        if face == "sync"
        else asyncio.run(rerank.apostprocess_nodes(NODES, query_str="zebra"))
    )
    assert texts(found) == ["a zebra", "a zebra among many other animals"]
    assert [node.score for node in found] == pytest.approx([0.993, 0.968])
    assert [node.score for node in NODES] == pytest.approx([0.9, 0.8, 0.7])
    assert BaseNodePostprocessor.__name__ in [b.__name__ for b in UMSRerank.__mro__]


def test_the_former_score_is_kept_on_demand_and_on_a_copy() -> None:
    (best, *_) = UMSRerank(Shortest(), keep_retrieval_score=True).postprocess_nodes(NODES, query_str="zebra")
    assert best.metadata == {"retrieval_score": pytest.approx(0.7)}
    assert all(node.metadata == {} for node in NODES)


def test_nothing_in_gives_nothing_and_no_question_is_refused() -> None:
    rerank = UMSRerank(Shortest())
    assert rerank.postprocess_nodes([], query_str="zebra") == []
    with pytest.raises(ValueError, match="question"):
        rerank.postprocess_nodes(NODES)


def test_where_time_does_not_suffice_the_nodes_keep_their_order() -> None:
    found = UMSRerank(Shortest(), top_n=2, timeout_s=0.001).postprocess_nodes(NODES, query_str="zebra")
    assert found == NODES[:2]


def test_a_model_is_not_loaded_before_it_is_needed_and_must_be_named() -> None:
    start = time.monotonic()
    assert UMSRerank(model="/nowhere").postprocess_nodes([], query_str="zebra") == []
    assert time.monotonic() - start < 60
    with pytest.raises(ValueError, match="model"):
        UMSRerank()
    with pytest.raises(TypeError, match="got str"):
        UMSRerank("cross-encoder/ms-marco-MiniLM-L6-v2")


@pytest.fixture
def reread() -> Iterator[MemoryStore]:
    settings = UnifiedSettings.for_testing(ranking={"cross_encoder_budget_s": 5.0})
    with open_store(settings, reranker=Shortest()) as store:
        store.add([Draft(text=node.text, metadata={"n": n}) for n, node in enumerate(NODES)])
        yield store


def test_a_retriever_lets_the_store_read_again(reread: MemoryStore) -> None:
    engine = RetrieverQueryEngine.from_args(UMSRetriever(reread, k=3, rerank=True), llm=MockLLM())
    assert texts(engine.query("zebra").source_nodes)[0] == "a zebra"
    assert texts(asyncio.run(UMSRetriever(reread, k=1, rerank=True).aretrieve("zebra"))) == ["a zebra"]
    plain = UMSRetriever(reread, k=3, rerank=False).retrieve("zebra")
    assert texts(UMSRerank(Shortest()).postprocess_nodes(plain, query_str="zebra"))[0] == "a zebra"


def test_semantic_hybrid_lets_the_store_read_again() -> None:
    with open_store(UnifiedSettings.for_testing(), reranker=Shortest()) as store:
        vectors = UMSVectorStore(store, is_embedding_query=False)
        vectors.add([node.node for node in NODES])
        asked = VectorStoreQuery(query_str="zebra", mode=VectorStoreQueryMode.SEMANTIC_HYBRID, similarity_top_k=3)
        assert (vectors.query(asked, rerank=True).ids or [])[0] == "2"
        assert len(vectors.query(asked).ids or []) == 3


def test_a_retriever_takes_llamaindexs_filters(reread: MemoryStore) -> None:
    filters = MetadataFilters(filters=[MetadataFilter(key="n", value=1, operator=FilterOperator.GTE)])
    assert sorted(texts(UMSRetriever(reread, filter=filters).retrieve("zebra"))) == ["a quilt", "a zebra"]


def test_a_retriever_gives_a_stored_node_back_as_it_was(store: MemoryStore) -> None:
    node = TextNode(id_="mine", text="a zebra", metadata={"page": 3}, excluded_llm_metadata_keys=["page"])
    UMSVectorStore(store, ("docs",), is_embedding_query=False).add([node])
    (found,) = UMSRetriever(store, namespace=("docs",)).retrieve("zebra")
    assert found.node == node


def test_a_question_leaves_the_device_only_if_it_is_marked(
    store: MemoryStore, service: Callable[[], RemoteStore]
) -> None:
    with DualStore(store, service()) as dual:
        dual.add([Draft(text="my own zebra")])
        dual.add([Draft(text="everybody's zebra", channel="global")])

        def found(channel: str) -> list[str]:
            retriever = UMSRetriever(dual, channel=channel)
            return sorted(texts(retriever.retrieve("zebra")) + texts(asyncio.run(retriever.aretrieve("zebra"))))

        assert found("personal") == ["my own zebra"] * 2
        assert found("global") == ["everybody's zebra"] * 2
        assert len(found("both")) == 4
