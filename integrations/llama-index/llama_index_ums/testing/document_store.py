"""The suites that any ``BaseDocumentStore`` and any ``BaseIndexStore`` should pass.

::

    class TestMine(DocumentStoreSuite):
        @pytest.fixture
        def document_store(self):
            return MyDocumentStore()
"""

# ruff: noqa: D102  # a test's name is the behaviour

import pytest
from llama_index.core.data_structs import IndexDict
from llama_index.core.schema import Document, ImageNode, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.storage.docstore import BaseDocumentStore
from llama_index.core.storage.index_store.types import BaseIndexStore

from llama_index_ums.testing.faces import FACES, Face

__all__ = ["DocumentStoreSuite", "IndexStoreSuite"]

both_faces = pytest.mark.parametrize("awaited", FACES, ids=["blocking", "awaitable"])


def piece(id_: str, source: str) -> TextNode:
    """A node of a document."""
    return TextNode(
        id_=id_, text=f"text of {id_}", relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=source)}
    )


class DocumentStoreSuite:
    """Tests of both faces; a subclass gives the fixture ``document_store``, empty."""

    @both_faces
    async def test_documents_come_back_whole(self, document_store: BaseDocumentStore, *, awaited: bool) -> None:
        face = Face(document_store, awaited=awaited)
        documents = [
            Document(
                text="Füße 🦓", doc_id="d/1 é", metadata={"n": 1, "tags": ["x"]}, excluded_llm_metadata_keys=["n"]
            ),
            ImageNode(id_="i", text="a picture", image_url="http://x/y.png"),
            piece("n", "d/1 é"),
        ]
        await face.add_documents(documents)
        for document in documents:
            found = await face.get_document(document.node_id)
            assert (type(found), found.hash) == (type(document), document.hash)
            assert found.model_dump() == document.model_dump()
            assert await face.document_exists(document.node_id)
        assert sorted(document_store.docs) == ["d/1 é", "i", "n"]
        await face.add_documents([])

    @both_faces
    async def test_what_is_not_there_is_refused_or_none(
        self, document_store: BaseDocumentStore, *, awaited: bool
    ) -> None:
        face = Face(document_store, awaited=awaited)
        assert await face.document_exists("x") is False
        assert await face.get_document("x", raise_error=False) is None
        assert await face.get_document_hash("x") is None
        assert await face.get_ref_doc_info("x") is None
        for method in (face.get_document, face.delete_document, face.delete_ref_doc):
            with pytest.raises(ValueError, match="x"):
                await method("x")
        await face.delete_document("x", raise_error=False)
        await face.delete_ref_doc("x", raise_error=False)

    @both_faces
    async def test_an_id_is_replaced_only_if_that_is_allowed(
        self, document_store: BaseDocumentStore, *, awaited: bool
    ) -> None:
        face = Face(document_store, awaited=awaited)
        await face.add_documents([Document(text="old", doc_id="d")])
        with pytest.raises(ValueError, match="allow_update"):
            await face.add_documents([Document(text="new", doc_id="d")], allow_update=False)
        assert (await face.get_document("d")).text == "old"
        await face.add_documents([Document(text="new", doc_id="d")])
        assert (await face.get_document("d")).text == "new"

    @both_faces
    async def test_hashes_are_kept_by_document(self, document_store: BaseDocumentStore, *, awaited: bool) -> None:
        face = Face(document_store, awaited=awaited)
        await face.set_document_hash("a", "1")
        await face.set_document_hashes({"b": "2", "c": "3"})
        await face.set_document_hash("c", "4")
        assert [await face.get_document_hash(name) for name in "abc"] == ["1", "2", "4"]
        assert await face.get_all_document_hashes() == {"1": "a", "2": "b", "4": "c"}

    @both_faces
    async def test_a_document_knows_its_nodes_until_they_are_deleted(
        self, document_store: BaseDocumentStore, *, awaited: bool
    ) -> None:
        face = Face(document_store, awaited=awaited)
        await face.add_documents([piece("a", "d"), piece("b", "d"), piece("c", "e")])
        assert sorted((await face.get_ref_doc_info("d")).node_ids) == ["a", "b"]
        assert sorted(await face.get_all_ref_doc_info()) == ["d", "e"]
        await face.delete_document("a")
        assert (await face.get_ref_doc_info("d")).node_ids == ["b"]
        await face.delete_ref_doc("d")
        assert sorted(document_store.docs) == ["c"]
        assert sorted(await face.get_all_ref_doc_info()) == ["e"]


class IndexStoreSuite:
    """Tests of both faces; a subclass gives the fixture ``index_store``, empty."""

    @both_faces
    async def test_structures_are_kept_by_id(self, index_store: BaseIndexStore, *, awaited: bool) -> None:
        face = Face(index_store, awaited=awaited)
        assert (await face.index_structs(), await face.get_index_struct("x")) == ([], None)
        one = IndexDict(index_id="one/é", summary="of all", nodes_dict={"v": "n"})
        await face.add_index_struct(one)
        # With one structure in store, no id is needed.
        assert await face.get_index_struct() == await face.get_index_struct("one/é") == one
        await face.add_index_struct(IndexDict(index_id="two"))
        await face.add_index_struct(IndexDict(index_id="one/é", summary="anew"))
        assert sorted(struct.index_id for struct in await face.index_structs()) == ["one/é", "two"]
        assert (await face.get_index_struct("one/é")).summary == "anew"
        await face.delete_index_struct("one/é")
        assert [struct.index_id for struct in await face.index_structs()] == ["two"]
