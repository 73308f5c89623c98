from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from langchain_ums import UMSRetriever, UMSVectorStore

from ums_core import UnifiedSettings, open_store

TEXTS = ["a heron stood by the lake all the morning", "a heron by the lake", "heron"]


class _ShortestFirst:
    """A reranker of a user's own, to whom a short text is a good one."""

    def scores(self, question: str, texts: Sequence[str], *, budget_s: float) -> npt.NDArray[np.float64] | None:
        assert question == "a heron by the lake"
        return np.array([-len(text) for text in texts], np.float64) if budget_s > 0 else None

    def close(self) -> None:
        """Hold nothing."""


@pytest.mark.parametrize("mode", ["vector", "hybrid"])
async def test_what_is_found_is_reranked_where_the_call_asks_for_it(mode: str) -> None:
    with open_store(UnifiedSettings.for_testing(), reranker=_ShortestFirst()) as store:
        vectors = UMSVectorStore(store=store, namespace=("notes",))
        vectors.add_texts(TEXTS)
        retriever = UMSRetriever(store=store, namespace=("notes",), mode=mode, k=3)
        shortest = sorted(TEXTS, key=len)

        plain = [d.page_content for d in vectors.similarity_search("a heron by the lake", k=3, mode=mode)]
        assert plain[0] == "a heron by the lake"
        ask = {"k": 3, "mode": mode, "use_cross_encoder": True}
        assert [d.page_content for d in vectors.similarity_search("a heron by the lake", **ask)] == shortest
        assert [d.page_content for d in await vectors.asimilarity_search("a heron by the lake", **ask)] == shortest
        assert [d.page_content for d in retriever.invoke("a heron by the lake", use_cross_encoder=True)] == shortest
