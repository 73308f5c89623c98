"""Conversations, values, documents and index structures in a store."""

import asyncio
from pathlib import Path

import pytest
from llama_index.core import Document, StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import Memory
from llama_index.core.schema import ImageDocument
from llama_index.core.storage.chat_store.base import BaseChatStore
from llama_index.core.storage.chat_store.base_db import AsyncDBChatStore
from llama_index.core.storage.docstore import BaseDocumentStore
from llama_index.core.storage.index_store.types import BaseIndexStore
from llama_index.core.storage.kvstore.types import BaseKVStore
from llama_index.storage.chat_store.ums import UMSChatStore, UMSSyncChatStore
from llama_index.storage.docstore.ums import UMSDocumentStore
from llama_index.storage.index_store.ums import UMSIndexStore
from llama_index.storage.kvstore.ums import UMSKVStore
from llama_index.vector_stores.ums import UMSVectorStore
from llama_index_ums.testing.chat_store import AsyncChatStoreSuite, ChatStoreSuite
from llama_index_ums.testing.document_store import DocumentStoreSuite, IndexStoreSuite
from llama_index_ums.testing.kv_store import KVStoreSuite
from llama_index_ums.testing.samples import said, texts

from ums_core import MemoryStore, Query, UMSError, UnifiedSettings, open_store
from ums_core.settings.database import url_of


class TestUMSChatStore(AsyncChatStoreSuite):
    @pytest.fixture
    def chat_store(self, any_store: MemoryStore) -> AsyncDBChatStore:
        return UMSChatStore(any_store, namespace=("users", "ada"))


class TestUMSSyncChatStore(ChatStoreSuite):
    @pytest.fixture
    def chat_store(self, any_store: MemoryStore) -> BaseChatStore:
        return UMSChatStore(any_store, namespace=("users", "ada")).sync


class TestUMSKVStore(KVStoreSuite):
    @pytest.fixture
    def kv_store(self, any_store: MemoryStore) -> BaseKVStore:
        return UMSKVStore(any_store, namespace=("users", "ada"))


class TestUMSDocumentStore(DocumentStoreSuite):
    @pytest.fixture
    def document_store(self, any_store: MemoryStore) -> BaseDocumentStore:
        return UMSDocumentStore(any_store, namespace=("users", "ada"))


class TestUMSIndexStore(IndexStoreSuite):
    @pytest.fixture
    def index_store(self, any_store: MemoryStore) -> BaseIndexStore:
        return UMSIndexStore(any_store, namespace=("users", "ada"))


def test_class() -> None:
    assert AsyncDBChatStore.__name__ in [b.__name__ for b in UMSChatStore.__mro__]
    assert BaseChatStore.__name__ in [b.__name__ for b in UMSSyncChatStore.__mro__]
    assert BaseKVStore.__name__ in [b.__name__ for b in UMSKVStore.__mro__]
    assert BaseDocumentStore.__name__ in [b.__name__ for b in UMSDocumentStore.__mro__]
    assert BaseIndexStore.__name__ in [b.__name__ for b in UMSIndexStore.__mro__]


def test_a_namespace_is_an_area_of_its_own(store: MemoryStore) -> None:
    above, below = UMSChatStore(store, ("a",)).sync, UMSChatStore(store, ("a", "chat", "k")).sync
    above.add_message("k", *said("above"))
    below.add_message("k", *said("below"))
    assert (texts(above.get_messages("k")), above.get_keys()) == (["above"], ["k"])
    above.delete_messages("k")
    assert texts(below.get_messages("k")) == ["below"]
    one, two = UMSKVStore(store, ("a/b",)), UMSKVStore(store, ("a", "b"))
    one.put("k", {"n": 1})
    assert two.get("k") is None


def test_a_message_is_found_by_what_it_says(store: MemoryStore) -> None:
    UMSChatStore(store, ("users", "ada")).sync.set_messages(
        "s1", [ChatMessage(role="system", content="zebra"), *said("a zebra")]
    )
    (hit,) = store.search(Query(text="zebra", namespace=("users", "ada"), mode="keyword"))
    assert (hit.memory.text, hit.memory.role, hit.memory.session) == ("a zebra", "user", "s1")


