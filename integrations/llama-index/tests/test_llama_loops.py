import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from llama_index.core.schema import NodeWithScore
from llama_index.retrievers.ums import UMSRetriever

from ums_core import (
    EnhancedMemoryStore,
    LocalStore,
    UnifiedSettings,
)

ADA, BOB = ("users", "ada@example.org"), ("users", "bob")


def texts(nodes: list[NodeWithScore]) -> set[str]:
    return {node.text for node in nodes}


def test_retrievers_of_two_users_on_one_store_never_see_each_other(filled: LocalStore) -> None:
    retrievers = {user: UMSRetriever(store=filled, k=50, namespace=user) for user in (ADA, BOB)}

    async def both() -> list[list[NodeWithScore]]:
        return await asyncio.gather(*(retrievers[user].aretrieve("I moved") for user in [ADA, BOB] * 20))

    for user, nodes in zip([ADA, BOB] * 20, asyncio.run(both()), strict=True):
        assert nodes
        assert all(node.metadata["ums"]["namespace"] == list(user) for node in nodes)


def test_a_store_that_opens_itself_serves_both_faces() -> None:
    async def run() -> None:
        async with EnhancedMemoryStore(UnifiedSettings.for_testing()) as door:
            await door.add_memory("I moved to Lisbon.")
            retriever = UMSRetriever(store=door)
            assert texts(await retriever.aretrieve("Lisbon")) == {"I moved to Lisbon."}
            assert texts(retriever.retrieve("Lisbon")) == {"I moved to Lisbon."}

    asyncio.run(run())


@pytest.mark.parametrize("wrap", [lambda store: store, EnhancedMemoryStore], ids=["store", "door"])
def test_one_retriever_serves_several_loops(filled: LocalStore, wrap: type[EnhancedMemoryStore]) -> None:
    retriever = UMSRetriever(store=wrap(filled), k=1)
    for _ in range(2):
        assert texts(asyncio.run(retriever.aretrieve("Lisbon"))) == {"I moved to Lisbon."}
    with ThreadPoolExecutor(2) as pool:
        side_by_side = pool.map(lambda _: asyncio.run(retriever.aretrieve("Lisbon")), range(2))
        assert [texts(nodes) for nodes in side_by_side] == [{"I moved to Lisbon."}] * 2


def test_eight_threads_share_one_retriever(filled: LocalStore) -> None:
    retriever = UMSRetriever(store=filled, k=1)
    start = threading.Barrier(8)

    def ask(number: int) -> set[str]:
        start.wait()
        nodes: list[NodeWithScore] = []
        for _ in range(10):
            nodes += retriever.retrieve("Lisbon") if number % 2 else asyncio.run(retriever.aretrieve("Lisbon"))
        return texts(nodes)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [{"I moved to Lisbon."}] * 8


def test_the_loop_is_not_blocked_by_a_search(watched: tuple[LocalStore, set[int]]) -> None:
    store, threads = watched
    assert texts(asyncio.run(UMSRetriever(store=store, k=1).aretrieve("aa"))) == {"aaa"}
    assert threads
    assert threading.get_ident() not in threads
