import asyncio
from pathlib import Path

import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_ums import UMSChatMessageHistory, UMSRetriever

from ums_core import EnhancedMemoryStore, LocalStore, UMSError, UnifiedSettings, open_store

IMAGE = {"type": "image", "base64": "iVBORw0KGgo=", "mime_type": "image/png"}
MESSAGES: list[BaseMessage] = [
    SystemMessage("You are kind.", id="s1"),
    HumanMessage([{"type": "text", "text": "What is on this picture?"}, IMAGE], name="Ada", id="h1"),
    HumanMessage([IMAGE]),
    AIMessage(
        "",
        id="a1",
        tool_calls=[{"name": "look", "args": {"at": ["left", 2, None, 0.5, True]}, "id": "c1", "type": "tool_call"}],
        invalid_tool_calls=[{"name": "see", "args": "{", "id": "c2", "error": "not JSON", "type": "invalid_tool_call"}],
        usage_metadata={
            "input_tokens": 12,
            "output_tokens": 3,
            "total_tokens": 15,
            "input_token_details": {"cache_read": 4},
        },
        response_metadata={"model_name": "small", "logprobs": [-0.25]},
    ),
    ToolMessage("A heron.", tool_call_id="c1", name="look", artifact={"boxes": [[1, 2]]}, status="success"),
    ToolMessage([IMAGE], tool_call_id="c2", status="error"),
    FunctionMessage(name="old", content="42"),
    AIMessage([{"type": "reasoning", "reasoning": "It has a long neck."}]),
    AIMessage("It is a heron. 🪶\n", additional_kwargs={"refusal": None}),
    AIMessageChunk(content="An"),
    ChatMessage("I agree.", role="critic"),
    HumanMessage(""),
    HumanMessage("   "),
    HumanMessage("It is a heron. 🪶\n"),
    RemoveMessage(id="h1"),
]


def history_of(store: LocalStore | EnhancedMemoryStore, session: str = "s") -> UMSChatMessageHistory:
    return UMSChatMessageHistory(store=store, session_id=session)


def test_every_type_of_message_comes_back_as_it_was(store: LocalStore) -> None:
    history = history_of(store)
    history.add_messages(MESSAGES)
    assert history.messages == MESSAGES
    assert [type(message) for message in history.messages] == [type(message) for message in MESSAGES]
    assert asyncio.run(history.aget_messages()) == MESSAGES


def test_every_type_of_message_comes_back_as_it_was_async(store: LocalStore) -> None:
    history = history_of(store)
    asyncio.run(history.aadd_messages(MESSAGES))
    assert asyncio.run(history.aget_messages()) == MESSAGES


def test_writing_leaves_the_messages_as_they_are(store: LocalStore) -> None:
    before = [message.model_copy(deep=True) for message in MESSAGES]
    history_of(store).add_messages(MESSAGES)
    assert before == MESSAGES


def test_a_message_is_a_memory_that_says_who_spoke_and_where(store: LocalStore) -> None:
    history_of(store).add_messages(MESSAGES)
    memories = store.scan().memories
    assert [(memory.text, memory.role) for memory in memories] == [
        ("You are kind.", "system"),
        ("What is on this picture?", "user"),
        ("[image]", "user"),
        ("[tool calls: look]", "assistant"),
        ("A heron.", "tool"),
        ("[image]", "tool"),
        ("42", "function"),
        ("[reasoning]", "assistant"),
        ("It is a heron. 🪶\n", "assistant"),
        ("An", "assistant"),
        ("I agree.", "critic"),
        ("[empty user message]", "user"),
        ("[empty user message]", "user"),
        ("It is a heron. 🪶\n", "user"),
        ("[empty remove message]", "remove"),
    ]
    assert {memory.namespace for memory in memories} == {("chat", "s")}
    assert {memory.session for memory in memories} == {"s"}
    assert [memory.position for memory in memories] == list(range(len(MESSAGES)))
    assert memories[1].speaker == "Ada"


def test_a_batch_with_an_unusable_message_is_refused_as_a_whole(store: LocalStore) -> None:
    history = history_of(store)
    with pytest.raises(UMSError, match=r"message.data.additional_kwargs.raw"):
        history.add_messages([*MESSAGES, AIMessage("x", additional_kwargs={"raw": b"\0"})])
    with pytest.raises(ValueError, match="unexpected message type: telepathy"):
        history.add_messages([*MESSAGES, BaseMessage(content="x", type="telepathy")])
    assert history.messages == []


def test_a_history_is_there_after_the_store_is_opened_again(tmp_path: Path) -> None:
    settings = UnifiedSettings.for_testing(database={"url": f"sqlite:///{tmp_path}/memory.db"})
    with open_store(settings) as store:
        history_of(store).add_messages(MESSAGES)
    with open_store(settings) as store:
        assert history_of(store).messages == MESSAGES
        history_of(store).add_messages([HumanMessage("Bye")])
        assert history_of(store).messages == [*MESSAGES, HumanMessage("Bye")]


def test_what_was_said_is_found_by_the_retriever(store: LocalStore) -> None:
    history_of(store).add_messages(MESSAGES)
    history_of(store, "other").add_messages([HumanMessage("What is on this picture?")])
    found = UMSRetriever(store=store, k=1, namespace=("chat", "s")).invoke("What is on this picture?")
    assert [document.metadata["ums"]["session"] for document in found] == ["s"]
    assert found[0].metadata["ums"]["role"] == "user"
    said = UMSRetriever(store=store, k=3, mode="keyword").invoke("look")
    (calls,) = (calls for document in said if (calls := document.metadata["message"]["data"].get("tool_calls")))
    assert calls[0]["args"] == {"at": ["left", 2, None, 0.5, True]}
