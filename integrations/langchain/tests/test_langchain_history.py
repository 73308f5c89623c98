import asyncio
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from langchain_core._api import LangChainDeprecationWarning
from langchain_core.chat_history import BaseChatMessageHistory
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
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_ums import UMSChatMessageHistory, UMSRetriever

from ums_core import Draft, EnhancedMemoryStore, LocalStore, UMSError, UnifiedSettings, open_store

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


def said(count: int, start: int = 0) -> list[BaseMessage]:
    return [HumanMessage(f"Message {number}.") for number in range(start, start + count)]


def test_it_is_a_chat_history(store: LocalStore) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(history_of(store), BaseChatMessageHistory)


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


def test_the_conveniences_of_the_base_class_work(store: LocalStore) -> None:
    history = history_of(store)
    history.add_user_message("Hello")
    history.add_ai_message("Good day")
    history.add_message(HumanMessage("Bye"))
    assert str(history) == "Human: Hello\nAI: Good day\nHuman: Bye"


def test_a_long_history_is_read_to_its_end(store: LocalStore) -> None:
    history = history_of(store)
    expected = said(2005)
    history.add_messages(expected)
    assert history.messages == expected
    assert asyncio.run(history.aget_messages()) == expected
    history.clear()
    assert store.count() == 0


@pytest.mark.parametrize("session", ["a/b", "u1@example.org", " ", "*", ".", "ü" * 300, "chat"])
def test_any_string_names_a_session_of_its_own(store: LocalStore, session: str) -> None:
    history_of(store, "other").add_messages(said(1, start=9))
    history_of(store, session).add_messages(said(2))
    assert history_of(store, session).messages == said(2)
    assert history_of(store, "other").messages == said(1, start=9)


@pytest.mark.parametrize("session", ["", 7, None, "\0", "\ud800"])
def test_an_unusable_session_is_refused_early(store: LocalStore, session: str) -> None:
    with pytest.raises(UMSError):
        history_of(store, session)


def test_an_unusable_namespace_or_store_is_refused_early(store: LocalStore) -> None:
    with pytest.raises(UMSError, match="namespace"):
        UMSChatMessageHistory(store, "s", namespace="chat")  # type: ignore[arg-type]  # the mistake in question
    with pytest.raises(TypeError, match="got str"):
        history_of("sqlite:///memory.db")  # type: ignore[arg-type]  # the mistake in question


def test_a_session_whose_namespace_begins_with_another_one_is_apart(store: LocalStore) -> None:
    outer = UMSChatMessageHistory(store, "a", namespace=("chat",))
    inner = UMSChatMessageHistory(store, "b", namespace=("chat", "a"))
    inner.add_messages(said(3))
    outer.add_messages(said(1, start=5))
    assert outer.messages == said(1, start=5)
    outer.clear()
    assert outer.messages == []
    assert inner.messages == said(3)


def test_what_others_store_in_the_namespace_is_neither_read_nor_cleared(store: LocalStore) -> None:
    store.add([Draft(text="Ada likes herons.", namespace=("chat", "s"), level=1)])
    history = history_of(store)
    history.add_messages(said(2))
    assert history.messages == said(2)
    history.clear()
    assert [memory.text for memory in store.scan().memories] == ["Ada likes herons."]


def test_two_histories_of_one_session_continue_each_other(store: LocalStore) -> None:
    first, second = history_of(store), history_of(store)
    first.add_messages(said(2))
    second.add_messages(said(2, start=2))
    asyncio.run(first.aadd_messages(said(2, start=4)))
    assert first.messages == second.messages == said(6)
    assert [memory.position for memory in store.scan().memories] == list(range(6))


def test_positions_ascend_after_single_messages_were_deleted(store: LocalStore) -> None:
    history = history_of(store)
    history.add_messages(said(5))
    store.delete([memory.id for memory in store.scan(limit=3).memories], namespace=("chat", "s"))
    history.add_messages(said(1, start=5))
    asyncio.run(history.aadd_messages(said(1, start=6)))
    assert [memory.position for memory in store.scan().memories] == [3, 4, 5, 6]


