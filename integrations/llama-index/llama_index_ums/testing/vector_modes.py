"""More of the suite of vector stores: fusion, unknown modes, and the awaitable twins."""

# ruff: noqa: D102  # a test's name is the behaviour

import pytest
from llama_index.core.vector_stores.types import BasePydanticVectorStore, VectorStoreQuery, VectorStoreQueryMode

from llama_index_ums.testing.vector_store import VectorStoreSuite, only

__all__ = ["FullVectorStoreSuite"]

HYBRID, SEMANTIC = VectorStoreQueryMode.HYBRID, VectorStoreQueryMode.SEMANTIC_HYBRID


class FullVectorStoreSuite(VectorStoreSuite):
    """The suite with fusion and both faces; a subclass gives the fixture ``vector_store``, empty."""

    def test_alpha_moves_from_words_to_vectors(self, filled: BasePydanticVectorStore) -> None:
        def best(alpha: float | None) -> str:
            asked = VectorStoreQuery(
                query_embedding=self.vector(0.8, 0.6),
                query_str="crossing",
                mode=HYBRID,
                alpha=alpha,
                similarity_top_k=3,
            )
            return (filled.query(asked).ids or [])[0]

        assert (best(0.0), best(1.0)) == ("c", "b")
        assert best(None) == best(0.5)
        for alpha in (-0.1, 1.1):
            with pytest.raises(ValueError, match="alpha"):
                best(alpha)

    def test_fusion_has_a_number_of_places_of_its_own(self, filled: BasePydanticVectorStore) -> None:
        asked = VectorStoreQuery(
            query_embedding=self.vector(1.0), query_str="zebra", mode=HYBRID, similarity_top_k=3, hybrid_top_k=1
        )
        assert len(filled.query(asked).ids or []) == 1
        words = VectorStoreQuery(
            query_str="zebra", mode=VectorStoreQueryMode.SPARSE, similarity_top_k=3, sparse_top_k=1
        )
        assert len(filled.query(words).ids or []) == 1

    @pytest.mark.parametrize("mode", [HYBRID, SEMANTIC])
    def test_fusion_obeys_filters_and_ids(self, filled: BasePydanticVectorStore, mode: VectorStoreQueryMode) -> None:
        fused = {"query_embedding": self.vector(1.0), "query_str": "zebra", "mode": mode, "similarity_top_k": 5}
        result = filled.query(VectorStoreQuery(**fused))  # type: ignore[arg-type]  # of several types
        assert sorted(result.ids or []) == ["a", "b", "c"]
        assert result.similarities == sorted(result.similarities or [], reverse=True)
        assert filled.query(VectorStoreQuery(**fused, filters=only("n", 3))).ids == ["c"]  # type: ignore[arg-type]  # as above
        assert filled.query(VectorStoreQuery(**fused, doc_ids=["d2"])).ids == ["c"]  # type: ignore[arg-type]  # as above
        with pytest.raises(ValueError, match=mode.value):
            filled.query(VectorStoreQuery(query_embedding=self.vector(1.0), mode=mode))

    def test_diversity_comes_from_the_query_or_the_call(self, vector_store: BasePydanticVectorStore) -> None:
        twins = [self.node(name, 1.0, 0.02 * place) for place, name in enumerate("abc")]
        vector_store.add([*twins, self.node("other", 0.3, -0.9)])

        def ids(threshold: float | None, **options: float) -> list[str]:
            asked = VectorStoreQuery(
                query_embedding=self.vector(1.0),
                mode=VectorStoreQueryMode.MMR,
                similarity_top_k=2,
                mmr_threshold=threshold,
            )
            return vector_store.query(asked, **options).ids or []

        assert ids(1.0) == ids(None, mmr_threshold=1.0) == ["a", "b"]
        assert ids(0.3) == ids(None, mmr_threshold=0.3) == ids(0.3, mmr_threshold=1.0) == ["a", "other"]
        assert len(ids(None)) == 2
        with pytest.raises(ValueError, match="mmr_threshold"):
            ids(1.5)

    @pytest.mark.parametrize(
        "mode",
        [
            VectorStoreQueryMode.SVM,
            VectorStoreQueryMode.LOGISTIC_REGRESSION,
            VectorStoreQueryMode.LINEAR_REGRESSION,
        ],
    )
    def test_a_mode_that_is_not_there_is_named(
        self, filled: BasePydanticVectorStore, mode: VectorStoreQueryMode
    ) -> None:
        with pytest.raises(NotImplementedError, match=mode.value):
            filled.query(VectorStoreQuery(query_embedding=self.vector(1.0), query_str="zebra", mode=mode))

    async def test_the_awaitable_face_does_all_of_it(self, vector_store: BasePydanticVectorStore) -> None:
        nodes = [self.node("a", 1.0, source="d1"), self.node("b", 0.5, 1.0, source="d2", metadata={"n": 2})]
        assert await vector_store.async_add(nodes) == ["a", "b"]
        result = await vector_store.aquery(VectorStoreQuery(query_embedding=self.vector(1.0), similarity_top_k=1))
        assert result.ids == ["a"]
        assert [node.node_id for node in await vector_store.aget_nodes(["b", "a"])] == ["b", "a"]
        assert [node.node_id for node in await vector_store.aget_nodes(filters=only("n", 2))] == ["b"]
        await vector_store.adelete("d1")
        assert [node.node_id for node in await vector_store.aget_nodes()] == ["b"]
        await vector_store.adelete_nodes(["b"], filters=only("n", 3))
        assert len(await vector_store.aget_nodes()) == 1
        await vector_store.adelete_nodes(["b"])
        assert await vector_store.aget_nodes() == []
        await vector_store.async_add(nodes)
        await vector_store.aclear()
        assert await vector_store.aget_nodes() == []
