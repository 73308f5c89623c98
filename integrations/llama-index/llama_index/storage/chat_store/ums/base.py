"""Conversations in a store, for LlamaIndex's memories."""

from collections.abc import Callable
from typing import Any, TypeVar

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.llms import ChatMessage
from llama_index.core.storage.chat_store.base_db import AsyncDBChatStore, MessageStatus
from llama_index.storage.chat_store.ums.blocking import UMSSyncChatStore
from llama_index_ums.link import Link, Store
from llama_index_ums.messages import Log, keys

from ums_core import MemoryStore, Query

__all__ = ["UMSChatStore"]

T = TypeVar("T")


class UMSChatStore(AsyncDBChatStore):
    """Conversations, awaitable: ``Memory.from_defaults(chat_store=UMSChatStore(store), session_id=…)``.

    A message is one memory in ``(*namespace, "chat", key)``, whole, with all its blocks, and searchable by its text.
    A batch is stored all or none; an empty one is nothing to do. Messages come oldest first. A position counts the
    active messages from 0, or from the end if negative. A copy shares the store. What is read back from a pickle or a
    dict finds it in the same process; in another it opens the one that the environment names.

    Args:
        store: what ``open_store`` returned, or an ``EnhancedMemoryStore``; None opens the environment's.
        namespace: where the conversations are.

    Raises:
        InvalidNamespace: the namespace, or later a key, cannot be used.
        TypeError: store is something else.
    """

    namespace: tuple[str, ...] = ()
    link: str = ""
    _link: Link = PrivateAttr()

    def __init__(
        self,
        store: Store | None = None,
        namespace: tuple[str, ...] | list[str] = (),
        **fields: Any,  # noqa: ANN401  # what a dict of this object holds besides
    ) -> None:
        checked = Query(text="?", namespace=namespace).namespace  # type: ignore[arg-type]  # a list is read as well
        super().__init__(**{**fields, "namespace": checked})
        self._link = Link(store, self.link)
        self.link = self._link.name

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex files it under."""
        return "UMSChatStore"

    @property
    def sync(self) -> UMSSyncChatStore:
        """The same conversations for LlamaIndex's older, blocking memories."""
        return UMSSyncChatStore(self._link, self.namespace)

    async def get_messages(
        self,
        key: str,
        status: MessageStatus | None = MessageStatus.ACTIVE,
        limit: int | None = None,
        offset: int | None = None,
    ) -> list[ChatMessage]:
        """The messages of a status, None being all, without the first ``offset``, at most ``limit``."""
        kept = await self._run(key, lambda log, store: log.read(store, status, limit=limit, offset=offset))
        return [each.message for each in kept]

    async def count_messages(self, key: str, status: MessageStatus | None = MessageStatus.ACTIVE) -> int:
        """How many messages of a status there are, None being all."""
        return len(await self._run(key, lambda log, store: log.read(store, status)))

    async def add_message(self, key: str, message: ChatMessage, status: MessageStatus = MessageStatus.ACTIVE) -> None:
        """Append a message."""
        await self.add_messages(key, [message], status)

    async def add_messages(
        self, key: str, messages: list[ChatMessage], status: MessageStatus = MessageStatus.ACTIVE
    ) -> None:
        """Append messages, all or none."""
        await self._run(key, lambda log, store: log.add(store, messages, status))

    async def set_messages(
        self, key: str, messages: list[ChatMessage], status: MessageStatus = MessageStatus.ACTIVE
    ) -> None:
        """Put the messages in the place of all there are, whatever their status."""
        await self._run(key, lambda log, store: log.replace(store, messages, status))

    async def delete_message(self, key: str, idx: int) -> ChatMessage | None:
        """Delete the active message at a position and return it; None where there is none."""
        gone = await self._run(key, lambda log, store: log.delete(store, log.at(store, idx)))
        return gone[0] if gone else None

    async def delete_messages(self, key: str, status: MessageStatus | None = None) -> None:
        """Delete the messages of a status, None being all."""
        await self._run(key, lambda log, store: log.delete(store, log.read(store, status)))

    async def delete_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """Delete the n oldest active messages and return them."""
        return await self._run(
            key, lambda log, store: log.delete(store, log.read(store, MessageStatus.ACTIVE, limit=n))
        )

    async def archive_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """Archive the n oldest active messages and return them."""
        return await self._run(
            key, lambda log, store: log.archive(store, log.read(store, MessageStatus.ACTIVE, limit=n))
        )

    async def get_keys(self) -> list[str]:
        """The keys that have a message, ascending."""
        return await self._link.door.run(lambda store: keys(store, self.namespace))

    async def _run(self, key: str, work: Callable[[Log, MemoryStore], T]) -> T:
        log = Log.of(self.namespace, key)
        return await self._link.door.run(lambda store: work(log, store))
