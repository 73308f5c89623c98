"""The suites that any ``BaseRetriever`` and any reranking ``BaseNodePostprocessor`` should pass.

::

    class TestMine(RetrieverSuite):
        @pytest.fixture
        def retriever(self):
            return MyRetriever(TEXTS)
"""

# ruff: noqa: D102  # a test's name is the behaviour

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

__all__ = ["TEXTS", "RerankerSuite", "RetrieverSuite"]

TEXTS = ("a zebra grazing on the plain", "the zebra crossing of the town", "quartz veins in granite", "a quilt of wool")


def texts(nodes: list[NodeWithScore]) -> list[str]:
    """Their contents."""
    return [node.text for node in nodes]


class RetrieverSuite:
    """Tests of both faces; a subclass gives the fixture ``retriever``, of two nodes at most, over ``TEXTS``."""

    async def test_the_best_come_first_on_both_faces(self, retriever: BaseRetriever) -> None:
        found = retriever.retrieve("zebra crossing")
        assert texts(found)[0] == TEXTS[1]
        assert len(found) <= 2
        scores = [node.score or 0.0 for node in found]
        assert scores == sorted(scores, reverse=True)
        again = await retriever.aretrieve(QueryBundle("zebra crossing"))
        assert [node.node_id for node in again] == [node.node_id for node in found]
        assert [node.score for node in again] == pytest.approx(scores)

    async def test_a_node_is_the_same_in_every_answer(self, retriever: BaseRetriever) -> None:
        asked = ("zebra crossing", "a town with a zebra crossing")
        one, other = [next(node for node in retriever.retrieve(text) if node.text == TEXTS[1]) for text in asked]
        assert one.node == other.node

    async def test_what_was_found_may_be_changed(self, retriever: BaseRetriever) -> None:
        retriever.retrieve("zebra crossing")[0].node.metadata["x"] = 1
        assert "x" not in retriever.retrieve("zebra crossing")[0].node.metadata

    def test_loops_and_threads_may_share_it(self, retriever: BaseRetriever) -> None:
        def ask(number: int) -> str:
            text = ("zebra crossing", "quartz granite")[number % 2]
            found = retriever.retrieve(text) if number % 4 < 2 else asyncio.run(retriever.aretrieve(text))
            return texts(found)[0]

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(ask, range(8))) == [TEXTS[1], TEXTS[2]] * 4


class RerankerSuite:
    """Tests of both faces; a subclass gives ``reranker``, of two nodes, for which the shortest text is the best."""

    nodes = tuple(
        NodeWithScore(node=TextNode(id_=str(place), text=text), score=0.9 - place / 10)
        for place, text in enumerate(TEXTS)
    )

    async def test_the_best_are_kept_in_a_new_order_on_both_faces(self, reranker: BaseNodePostprocessor) -> None:
        before = [node.model_copy(deep=True) for node in self.nodes]
        found = reranker.postprocess_nodes(list(self.nodes), query_str="zebra")
        shortest = sorted(TEXTS, key=len)
        assert texts(found) == shortest[:2]
        assert (found[0].score or 0.0) > (found[1].score or 0.0)
        assert await reranker.apostprocess_nodes(list(self.nodes), query_bundle=QueryBundle("zebra")) == found
        assert list(self.nodes) == before

    async def test_nothing_in_gives_nothing_and_no_question_is_refused(self, reranker: BaseNodePostprocessor) -> None:
        assert reranker.postprocess_nodes([], query_str="zebra") == []
        assert await reranker.apostprocess_nodes([], query_str="zebra") == []
        with pytest.raises(ValueError, match=r"(?i)question|query"):
            reranker.postprocess_nodes(list(self.nodes))
