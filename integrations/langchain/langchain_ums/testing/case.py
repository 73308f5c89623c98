"""What every test of a store needs: a clock, an embedder of words, and one store in both colours."""

import asyncio
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings
from langgraph.store.base import BaseStore, IndexConfig, Item, Op, SearchItem, TTLConfig

__all__ = ["DIMS", "Clock", "Face", "Make", "MakeStore", "StoreCase", "Words"]

DIMS = 384


class Clock:
    """A time that moves when it is told to, and begins after that of any store which cannot be given one."""

    def __init__(self) -> None:
        self.now = datetime(2099, 3, 1, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        """The time now."""
        return self.now

    def pass_by(self, minutes: float) -> None:
        """Let minutes pass."""
        self.now += timedelta(minutes=minutes)


class Words(Embeddings):
    """Counts of hashed words: texts are as similar as their words are the same."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector a text."""
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """The vector of a text, shape (DIMS,)."""
        vector = np.full(DIMS, 1e-3)
        for word in "".join(letter if letter.isalnum() else " " for letter in text.lower()).split():
            vector[zlib.crc32(word.encode()) % DIMS] += 1.0
        return [float(value) for value in vector]


class MakeStore(Protocol):
    """What an implementation gives: a new, empty store that reads the time from the clock."""

    def __call__(self, *, index: IndexConfig | None, ttl: TTLConfig | None, clock: Clock) -> BaseStore:
        """Return the store."""
        ...


class Face:
    """A store called in one colour; an awaitable call runs in an event loop of its own."""

    def __init__(self, store: BaseStore, *, awaited: bool) -> None:
        self.store = store
        self.awaited = awaited

    def call(self, verb: str, *args: Any, **options: Any) -> Any:  # noqa: ANN401  # as the verb has it
        """Call a verb by its blocking name."""
        if self.awaited:
            return asyncio.run(getattr(self.store, f"a{verb}")(*args, **options))
        return getattr(self.store, verb)(*args, **options)

    def put(self, namespace: tuple[str, ...], key: str, value: dict[str, Any], **options: Any) -> None:  # noqa: ANN401
        """Store an item."""
        self.call("put", namespace, key, value, **options)

    def get(self, namespace: tuple[str, ...], key: str, **options: Any) -> Item | None:  # noqa: ANN401
        """Read an item."""
        found: Item | None = self.call("get", namespace, key, **options)
        return found

    def search(self, prefix: tuple[str, ...], **options: Any) -> list[SearchItem]:  # noqa: ANN401
        """Find items."""
        found: list[SearchItem] = self.call("search", prefix, **options)
        return found

    def keys(self, prefix: tuple[str, ...], **options: Any) -> list[str]:  # noqa: ANN401
        """Keys of what a search finds, in its order."""
        return [item.key for item in self.search(prefix, **options)]

    def delete(self, namespace: tuple[str, ...], key: str) -> None:
        """Delete an item."""
        self.call("delete", namespace, key)

    def places(self, **options: Any) -> list[tuple[str, ...]]:  # noqa: ANN401
        """List namespaces."""
        found: list[tuple[str, ...]] = self.call("list_namespaces", **options)
        return found

    def batch(self, *ops: Op) -> list[Any]:
        """Carry out operations in one batch."""
        found: list[Any] = self.call("batch", ops)
        return found


Make = Callable[..., Face]


class StoreCase:
    """A class of tests on new stores, each in both colours."""

    @pytest.fixture
    def make_store(self) -> MakeStore:
        """Override this: return a function that makes a new, empty store."""
        raise NotImplementedError("give a fixture make_store that returns a function of index, ttl and clock")

    @pytest.fixture(params=["sync", "async"])
    def colour(self, request: pytest.FixtureRequest) -> str:
        """How the store is called: ``sync`` or ``async``."""
        return str(request.param)

    @pytest.fixture
    def make(self, make_store: MakeStore, colour: str) -> Make:
        """Make a store, indexed by words unless said otherwise, and call it in one colour."""

        def new(fields: list[str] | None = None, ttl: TTLConfig | None = None, clock: Clock | None = None) -> Face:
            index: IndexConfig = {"dims": DIMS, "embed": Words()}
            if fields is not None:
                index["fields"] = fields
            store = make_store(index=index, ttl=ttl, clock=clock or Clock())
            return Face(store, awaited=colour == "async")

        return new
