"""The suite that any ``BasePydanticVectorStore`` that stores text should pass; it judges by behaviour alone.

::

    class TestMine(VectorStoreSuite):
        @pytest.fixture
        def vector_store(self):
            return MyVectorStore()
"""

# ruff: noqa: D102  # a test's name is the behaviour

from typing import Any, ClassVar

import pytest
from llama_index.core.schema import (
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)

__all__ = ["VectorStoreSuite", "only"]


def only(key: str, value: float | str, operator: FilterOperator = FilterOperator.EQ) -> MetadataFilters:
    """One comparison as filters."""
    return MetadataFilters(filters=[MetadataFilter(key=key, value=value, operator=operator)])


class VectorStoreSuite:
    """Fixtures and tests; a subclass gives the fixture ``vector_store``, empty.

    Attributes:
        dim: number of components of the vectors that the store takes.
    """

    dim: ClassVar[int] = 384

    def vector(self, *components: float) -> list[float]:
        """The components, and zeros."""
        return [*components, *[0.0] * (self.dim - len(components))]

    def node(self, id_: str, *components: float, source: str | None = None, **fields: object) -> TextNode:
        """A node with a vector, of a source document."""
        related = (
            {} if source is None else {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=source, metadata={"t": 1})}
        )
        given = {"text": f"text of {id_}", "embedding": self.vector(*components), "relationships": related} | fields
        return TextNode(id_=id_, **given)

    def ask(self, store: BasePydanticVectorStore, *components: float, k: int = 10, **fields: object) -> list[str]:
        """The ids that answer a vector."""
        asked = VectorStoreQuery(query_embedding=self.vector(*components), similarity_top_k=k, **fields)  # type: ignore[arg-type]  # a test's own fields
        return store.query(asked).ids or []

    @pytest.fixture
    def filled(self, vector_store: BasePydanticVectorStore) -> BasePydanticVectorStore:
        vector_store.add(
            [
                self.node("a", 1.0, 0.1, source="d1", text="zebra grazing", metadata={"n": 1, "who": "Ada"}),
                self.node("b", 0.8, 0.6, source="d1", text="quartz vein", metadata={"n": 2}),
                self.node("c", 0.1, 1.0, source="d2", text="zebra crossing", metadata={"n": 3, "tags": ["x", "y"]}),
            ]
        )
        return vector_store

    def test_it_keeps_text(self, vector_store: BasePydanticVectorStore) -> None:
        assert vector_store.stores_text
        assert isinstance(vector_store.class_name(), str)

    def test_ids_come_back_in_the_order_of_the_nodes(self, vector_store: BasePydanticVectorStore) -> None:
        assert vector_store.add([self.node("z", 1.0), self.node("a", 0.5, 1.0)]) == ["z", "a"]
        assert vector_store.add([]) == []

    @pytest.mark.parametrize("kind", ["text", "index", "image", "media"])
    def test_a_node_comes_back_whole(self, vector_store: BasePydanticVectorStore, kind: str) -> None:
        related = {
            NodeRelationship.SOURCE: RelatedNodeInfo(node_id="d", metadata={"page": 1}, hash="h"),
            NodeRelationship.NEXT: RelatedNodeInfo(node_id="n2"),
            NodeRelationship.CHILD: [RelatedNodeInfo(node_id="n3")],
        }
        fields: dict[str, Any] = {
            "id_": "n/1 é", "metadata": {"z": 1, "a": [1, "x", None], "d.e": {"f": 2.5}}, "relationships": related,
            "excluded_llm_metadata_keys": ["z"], "excluded_embed_metadata_keys": ["a"], "embedding": self.vector(1.0),
            "metadata_template": "{key}={value}", "metadata_separator": "; ",
        }  # fmt: skip
        text = "Füße 🦓\n\n tail "
        made: dict[str, Any] = {
            "text": lambda: TextNode(text=text, start_char_idx=3, end_char_idx=9, mimetype="text/x", **fields),
            "index": lambda: IndexNode(text=text, index_id="i", obj=TextNode(text="inner", id_="in"), **fields),
            "image": lambda: ImageNode(text=text, image_url="http://x/y.png", **fields),
            "media": lambda: Node(text_resource=MediaResource(text=text), **fields),
        }
        node = made[kind]()
        vector_store.add([node])
        result = vector_store.query(VectorStoreQuery(query_embedding=self.vector(1.0)))
        (found,) = result.nodes or []
        assert type(found) is type(node)
        assert found.hash == node.hash
        assert list(found.metadata) == list(node.metadata)
        assert found.model_dump(exclude={"embedding"}) == node.model_dump(exclude={"embedding"})
        assert found.ref_doc_id == "d"

    def test_metadata_called_like_the_frameworks_own_keys_comes_back(
        self, vector_store: BasePydanticVectorStore
    ) -> None:
        node = self.node("a", 1.0, metadata={"doc_id": "mine", "x": 1, "_node_type": "mine"})
        vector_store.add([node])
        (found,) = vector_store.get_nodes(["a"])
        assert (found.metadata, found.hash) == (node.metadata, node.hash)

    def test_adding_an_id_again_replaces_its_node(self, filled: BasePydanticVectorStore) -> None:
        filled.add([self.node("a", 0.0, 0.0, 1.0, text="new", metadata={"n": 9})])
        assert len(filled.get_nodes()) == 3
        assert self.ask(filled, 0.0, 0.0, 1.0, k=1) == ["a"]
        assert [node.text for node in filled.get_nodes(["a"]) if isinstance(node, TextNode)] == ["new"]
        assert self.ask(filled, 1.0, filters=only("n", 1)) == []

    def test_the_nearest_come_first_and_higher_is_better(self, filled: BasePydanticVectorStore) -> None:
        result = filled.query(VectorStoreQuery(query_embedding=self.vector(1.0), similarity_top_k=2))
        assert result.ids == ["a", "b"]
        assert [node.node_id for node in result.nodes or []] == ["a", "b"]
        assert result.similarities == pytest.approx([0.995, 0.8], abs=1e-2)
        assert self.ask(filled, 1.0, k=0) == []

    def test_an_answer_without_hits_is_empty_and_not_none(self, vector_store: BasePydanticVectorStore) -> None:
        result = vector_store.query(VectorStoreQuery(query_embedding=self.vector(1.0)))
        assert result == VectorStoreQueryResult(nodes=[], similarities=[], ids=[])

    def test_deleting_a_document_takes_its_nodes_and_no_others(self, filled: BasePydanticVectorStore) -> None:
        filled.delete("a")  # the id of a node is not the id of a document
        filled.delete("unknown")
        assert len(filled.get_nodes()) == 3
        filled.delete("d1")
        assert [node.node_id for node in filled.get_nodes()] == ["c"]
        assert self.ask(filled, 1.0) == ["c"]

    def test_nodes_are_deleted_by_ids_and_filters(self, filled: BasePydanticVectorStore) -> None:
        filled.delete_nodes([])
        filled.delete_nodes(["a", "b", "unknown"], filters=only("n", 2))
        assert sorted(node.node_id for node in filled.get_nodes()) == ["a", "c"]
        filled.delete_nodes(filters=only("n", 1, FilterOperator.GT))
        filled.delete_nodes(["unknown"])
        assert [node.node_id for node in filled.get_nodes()] == ["a"]

    def test_deleting_without_a_condition_is_refused(self, filled: BasePydanticVectorStore) -> None:
        with pytest.raises(ValueError, match="clear"):
            filled.delete_nodes()
        assert len(filled.get_nodes()) == 3

    def test_nodes_are_read_by_ids_in_their_order_and_by_filters(self, filled: BasePydanticVectorStore) -> None:
        def ids(node_ids: list[str] | None, filters: MetadataFilters | None = None) -> list[str]:
            return [node.node_id for node in filled.get_nodes(node_ids, filters)]

        assert ids(["c", "a", "c", "unknown"]) == ["c", "a"]
        assert (ids([]), ids(["a", "c"], only("n", 3)), ids(None, only("who", "Ada"))) == ([], ["c"], ["a"])
        assert sorted(ids(None)) == ["a", "b", "c"]

    def test_clear_leaves_nothing(self, filled: BasePydanticVectorStore) -> None:
        filled.clear()
        assert filled.get_nodes() == []
        assert self.ask(filled, 1.0) == []

    def test_doc_ids_and_node_ids_restrict_and_no_documents_mean_nothing(self, filled: BasePydanticVectorStore) -> None:
        assert self.ask(filled, 1.0, doc_ids=["d1"]) == ["a", "b"]
        assert self.ask(filled, 1.0, doc_ids=["d2", "unknown"]) == ["c"]
        assert self.ask(filled, 1.0, node_ids=["c", "b"]) == ["b", "c"]
        assert self.ask(filled, 1.0, node_ids=["c", "b"], doc_ids=["d1"], filters=only("n", 2)) == ["b"]
        assert self.ask(filled, 1.0, doc_ids=[]) == []

    def test_an_empty_list_of_node_ids_is_what_every_index_sends(self, filled: BasePydanticVectorStore) -> None:
        assert self.ask(filled, 1.0, node_ids=[]) == ["a", "b", "c"]

    def test_a_filter_may_name_the_document(self, filled: BasePydanticVectorStore) -> None:
        for key in ("doc_id", "ref_doc_id", "document_id"):
            assert self.ask(filled, 1.0, filters=only(key, "d2")) == ["c"]

    @pytest.mark.parametrize("mode", [VectorStoreQueryMode.SPARSE, VectorStoreQueryMode.TEXT_SEARCH])
    def test_words_alone_decide(self, filled: BasePydanticVectorStore, mode: VectorStoreQueryMode) -> None:
        asked = VectorStoreQuery(query_str="zebra", mode=mode, similarity_top_k=5)
        result = filled.query(asked)
        assert sorted(result.ids or []) == ["a", "c"]
        assert result.similarities == sorted(result.similarities or [], reverse=True)
        with pytest.raises(ValueError, match=mode.value):
            filled.query(VectorStoreQuery(query_embedding=self.vector(1.0), mode=mode))
