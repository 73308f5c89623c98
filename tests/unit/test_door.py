"""The awaitable door."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any, Self, cast

import pytest

from ums_core import Draft, EnhancedMemoryStore, MemoryStore, Patch, Query, UnifiedSettings, open_store
from ums_core.errors import NotOnThisChannel, SettingsError, StoreClosed


class Elsewhere:
    """A store of another channel, as anybody may write one: every verb of the protocol and no more."""

    def __init__(self, inner: MemoryStore) -> None:
        self._inner = inner

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._inner.close()


def _passed_on(name: str) -> Callable[..., object]:
    def verb(self: Elsewhere, *args: object, **options: object) -> object:
        answer: object = getattr(self._inner, name)(*args, **options)
        return answer

    return verb


for _name in dir(MemoryStore):
    if not _name.startswith("_"):
        setattr(Elsewhere, _name, _passed_on(_name))


async def test_every_verb_works_through_the_door() -> None:
    async with EnhancedMemoryStore(UnifiedSettings.for_testing()) as store:
        made = await store.add_memory("hello world", role="user", namespace=("a",), idempotency_key="k")
        assert await store.add_memory("hello world", role="user", namespace=("a",), idempotency_key="k") == made
        assert await store.get([made.id], namespace=("a",)) == [made]
        (changed,) = await store.update([Patch(id=made.id, namespace=("a",), changes={"tags": ["t"]})])
        assert changed.tags == ("t",)
        assert (await store.search(Query(text="hello")))[0].memory == changed
        assert await store.semantic_search("hello world", k=1) == [changed]
        (pair,) = await store.semantic_search("hello world", return_distance=True, metadata_filter={"role": "user"})
        assert pair[0] == changed
        assert pair[1] == pytest.approx(0.0, abs=1e-6)
        assert (await store.scan()).memories == [changed]
        assert await store.count(filter={"role": "user"}) == 1
        assert await store.namespaces() == [("a",)]
        assert (await store.health()).status == "ok"
        assert await store.verify() == []
        await store.settle()
        await store.kv_put("c", {"a": b"1", "b": {"x": [1]}})
        assert await store.kv_get("c", ["b", "a", "no"]) == [{"x": [1]}, b"1", None]
        assert await store.kv_scan("c", after="a") == [("b", {"x": [1]})]
        assert await store.kv_delete("c", ["a", "no"]) == 1
        assert await store.run(lambda blocking: (blocking.count(), blocking.namespaces())) == (1, [("a",)])
        await store.close_models()
        assert await store.reembed("hashing:16") == 1
        newer = await store.supersede(made.id, Draft(text="hello again"), namespace=("a",))
        assert await store.expand(newer.id, namespace=("a",)) == []
        assert await store.mark_access([newer.id], namespace=("a",)) == 1
        assert await store.undo((await store.forget(retain_fraction=0.0)).batch or "") == 1
        assert (await store.maintain(dry_run=True)).complete
        assert await store.delete([newer.id], namespace=("a",)) == 1
        await store.add_memory("gone for good", id="b")
        receipt = await store.erase(["b"])
        assert receipt.ids == ("b",)
        assert await store.verify_erased(receipt) == []
        assert (await store.key_state()).mode == "none"
        with pytest.raises(SettingsError, match="not sealed"):
            await store.rotate()
        await store.accept_state()
        path = store.sync._database.path  # type: ignore[attr-defined]  # the store on this device
        assert (await store.backup(path.with_name("kept.db"))).memories == 0
        await store.destroy()
        assert not path.exists()


async def test_a_vector_of_ones_own_comes_back_at_distance_zero() -> None:
    settings = UnifiedSettings.for_testing()
    vector = [1.0] * settings.model.vector_dim
    async with EnhancedMemoryStore(settings) as store:
        await store.add_memory(text="Hello world!", embedding=vector, role="user", tags=["greeting"])
        pairs = await store.semantic_search(
            vector=vector, k=3, metadata_filter={"role": "user"}, level=0, return_distance=True
        )
    assert [(memory.text, round(distance, 6)) for memory, distance in pairs] == [("Hello world!", 0.0)]


def test_one_object_serves_one_loop_after_the_other_and_callers_without_a_loop() -> None:
    store = EnhancedMemoryStore(UnifiedSettings.for_testing())
    asyncio.run(_add(store, "one"))
    asyncio.run(_add(store, "two"))
    store.sync.add([Draft(text="three")])
    assert asyncio.run(_count(store)) == 3
    asyncio.run(store.close())


async def _add(store: EnhancedMemoryStore, text: str) -> None:
    await store.add_memory(text)


async def _count(store: EnhancedMemoryStore) -> int:
    return await store.count()


async def test_many_tasks_at_once_lose_nothing() -> None:
    async with EnhancedMemoryStore(UnifiedSettings.for_testing()) as store:
        await asyncio.gather(*(store.add_memory(f"note {n}") for n in range(100)))
        assert await store.count() == 100


async def test_a_store_that_was_given_stays_open_and_one_that_was_opened_is_closed() -> None:
    with open_store(UnifiedSettings.for_testing()) as given:
        door = EnhancedMemoryStore(given)
        await door.add_memory("a")
        await door.close()
        await door.close()
        assert given.count() == 1
    owner = EnhancedMemoryStore(UnifiedSettings.for_testing())
    inner = owner.sync
    await owner.close()
    with pytest.raises(StoreClosed):
        inner.count()
    with pytest.raises(StoreClosed):
        await owner.count()


async def test_a_store_and_its_door_say_whether_they_were_closed() -> None:
    with open_store(UnifiedSettings.for_testing()) as store:
        door = EnhancedMemoryStore(store)
        assert (door.closed, store.closed) == (False, False)
        await door.close()
        assert (door.closed, store.closed) == (True, False)
    assert store.closed


async def test_what_nobody_waits_for_any_more_is_not_begun_and_what_has_begun_goes_on() -> None:
    settings = UnifiedSettings.for_testing(perf={"max_workers": 1})
    go, begun = Event(), Event()
    did: list[str] = []

    def first(_: object) -> None:
        begun.set()
        go.wait()
        did.append("first")

    async with EnhancedMemoryStore(settings) as door:
        one, other = door.begin(first), door.begin(lambda _: did.append("other"))
        await asyncio.to_thread(begun.wait)
        assert (one.cancel(), other.cancel()) == (True, True)
        go.set()
        await door.run(lambda _: did.append("last"))
    assert did == ["first", "last"]


async def test_work_that_ends_like_an_iterator_ends_the_wait_for_it() -> None:
    async with EnhancedMemoryStore(UnifiedSettings.for_testing()) as store:
        with pytest.raises(RuntimeError, match="StopIteration") as raised:
            await asyncio.wait_for(store.run(lambda _: next(iter(()))), 10)
    assert isinstance(raised.value.__cause__, StopIteration)


def test_a_loop_that_has_gone_is_not_told() -> None:
    go = Event()

    async def leave(door: EnhancedMemoryStore) -> None:
        door.begin(lambda store: (go.wait(), store.add([Draft(text="a")])))

    with open_store(UnifiedSettings.for_testing()) as store:
        door = EnhancedMemoryStore(store)
        asyncio.run(leave(door))
        go.set()
        asyncio.run(door.close())
        door._pool.shutdown()
        assert store.count() == 1


async def test_a_call_that_comes_while_another_thread_closes_is_told_so() -> None:
    async with EnhancedMemoryStore(UnifiedSettings.for_testing()) as door:
        # As after another thread's look at whether it is closed, and before its work is taken.
        door._pool.shutdown()
        with pytest.raises(StoreClosed):
            await door.count()
        door._pool = ThreadPoolExecutor(1)


async def test_a_door_closed_before_its_first_use_does_not_open() -> None:
    door = EnhancedMemoryStore(UnifiedSettings.for_testing())
    await door.close()
    with pytest.raises(StoreClosed):
        _ = door.sync


async def test_a_door_opens_to_any_store_and_says_what_only_a_local_one_can() -> None:
    with open_store(UnifiedSettings.for_testing()) as inner:
        door = EnhancedMemoryStore(cast("MemoryStore", Elsewhere(inner)))
        made = await door.add_memory("hello world")
        assert await door.get([made.id]) == inner.get([made.id]) == [made]
        for verb in (door.verify, door.settle, door.close_models, door.reembed):
            with pytest.raises(NotOnThisChannel, match=f"{verb.__name__} .* Elsewhere"):
                await verb()
        await door.close()


def test_a_door_to_nothing_that_is_a_store_is_refused() -> None:
    source: Any = "sqlite:///memory.db"
    with pytest.raises(SettingsError, match="str"):
        EnhancedMemoryStore(source)


async def test_settings_come_from_the_environment_when_none_are_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AI_MODEL__EMBEDDER", "hashing")
    async with EnhancedMemoryStore() as store:
        await store.add_memory("kept")
    assert (tmp_path / "data/memory.db").exists()
    monkeypatch.setenv("AI_DATABASE__BACKEND", "exact")
    with open_store() as blocking:
        assert blocking.count() == 1
