import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pytest
from langchain_core.documents import Document
from langchain_core.runnables import ConfigurableField
from langchain_ums import UMSRetriever
from pydantic import ValidationError

from ums_core import (
    Draft,
    EmbedderIdentity,
    EnhancedMemoryStore,
    Filter,
    LocalStore,
    UMSError,
    UnifiedSettings,
    open_store,
)

ADA, BOB = ("users", "ada@example.org"), ("users", "bob")
SAID = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def filled(store: LocalStore) -> LocalStore:
    store.add(
        [
            Draft(
                id="m1", text="I moved to Lisbon.", namespace=ADA, role="user", speaker="Ada", session="s1",
                occurred_at=SAID, tags=("home",), metadata={"source": {"page": 3}},
            ),
            Draft(id="m2", text="I moved my desk to the window.", namespace=ADA, role="assistant"),
            Draft(id="m3", text="I moved the meeting.", namespace=ADA, role="user"),
            Draft(id="m1", text="I moved to Oslo.", namespace=BOB, role="user"),
        ]
    )  # fmt: skip
    return store


def texts(documents: list[Document]) -> set[str]:
    return {document.page_content for document in documents}


def test_a_document_says_what_it_is_and_where_it_comes_from(filled: LocalStore) -> None:
    (document,) = UMSRetriever(store=filled, k=1, namespace=ADA).invoke("who moved to Lisbon?")
    origin = document.metadata.pop("ums")
    assert document == Document(id="m1", page_content="I moved to Lisbon.", metadata={"source": {"page": 3}})
    assert -1 <= origin.pop("similarity") <= 1
    assert isinstance(origin.pop("score"), float)
    assert datetime.fromisoformat(origin.pop("created_at")).tzinfo is not None
    assert origin == {
        "namespace": list(ADA), "role": "user", "speaker": "Ada", "session": "s1", "occurred_at": SAID.isoformat(),
        "tags": ["home"],
    }  # fmt: skip


def test_a_keyword_hit_has_no_similarity(filled: LocalStore) -> None:
    (document,) = UMSRetriever(store=filled, mode="keyword").invoke("Lisbon")
    assert document.metadata["ums"]["similarity"] is None


def test_documents_come_best_first(filled: LocalStore) -> None:
    scores = [document.metadata["ums"]["score"] for document in UMSRetriever(store=filled).invoke("moved to Lisbon")]
    assert len(scores) == 4
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"k": 2, "mode": "vector"}, {"I moved to Lisbon.", "I moved to Oslo."}),
        ({"namespace": BOB}, {"I moved to Oslo."}),
        ({"namespace": ADA, "filter": {"role": "assistant"}}, {"I moved my desk to the window."}),
        ({"filter": Filter.where("tags", "contains", "home")}, {"I moved to Lisbon."}),
        ({"mode": "keyword", "k": 9}, {"I moved to Lisbon.", "I moved to Oslo."}),
    ],
)
def test_every_option_works_at_construction_and_at_call_time(
    filled: LocalStore, options: dict[str, object], expected: set[str]
) -> None:
    question = "Lisbon Oslo"
    built = UMSRetriever(store=filled, **options)
    plain = UMSRetriever(store=filled)
    assert texts(built.invoke(question)) == expected
    assert texts(plain.invoke(question, **options)) == expected
    assert texts(asyncio.run(built.ainvoke(question))) == expected
    assert texts(asyncio.run(plain.ainvoke(question, **options))) == expected


def test_an_option_of_a_call_replaces_that_of_the_constructor(filled: LocalStore) -> None:
    retriever = UMSRetriever(store=filled, k=1, namespace=ADA, filter={"role": "assistant"})
    assert texts(retriever.invoke("moved", k=9, filter=None, namespace=BOB)) == {"I moved to Oslo."}
    assert len(retriever.invoke("moved", k=9, filter=None, namespace=())) == 4
    assert texts(retriever.invoke("moved")) == {"I moved my desk to the window."}


def test_an_unknown_option_is_refused_by_name(filled: LocalStore) -> None:
    retriever = UMSRetriever(store=filled)
    with pytest.raises(TypeError, match=r"no option top_k; a call takes k, namespace, filter, mode"):
        retriever.invoke("moved", top_k=1)
    with pytest.raises(TypeError, match="no option top_k"):
        asyncio.run(retriever.ainvoke("moved", top_k=1))


def test_verbose_is_langchains_own_and_passes(filled: LocalStore) -> None:
    assert len(UMSRetriever(store=filled).invoke("moved", verbose=False)) == 4


