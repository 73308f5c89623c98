"""The suite that any ``BaseKVStore`` should pass.

::

    class TestMine(KVStoreSuite):
        @pytest.fixture
        def kv_store(self):
            return MyKVStore()
"""

# ruff: noqa: D102  # a test's name is the behaviour

from llama_index.core.storage.kvstore.types import BaseKVStore

__all__ = ["KVStoreSuite"]

VALUE = {"text": "Füße 🦓 \0 \ud800", "n": [1, 2.5, None, True, 2**70], "deep": {"a.b": {}}}


class KVStoreSuite:
    """Fixtures and tests; a subclass gives the fixture ``kv_store``, empty."""

    async def test_a_value_comes_back_as_it_was(self, kv_store: BaseKVStore) -> None:
        kv_store.put("a/b é", VALUE)
        await kv_store.aput("c", {})
        assert kv_store.get("a/b é") == await kv_store.aget("a/b é") == VALUE
        assert kv_store.get("c") == await kv_store.aget("c") == {}
        assert kv_store.get("unknown") is None
        assert await kv_store.aget("unknown") is None
        assert kv_store.get_all() == await kv_store.aget_all() == {"a/b é": VALUE, "c": {}}

    async def test_a_key_is_set_anew(self, kv_store: BaseKVStore) -> None:
        kv_store.put("a", {"n": 1})
        await kv_store.aput("a", {"n": 2})
        assert kv_store.get_all() == {"a": {"n": 2}}

    async def test_collections_are_apart(self, kv_store: BaseKVStore) -> None:
        kv_store.put("a", {"n": 1}, collection="x/y")
        await kv_store.aput("a", {"n": 2}, collection="x")
        assert (kv_store.get("a", collection="x/y"), kv_store.get("a", collection="x")) == ({"n": 1}, {"n": 2})
        assert kv_store.get("a") is None
        assert await kv_store.aget_all(collection="x") == {"a": {"n": 2}}

    async def test_a_deleted_key_is_gone_and_says_so(self, kv_store: BaseKVStore) -> None:
        kv_store.put_all([("a", {}), ("b", {})])
        assert (kv_store.delete("a"), kv_store.delete("a"), await kv_store.adelete("b")) == (True, False, True)
        assert await kv_store.adelete("b") is False
        assert kv_store.get_all() == {}

    async def test_many_keys_are_set_whatever_the_batch(self, kv_store: BaseKVStore) -> None:
        kv_store.put_all([(f"k{n}", {"n": n}) for n in range(700)], batch_size=7)
        await kv_store.aput_all([(f"l{n}", {"n": n}) for n in range(700)], batch_size=1000)
        assert len(kv_store.get_all()) == len(await kv_store.aget_all()) == 1400
        assert kv_store.get("l123") == {"n": 123}

    def test_what_is_read_may_be_changed(self, kv_store: BaseKVStore) -> None:
        kv_store.put("a", {"n": [1]})
        read = kv_store.get("a") or {}
        read["n"].append(2)
        assert kv_store.get("a") == {"n": [1]}
