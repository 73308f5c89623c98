"""The older, blocking face of conversations in a store."""

from collections.abc import Callable
from typing import Any, TypeVar

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.llms import ChatMessage
from llama_index.core.storage.chat_store.base import BaseChatStore
from llama_index.core.storage.chat_store.base_db import MessageStatus
from llama_index_ums.link import Link, Store
from llama_index_ums.messages import Log, keys

from ums_core import MemoryStore, Query

__all__ = ["UMSSyncChatStore"]

T = TypeVar("T")
_ACTIVE = MessageStatus.ACTIVE


class UMSSyncChatStore(BaseChatStore):
    """Conversations, blocking, with awaitable twins that do not block the loop: ``UMSChatStore(store).sync``.

    The messages are those of ``UMSChatStore``; what it archived is not shown here, and is deleted with its key.

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
        store: Store | Link | None = None,
        namespace: tuple[str, ...] | list[str] = (),
        **fields: Any,  # noqa: ANN401  # what a dict of this object holds besides
    ) -> None:
        checked = Query(text="?", namespace=namespace).namespace  # type: ignore[arg-type]  # a list is read as well
        super().__init__(**{**fields, "namespace": checked})
        self._link = store if isinstance(store, Link) else Link(store, self.link)
        self.link = self._link.name

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex files it under."""
        return "UMSSyncChatStore"

    def set_messages(self, key: str, messages: list[ChatMessage]) -> None:
        """Put the messages in the place of all there are."""
        _set(self._log(key), self._link.sync, messages)

    def get_messages(self, key: str) -> list[ChatMessage]:
        """The messages, oldest first."""
        return _get(self._log(key), self._link.sync)

    def add_message(self, key: str, message: ChatMessage) -> None:
        """Append a message."""
        self._log(key).add(self._link.sync, [message], _ACTIVE)

    def delete_messages(self, key: str) -> list[ChatMessage] | None:
        """Delete all messages and return them; None where there are none."""
        return _clear(self._log(key), self._link.sync)

    def delete_message(self, key: str, idx: int) -> ChatMessage | None:
        """Delete the message at a position, from the end if negative, and return it; None where there is none."""
        return _drop(self._log(key), self._link.sync, idx)

    def delete_last_message(self, key: str) -> ChatMessage | None:
        """Delete the last message and return it; None where there is none."""
        return self.delete_message(key, -1)

    def get_keys(self) -> list[str]:
        """The keys that have a message, ascending."""
        return keys(self._link.sync, self.namespace)

    async def aset_messages(self, key: str, messages: list[ChatMessage]) -> None:
        """Put the messages in the place of all there are."""
        await self._run(key, lambda log, store: _set(log, store, messages))

    async def aget_messages(self, key: str) -> list[ChatMessage]:
        """The messages, oldest first."""
        return await self._run(key, _get)

    async def async_add_message(self, key: str, message: ChatMessage) -> None:
        """Append a message."""
        await self._run(key, lambda log, store: log.add(store, [message], _ACTIVE))

    async def adelete_messages(self, key: str) -> list[ChatMessage] | None:
        """Delete all messages and return them; None where there are none."""
        return await self._run(key, _clear)

    async def adelete_message(self, key: str, idx: int) -> ChatMessage | None:
        """Delete the message at a position and return it; None where there is none."""
        return await self._run(key, lambda log, store: _drop(log, store, idx))

    async def adelete_last_message(self, key: str) -> ChatMessage | None:
        """Delete the last message and return it; None where there is none."""
        return await self.adelete_message(key, -1)

    async def aget_keys(self) -> list[str]:
        """The keys that have a message, ascending."""
        return await self._link.door.run(lambda store: keys(store, self.namespace))

    def _log(self, key: str) -> Log:
        return Log.of(self.namespace, key)

    async def _run(self, key: str, work: Callable[[Log, MemoryStore], T]) -> T:
        log = self._log(key)
        return await self._link.door.run(lambda store: work(log, store))


def _set(log: Log, store: MemoryStore, messages: list[ChatMessage]) -> None:
    log.replace(store, messages, _ACTIVE)


def _get(log: Log, store: MemoryStore) -> list[ChatMessage]:
    return [kept.message for kept in log.read(store, _ACTIVE)]


def _clear(log: Log, store: MemoryStore) -> list[ChatMessage] | None:
    return log.delete(store, log.read(store, None)) or None


def _drop(log: Log, store: MemoryStore, idx: int) -> ChatMessage | None:
    gone = log.delete(store, log.at(store, idx))
    return gone[0] if gone else None