def test_concurrent_writers_lose_nothing_and_keep_batches_whole(store: LocalStore) -> None:
    history = history_of(store)

    async def write() -> None:
        await asyncio.gather(*(history.aadd_messages(said(5, start=5 * number)) for number in range(8)))

    asyncio.run(write())
    messages = history.messages
    assert len(messages) == 40
    batches = [messages[start : start + 5] for start in range(0, 40, 5)]
    assert sorted(str(batch[0].content) for batch in batches) == sorted(f"Message {5 * n}." for n in range(8))
    for batch in batches:
        assert batch == said(5, start=int(str(batch[0].content)[8:-1]))


def test_a_batch_with_an_unusable_message_is_refused_as_a_whole(store: LocalStore) -> None:
    history = history_of(store)
    with pytest.raises(UMSError, match=r"message.data.additional_kwargs.raw"):
        history.add_messages([*said(2), AIMessage("x", additional_kwargs={"raw": b"\0"})])
    with pytest.raises(ValueError, match="unexpected message type: telepathy"):
        history.add_messages([*said(2), BaseMessage(content="x", type="telepathy")])
    assert history.messages == []


def test_adding_nothing_does_nothing(store: LocalStore) -> None:
    history = history_of(store)
    history.add_messages([])
    asyncio.run(history.aadd_messages([]))
    assert store.count() == 0


def test_clearing_empties_one_session_and_can_be_repeated(store: LocalStore) -> None:
    history, other = history_of(store), history_of(store, "other")
    for clear in (history.clear, lambda: asyncio.run(history.aclear())):
        history.add_messages(said(2))
        other.add_messages(said(1))
        clear()
        clear()
        assert history.messages == []
    assert other.messages == said(1) * 2


def test_a_history_is_there_after_the_store_is_opened_again(tmp_path: Path) -> None:
    settings = UnifiedSettings.for_testing(database={"url": f"sqlite:///{tmp_path}/memory.db"})
    with open_store(settings) as store:
        history_of(store).add_messages(MESSAGES)
    with open_store(settings) as store:
        assert history_of(store).messages == MESSAGES
        history_of(store).add_messages(said(1))
        assert history_of(store).messages == [*MESSAGES, *said(1)]


def test_one_history_serves_several_loops_and_both_faces() -> None:
    door = EnhancedMemoryStore(UnifiedSettings.for_testing())
    history = history_of(door)
    asyncio.run(history.aadd_messages(said(1)))
    asyncio.run(history.aadd_messages(said(1, start=1)))
    history.add_messages(said(1, start=2))
    assert asyncio.run(history.aget_messages()) == said(3)
    asyncio.run(door.close())


def test_what_was_said_is_found_by_the_retriever(store: LocalStore) -> None:
    history_of(store).add_messages(MESSAGES)
    history_of(store, "other").add_messages([HumanMessage("What is on this picture?")])
    found = UMSRetriever(store=store, k=1, namespace=("chat", "s")).invoke("What is on this picture?")
    assert [document.metadata["ums"]["session"] for document in found] == ["s"]
    assert found[0].metadata["ums"]["role"] == "user"
    (document,) = UMSRetriever(store=store, mode="keyword").invoke("look")
    assert document.metadata["message"]["data"]["tool_calls"][0]["args"] == {"at": ["left", 2, None, 0.5, True]}


@pytest.fixture
def chat(store: LocalStore) -> Iterator[RunnableWithMessageHistory]:
    def answer(messages: list[BaseMessage]) -> AIMessage:
        return AIMessage(f"heard {len(messages)}")

    with pytest.warns(LangChainDeprecationWarning, match="RunnableWithMessageHistory"):
        yield RunnableWithMessageHistory(RunnableLambda(answer), lambda session_id: history_of(store, session_id))


def test_runnable_with_message_history_keeps_sessions_apart(
    chat: RunnableWithMessageHistory, store: LocalStore
) -> None:
    one, two = ({"configurable": {"session_id": session}} for session in ("one", "two"))
    assert chat.invoke([HumanMessage("a")], one).content == "heard 1"
    assert asyncio.run(chat.ainvoke([HumanMessage("b")], one)).content == "heard 3"
    assert chat.invoke([HumanMessage("c")], two).content == "heard 1"
    assert [message.content for message in history_of(store, "one").messages] == ["a", "heard 1", "b", "heard 3"]
