"""The suites that any chat store should pass: the awaitable one of ``Memory``, and the older, blocking one.

::

    class TestMine(AsyncChatStoreSuite):
        @pytest.fixture
        def chat_store(self):
            return MyChatStore()
"""

# ruff: noqa: D102  # a test's name is the behaviour

import asyncio

import pytest
from llama_index.core.llms import ChatMessage
from llama_index.core.storage.chat_store.base import BaseChatStore
from llama_index.core.storage.chat_store.base_db import AsyncDBChatStore, MessageStatus

from llama_index_ums.testing.faces import FACES, Face
from llama_index_ums.testing.samples import said, texts, whole

__all__ = ["AsyncChatStoreSuite", "ChatStoreSuite"]

ACTIVE, ARCHIVED = MessageStatus.ACTIVE, MessageStatus.ARCHIVED


class AsyncChatStoreSuite:
    """Fixtures and tests; a subclass gives the fixture ``chat_store``, empty."""

    async def test_messages_come_in_their_order_and_keys_apart(self, chat_store: AsyncDBChatStore) -> None:
        await chat_store.add_message("a", ChatMessage(content="one"))
        await chat_store.add_messages("a", said("two", "three"))
        await chat_store.add_message("b/c é", ChatMessage(content="other"))
        assert texts(await chat_store.get_messages("a")) == ["one", "two", "three"]
        assert texts(await chat_store.get_messages("b/c é")) == ["other"]
        assert await chat_store.get_messages("unknown") == []
        assert sorted(await chat_store.get_keys()) == ["a", "b/c é"]

    async def test_every_kind_of_block_comes_back(self, chat_store: AsyncDBChatStore) -> None:
        await chat_store.add_messages("a", whole())
        assert await chat_store.get_messages("a") == whole()

    async def test_an_empty_batch_is_nothing_to_do(self, chat_store: AsyncDBChatStore) -> None:
        await chat_store.add_messages("a", [])
        assert (await chat_store.get_messages("a"), await chat_store.get_keys()) == ([], [])

    async def test_setting_replaces_what_was_there_whatever_its_status(self, chat_store: AsyncDBChatStore) -> None:
        await chat_store.add_messages("a", said("one", "two"))
        await chat_store.archive_oldest_messages("a", 1)
        await chat_store.set_messages("a", said("new", "newer"))
        assert texts(await chat_store.get_messages("a", status=None)) == ["new", "newer"]
        await chat_store.set_messages("a", said("old"), status=ARCHIVED)
        assert texts(await chat_store.get_messages("a", status=ARCHIVED)) == ["old"]
        await chat_store.set_messages("a", [])
        assert await chat_store.count_messages("a", status=None) == 0

    async def test_archived_messages_are_kept_apart_and_in_order(self, chat_store: AsyncDBChatStore) -> None:
        await chat_store.add_messages("a", said("1", "2", "3"))
        assert texts(await chat_store.archive_oldest_messages("a", 2)) == ["1", "2"]
        await chat_store.add_messages("a", said("4"))
        assert texts(await chat_store.get_messages("a")) == ["3", "4"]
        assert texts(await chat_store.get_messages("a", status=ARCHIVED)) == ["1", "2"]
        assert texts(await chat_store.get_messages("a", status=None)) == ["1", "2", "3", "4"]
        assert [await chat_store.count_messages("a", status=status) for status in (ACTIVE, ARCHIVED, None)] == [2, 2, 4]
        assert await chat_store.archive_oldest_messages("a", 0) == []
        assert texts(await chat_store.archive_oldest_messages("a", 9)) == ["3", "4"]

    async def test_a_status_may_be_given_when_a_message_is_added(self, chat_store: AsyncDBChatStore) -> None:
        await chat_store.add_message("a", ChatMessage(content="old"), status=ARCHIVED)
        assert await chat_store.get_messages("a") == []
        assert texts(await chat_store.get_messages("a", status=ARCHIVED)) == ["old"]

    async def test_limit_and_offset_cut_a_page(self, chat_store: AsyncDBChatStore) -> None:
        await chat_store.add_messages("a", said("1", "2", "3", "4"))

        async def page(limit: int | None, offset: int | None) -> list[str | None]:
            return texts(await chat_store.get_messages("a", limit=limit, offset=offset))

        assert await page(2, None) == ["1", "2"]
        assert await page(2, 1) == ["2", "3"]
        assert await page(None, 3) == ["4"]
        assert (await page(0, 0), await page(2, 4)) == ([], [])

    async def test_a_message_is_deleted_by_its_position(self, chat_store: AsyncDBChatStore) -> None:
        await chat_store.add_messages("a", said("0", "1", "2", "3"))
        await chat_store.archive_oldest_messages("a", 1)
        gone = [await chat_store.delete_message("a", idx) for idx in (1, -1, 5)]
        assert [message and message.content for message in gone] == ["2", "3", None]
        assert texts(await chat_store.get_messages("a", status=None)) == ["0", "1"]

    async def test_the_oldest_active_messages_are_deleted(self, chat_store: AsyncDBChatStore) -> None:
        await chat_store.add_messages("a", said("0", "1", "2", "3"))
        await chat_store.archive_oldest_messages("a", 1)
        assert texts(await chat_store.delete_oldest_messages("a", 2)) == ["1", "2"]
        assert texts(await chat_store.get_messages("a", status=None)) == ["0", "3"]

    async def test_deleting_takes_one_status_or_all(self, chat_store: AsyncDBChatStore) -> None:
        await chat_store.add_messages("a", said("0", "1"))
        await chat_store.add_messages("b", said("0"))
        await chat_store.archive_oldest_messages("a", 1)
        await chat_store.delete_messages("a", status=ACTIVE)
        assert texts(await chat_store.get_messages("a", status=None)) == ["0"]
        await chat_store.delete_messages("a")
        assert await chat_store.get_keys() == ["b"]

    async def test_many_writers_at_once_lose_nothing(self, chat_store: AsyncDBChatStore) -> None:
        await asyncio.gather(*(chat_store.add_messages("a", said(f"{n}a", f"{n}b")) for n in range(20)))
        found = [str(text) for text in texts(await chat_store.get_messages("a"))]
        assert sorted(found) == sorted(f"{n}{half}" for n in range(20) for half in "ab")
        assert all(found[place][:-1] == found[place + 1][:-1] for place in range(0, 40, 2))


class ChatStoreSuite:
    """Fixtures and tests of the older interface; a subclass gives the fixture ``chat_store``, empty."""

    @pytest.mark.parametrize("awaited", FACES, ids=["blocking", "awaitable"])
    async def test_it_does_what_a_list_does(self, chat_store: BaseChatStore, *, awaited: bool) -> None:
        face = Face(chat_store, awaited=awaited)
        await face.add_message("a", *said("0"))
        await face.add_message("b", *said("other"))
        await face.set_messages("a", whole())
        assert await face.get_messages("a") == whole()
        assert await face.delete_message("a", 1) == whole()[1]
        assert await face.delete_last_message("a") == whole()[-1]
        assert await face.delete_message("a", 99) is None
        assert sorted(await face.get_keys()) == ["a", "b"]
        assert await face.delete_messages("a") == [whole()[0], *whole()[2:-1]]
        assert (await face.delete_messages("a"), await face.get_messages("a")) == (None, [])
        assert await face.delete_last_message("a") is None