def test_images_among_the_arguments_of_a_message_are_not_multiplied(store: MemoryStore, tmp_path: Path) -> None:
    # The smallest GIF: one pixel.
    (tmp_path / "x.gif").write_bytes(b"GIF89a\1\0\1\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;")
    image = ImageDocument(image_path=str(tmp_path / "x.gif"))
    message = ChatMessage(content="look", additional_kwargs={"images": [image]})
    chat = UMSChatStore(store).sync
    chat.add_message("k", message)
    (found,) = chat.get_messages("k")
    assert len(found.blocks) == len(message.blocks) == 2
    assert found.additional_kwargs["images"][0].model_dump() == image.model_dump()


def test_a_key_that_no_namespace_can_have_is_refused(store: MemoryStore) -> None:
    with pytest.raises(UMSError):
        UMSChatStore(store).sync.add_message("", *said("x"))
    with pytest.raises(TypeError, match="got str"):
        UMSKVStore("sqlite:///memory.db")


async def test_it_is_the_chat_store_of_llamaindexs_memory(store: MemoryStore) -> None:
    """Memory accepts any AsyncDBChatStore since 0.14.24 (run-llama/llama_index#19763)."""
    chat = UMSChatStore(store)
    memory = Memory.from_defaults(session_id="s", chat_store=chat, token_limit=60, token_flush_size=10)
    for number in range(12):
        await memory.aput(ChatMessage(content=f"message number {number} of twelve"))
    active = texts(await memory.aget())
    assert 0 < len(active) < 12
    assert active[-1] == "message number 11 of twelve"
    assert len(await memory.aget_all()) == 12
    again = Memory.from_defaults(session_id="s", chat_store=UMSChatStore(store), token_limit=60)
    assert texts(await again.aget()) == active


def test_documents_and_index_structures_outlive_the_process(tmp_path: Path) -> None:
    settings = UnifiedSettings.for_testing(database={"url": url_of(tmp_path / "m.db")}, model={"vector_dim": 8})
    embed = MockEmbedding(embed_dim=8)

    def storage(store: MemoryStore) -> StorageContext:
        return StorageContext.from_defaults(
            docstore=UMSDocumentStore(store, ("kb",)),
            index_store=UMSIndexStore(store, ("kb",)),
            vector_store=UMSVectorStore(store, ("kb",)),
        )

    with open_store(settings) as store:
        documents = [
            Document(text="One.", doc_id="d1"),
            Document(text="Two.", doc_id="d2"),
        ]
        index = VectorStoreIndex.from_documents(
            documents, storage_context=storage(store), embed_model=embed, store_nodes_override=True
        )
        index_id = index.index_id
    with open_store(settings) as store:
        again = load_index_from_storage(storage(store), embed_model=embed)
        assert again.index_id == index_id
        assert sorted(again.docstore.get_all_ref_doc_info() or {}) == ["d1", "d2"]
        again.docstore.delete_ref_doc("d1")
        assert list(storage(store).docstore.get_all_ref_doc_info() or {}) == ["d2"]


def test_a_pipeline_skips_what_its_document_store_knows(store: MemoryStore) -> None:
    def made() -> IngestionPipeline:
        docs = UMSDocumentStore(store)
        return IngestionPipeline(transformations=[], docstore=docs, docstore_strategy=DocstoreStrategy.DUPLICATES_ONLY)

    def documents(*texts: str) -> list[Document]:
        return [Document(text=text, doc_id=f"{number} {text}") for number, text in enumerate(texts)]

    counts = [len(made().run(documents=documents(*texts))) for texts in (("a", "b"), ("a", "b"), ("a", "new"))]
    assert counts == [2, 0, 1]
    assert len(asyncio.run(made().arun(documents=documents("a", "newer")))) == 1
