import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.documents import Document
from langchain_ums import UMSRetriever

from ums_core import (
    EnhancedMemoryStore,
    LocalStore,
    UnifiedSettings,
)

ADA, BOB = ("users", "ada@example.org"), ("users", "bob")


def texts(documents: list[Document]) -> set[str]:
    return {document.page_content for document in documents}


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


def test_the_loop_is_not_blocked_by_a_search(watched: tuple[LocalStore, set[int]]) -> None:
    store, threads = watched
    assert texts(asyncio.run(UMSRetriever(store=store).ainvoke("Lisbon"))) == {"I moved to Lisbon."}
    assert threads
    assert threading.get_ident() not in threads
