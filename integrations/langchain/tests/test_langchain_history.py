import asyncio
import warnings
from collections.abc import Iterator

import pytest
from langchain_core._api import LangChainDeprecationWarning
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
)
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_ums import UMSChatMessageHistory

from ums_core import Draft, EnhancedMemoryStore, LocalStore, UMSError, UnifiedSettings


def history_of(store: LocalStore | EnhancedMemoryStore, session: str = "s") -> UMSChatMessageHistory:
    return UMSChatMessageHistory(store=store, session_id=session)


def said(count: int, start: int = 0) -> list[BaseMessage]:
    return [HumanMessage(f"Message {number}.") for number in range(start, start + count)]


def test_it_is_a_chat_history(store: LocalStore) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(history_of(store), BaseChatMessageHistory)


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


def test_one_history_serves_several_loops_and_both_faces() -> None:
    door = EnhancedMemoryStore(UnifiedSettings.for_testing())
    history = history_of(door)
    asyncio.run(history.aadd_messages(said(1)))
    asyncio.run(history.aadd_messages(said(1, start=1)))
    history.add_messages(said(1, start=2))
    assert asyncio.run(history.aget_messages()) == said(3)
    asyncio.run(door.close())


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


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_window_gives_the_last_messages_of_a_long_history(store: LocalStore, colour: str) -> None:
    whole = history_of(store)
    for start in range(0, 2500, 500):
        whole.add_messages(said(500, start))
        history_of(store, f"other {start}").add_messages(said(3))
        UMSChatMessageHistory(store, "below", namespace=("chat", "s")).add_messages(said(2))
    window = UMSChatMessageHistory(store, "s", window=7)
    last = said(7, 2493)
    assert (window.messages if colour == "sync" else asyncio.run(window.aget_messages())) == last
    assert (whole.last(7) if colour == "sync" else asyncio.run(whole.alast(7))) == last
    assert whole.last(None) == whole.messages == said(2500)
    kept = store.scan(namespace=("chat", "s"), limit=9999).memories
    assert [memory.position for memory in kept if memory.namespace == ("chat", "s")] == list(range(2500))


@pytest.mark.parametrize("window", [0, -1])
def test_an_empty_window_is_refused(store: LocalStore, window: int) -> None:
    with pytest.raises(ValueError, match="window"):
        UMSChatMessageHistory(store, "s", window=window)
