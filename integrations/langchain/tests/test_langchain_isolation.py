"""Two users, one object of each adapter for both: what one wrote the other never sees, whatever they are called."""

import asyncio
import os
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage
from langchain_ums import (
    UMSChatMessageHistory,
    UMSRetriever,
    UMSSaver,
    UMSStore,
    UMSVectorStore,
    create_forget_tool,
    create_recall_tool,
    create_remember_tool,
    encode_label,
)
from langgraph.checkpoint.base import empty_checkpoint

from ums_core import LocalStore, UnifiedSettings, open_store

NAMES = st.sampled_from(
    ["a", "ab", "a.b", "a/b", "a%2Fb", "a%2Eb", "A", "ä", "a ", "*", "users", "first.last@example.org"]
)
STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=1, max_size=6)


class Adapters:
    """One object of each."""

    def __init__(self, store: LocalStore) -> None:
        self.store = store
        self.items = UMSStore(store)
        self.vectors = UMSVectorStore(store)
        self.retriever = UMSRetriever(store=store, k=50)
        self.saver = UMSSaver(store)
        self.remember = create_remember_tool(store, namespace=("tools", "{user}"))
        self.recall = create_recall_tool(store, namespace=("tools", "{user}"), k=50)
        self.forget = create_forget_tool(store, namespace=("tools", "{user}"))

    async def write(self, user: str, words: str, key: str) -> None:
        await self.items.aput(("items", encode_label(user)), key, {"text": words})
        await self.vectors.aadd_texts([words], ids=[key], namespace=("vectors", user))
        await UMSChatMessageHistory(self.store, user).aadd_messages([HumanMessage(words)])
        await self.remember.ainvoke({"text": words}, {"configurable": {"user": user}})
        checkpoint = empty_checkpoint() | {"channel_values": {"words": words}}
        config = {"configurable": {"thread_id": user, "checkpoint_ns": ""}}
        self.saver.put(config, checkpoint, {"source": "input", "step": 0, "parents": {}}, {})

    def seen(self, user: str) -> dict[str, list[str]]:
        """All that each adapter shows to a user, by a question and by listing."""
        config: Any = {"configurable": {"user": user, "thread_id": user}}
        place = ("items", encode_label(user))
        recalled = self.recall.invoke({"question": "words of"}, config)
        return {
            "items": [item.value["text"] for item in self.items.search(place, limit=50)],
            "items asked": [item.value["text"] for item in self.items.search(place, query="words of", limit=50)],
            "vectors": [
                d.page_content for d in self.vectors.similarity_search("words", k=50, namespace=("vectors", user))
            ],
            "retriever": [d.page_content for d in self.retriever.invoke("words of", namespace=("chat", user))],
            "history": [message.text for message in UMSChatMessageHistory(self.store, user).messages],
            "tools": [recalled] if recalled != "Nothing was found." else [],
            "saver": [f.checkpoint["channel_values"]["words"] for f in self.saver.list(config)],
        }


@settings(max_examples=200 if os.environ.get("UMS_THOROUGH") == "1" else 8, deadline=None)
@given(NAMES, NAMES, STEPS)
@example("a", "a.b", [(True, 1), (False, 1)])
@example("a/b", "a%2Fb", [(True, 1), (False, 1)])
@example("a.b", "a%2Eb", [(True, 1), (False, 1)])
def test_nobody_sees_what_another_wrote(first: str, second: str, steps: list[tuple[bool, int]]) -> None:
    if first == second:
        second += "x"
    with open_store(UnifiedSettings.for_testing()) as store:
        adapters = Adapters(store)
        for is_first, key in steps:
            user, mark = (first, "<one>") if is_first else (second, "<two>")
            asyncio.run(adapters.write(user, f"words of {mark} {key}", str(key)))
        for user, own, other in ((first, "one", "two"), (second, "two", "one")):
            wrote = any(is_first is (own == "one") for is_first, _ in steps)
            for adapter, texts in adapters.seen(user).items():
                assert not any(other in text for text in texts), adapter
                assert (own in "".join(texts)) is wrote, adapter
        for key in range(10):
            adapters.forget.invoke({"ids": [str(key), f"../{first}/{key}"]}, {"configurable": {"user": second}})
            adapters.vectors.delete([str(key)], namespace=("vectors", second))
            adapters.items.delete(("items", encode_label(second)), str(key))
        kept = sorted({key for is_first, key in steps if is_first})
        assert sorted(
            d.id for d in adapters.vectors.similarity_search("words", k=50, namespace=("vectors", first))
        ) == [str(key) for key in kept]
        assert len(adapters.items.search(("items", encode_label(first)), limit=50)) == len(kept)