@pytest.mark.parametrize(
    "options",
    [{"k": 0}, {"mode": "psychic"}, {"namespace": "users"}, {"namespace": ("",)}, {"filter": {"$xor": []}}],
)
def test_an_unusable_option_is_refused_early(filled: LocalStore, options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        UMSRetriever(store=filled, **options)
    with pytest.raises(UMSError):
        UMSRetriever(store=filled).invoke("moved", **options)


def test_something_else_than_a_store_is_refused() -> None:
    with pytest.raises(ValidationError, match="store"):
        UMSRetriever(store="sqlite:///memory.db")


def test_two_users_of_one_retriever_never_see_each_other(filled: LocalStore) -> None:
    retriever = UMSRetriever(store=filled, k=50)

    async def both() -> list[list[Document]]:
        calls = [retriever.ainvoke("I moved", namespace=user) for user in (ADA, BOB) for _ in range(20)]
        return await asyncio.gather(*calls)

    answers = asyncio.run(both())
    for user, found in zip([ADA] * 20 + [BOB] * 20, answers, strict=True):
        assert found
        assert all(document.metadata["ums"]["namespace"] == list(user) for document in found)


def test_a_store_that_opens_itself_serves_both_faces() -> None:
    async def run() -> None:
        async with EnhancedMemoryStore(UnifiedSettings.for_testing()) as door:
            await door.add_memory("I moved to Lisbon.")
            retriever = UMSRetriever(store=door)
            assert texts(await retriever.ainvoke("Lisbon")) == {"I moved to Lisbon."}
            assert texts(retriever.invoke("Lisbon")) == {"I moved to Lisbon."}

    asyncio.run(run())


@pytest.mark.parametrize("wrap", [lambda store: store, EnhancedMemoryStore], ids=["store", "door"])
def test_one_retriever_serves_several_loops(filled: LocalStore, wrap: type[EnhancedMemoryStore]) -> None:
    retriever = UMSRetriever(store=wrap(filled), k=1)
    for _ in range(2):
        assert texts(asyncio.run(retriever.ainvoke("Lisbon"))) == {"I moved to Lisbon."}
    with ThreadPoolExecutor(2) as pool:
        side_by_side = pool.map(lambda _: asyncio.run(retriever.ainvoke("Lisbon")), range(2))
        assert [texts(found) for found in side_by_side] == [{"I moved to Lisbon."}] * 2


def test_eight_threads_share_one_retriever(filled: LocalStore) -> None:
    retriever = UMSRetriever(store=filled, k=1)
    start = threading.Barrier(8)

    def ask(number: int) -> set[str]:
        start.wait()
        found: list[Document] = []
        for _ in range(10):
            found += retriever.invoke("Lisbon") if number % 2 else asyncio.run(retriever.ainvoke("Lisbon"))
        return texts(found)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [{"I moved to Lisbon."}] * 8


class Watching:
    """Letter counts as vectors, and a note of the threads that asked for them."""

    identity = EmbedderIdentity("letters", "1", 26)
    max_tokens = 1000

    def __init__(self) -> None:
        self.threads: set[int] = set()

    def count_tokens(self, texts: list[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def embed_documents(self, texts: list[str]) -> npt.NDArray[np.float32]:
        return np.stack([self.embed_query(text) for text in texts])

    def embed_query(self, text: str) -> npt.NDArray[np.float32]:
        self.threads.add(threading.get_ident())
        counts = np.array([text.lower().count(chr(letter)) for letter in range(97, 123)], np.float32)
        return counts / np.float32(np.linalg.norm(counts))

    def close(self) -> None: ...


@pytest.fixture
def watched() -> Iterator[tuple[LocalStore, Watching]]:
    embedder = Watching()
    with open_store(UnifiedSettings.for_testing(model={"vector_dim": 26}), embedder=embedder) as store:
        store.add([Draft(text="I moved to Lisbon.")])
        embedder.threads.clear()
        yield store, embedder


def test_the_loop_is_not_blocked_by_a_search(watched: tuple[LocalStore, Watching]) -> None:
    store, embedder = watched
    assert texts(asyncio.run(UMSRetriever(store=store).ainvoke("Lisbon"))) == {"I moved to Lisbon."}
    assert embedder.threads
    assert threading.get_ident() not in embedder.threads


def test_a_retriever_composes_like_any_runnable(filled: LocalStore) -> None:
    retriever = UMSRetriever(store=filled, k=1)
    chain = retriever | (lambda documents: documents[0].page_content)
    assert chain.batch(["Lisbon", "Oslo"]) == ["I moved to Lisbon.", "I moved to Oslo."]
    tuned = retriever.configurable_fields(k=ConfigurableField(id="k"))
    assert len(tuned.invoke("moved", {"configurable": {"k": 3}})) == 3


def test_a_copy_with_another_store_asks_that_store(filled: LocalStore) -> None:
    retriever = UMSRetriever(store=filled)
    assert retriever.invoke("Lisbon")
    with open_store(UnifiedSettings.for_testing()) as empty:
        assert retriever.model_copy(update={"store": empty}).invoke("Lisbon") == []
