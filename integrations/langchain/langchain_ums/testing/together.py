"""Many at once: threads, tasks, loops, cancelled calls."""

# ruff: noqa: D102  # a test's name is the behaviour

import asyncio
from concurrent.futures import ThreadPoolExecutor

from langgraph.store.base import GetOp, Op, PutOp, SearchOp

from .case import Clock, MakeStore, StoreCase, Words

__all__ = ["StoreTogether"]

NS = ("busy",)
WORKERS = 8


class StoreTogether(StoreCase):
    """One object, used from everywhere."""

    def test_eight_threads_write_and_read_and_nothing_is_lost(self, make_store: MakeStore) -> None:
        store = make_store(index={"dims": 384, "embed": Words()}, ttl=None, clock=Clock())

        def work(worker: int) -> None:
            for number in range(6):
                store.put((*NS, str(worker)), str(number), {"text": f"worker {worker} says {number}"})
                store.search(NS, query="worker says", limit=3)
                assert store.get((*NS, str(worker)), str(number)) is not None
                store.list_namespaces(prefix=NS)

        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(work, range(WORKERS)))
        assert len(store.search(NS, limit=1000)) == 6 * WORKERS

    def test_eight_tasks_write_and_read_and_nothing_is_lost(self, make_store: MakeStore) -> None:
        store = make_store(index={"dims": 384, "embed": Words()}, ttl=None, clock=Clock())

        async def work(worker: int) -> None:
            for number in range(6):
                await store.aput((*NS, str(worker)), str(number), {"text": f"worker {worker} says {number}"})
                await store.asearch(NS, query="worker says", limit=3)
                assert await store.aget((*NS, str(worker)), str(number)) is not None

        async def all_of_them() -> int:
            await asyncio.gather(*(work(worker) for worker in range(WORKERS)))
            return len(await store.asearch(NS, limit=1000))

        assert asyncio.run(all_of_them()) == 6 * WORKERS

    def test_one_object_serves_loop_after_loop_and_blocking_calls_inside_them(self, make_store: MakeStore) -> None:
        store = make_store(index=None, ttl=None, clock=Clock())

        async def inside(key: str) -> None:
            await store.aput(NS, key, {"v": key})
            assert store.get(NS, key) is not None
            assert await store.aget(NS, key) is not None

        asyncio.run(inside("first"))
        asyncio.run(inside("second"))
        assert [item.key for item in store.search(NS)] == ["first", "second"]

    def test_a_store_works_on_after_a_call_was_cancelled(self, make_store: MakeStore) -> None:
        store = make_store(index=None, ttl=None, clock=Clock())

        async def cancelled() -> None:
            for number in range(10):
                writing = asyncio.ensure_future(store.aput(NS, "k", {"v": number}))
                for _ in range(number):
                    await asyncio.sleep(0)
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)
            await store.aput(NS, "after", {"v": 1})
            item = await store.aget(NS, "k")
            assert item is None or item.value["v"] in range(10)

        asyncio.run(cancelled())
        assert "after" in {item.key for item in store.search(NS)}

    def test_both_colours_give_the_same_answers(self, make_store: MakeStore) -> None:
        store = make_store(index={"dims": 384, "embed": Words(), "fields": ["text"]}, ttl=None, clock=Clock())
        store.batch([PutOp(NS, str(n), {"text": f"apple {n}", "n": n}) for n in range(12)])
        ops: list[Op] = [
            SearchOp(NS, query="apple 7"),
            SearchOp(NS, {"n": {"$gte": 5}}, 3, 2),
            GetOp(NS, "4"),
            GetOp(NS, "no"),
        ]
        assert store.batch(ops) == asyncio.run(store.abatch(ops))
