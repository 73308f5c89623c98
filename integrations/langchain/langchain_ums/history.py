"""The messages of a conversation, kept as memories."""

from collections.abc import Sequence
from typing import Any

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage, ChatMessage, messages_from_dict, messages_to_dict

from ums_core import Draft, EnhancedMemoryStore, Memory, MemoryStore, Query

from ._store import Faces, delete_all

__all__ = ["UMSChatMessageHistory"]

_KEY = "message"
_PAGE = 1000
_ROLES = {"human": "user", "ai": "assistant"}


class UMSChatMessageHistory(BaseChatMessageHistory):
    """A chat history that is kept, and that a ``UMSRetriever`` can search.

    A message is one memory in the namespace ``(*namespace, session_id)``: its ``text`` is the message's text, its
    ``role``, ``session`` and ``position`` are set, and ``metadata["message"]`` holds the whole message, so that tool
    calls, images, ids and usage come back as they were. A message without text says in brackets what it holds, such
    as ``[tool calls: get_weather]``.

    Messages come in the order in which they were stored. A call of ``add_messages`` stores all of them or none.
    ``position`` continues the session's; two writers at the same moment may give one position twice.
    Other memories in the namespace are neither read nor cleared. One object serves any number of threads and loops.

    Cost: the last messages are read from the end, so a window costs as much in a long history as in a short one.

    Args:
        store: what ``open_store`` returned, any other ``MemoryStore``, or an ``EnhancedMemoryStore``; it stays open.
        session_id: any non-empty string.
        namespace: where the sessions are.
        window: ``messages`` gives only so many of the last ones; None is all.

    Raises:
        InvalidInput: the session id or the namespace cannot be used.
        ValueError: a window of less than 1.
    """

    def __init__(
        self,
        store: MemoryStore | EnhancedMemoryStore,
        session_id: str,
        *,
        namespace: tuple[str, ...] = ("chat",),
        window: int | None = None,
    ) -> None:
        super().__init__()
        self._faces = Faces(store)
        # Checked by itself first: a plain string would come apart into letters.
        above = Query(text="?", namespace=namespace).namespace
        self._namespace = Query(text="?", namespace=(*above, session_id)).namespace
        self._session_id = session_id
        if window is not None and window < 1:
            raise ValueError(f"window is a number of messages from 1, or None for all, got {window!r}")
        self._window = window

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]  # read-only here: assigning would store nothing
        """The messages of the session, oldest first."""
        return self.last(self._window)

    async def aget_messages(self) -> list[BaseMessage]:
        """The messages of the session, oldest first."""
        return await self.alast(self._window)

    def last(self, count: int | None) -> list[BaseMessage]:
        """The last messages, oldest first; None is all."""
        return _messages(self._faces.run(lambda store: self._read(store, count)))

    async def alast(self, count: int | None) -> list[BaseMessage]:
        """The last messages, oldest first; None is all."""
        return _messages(await self._faces.arun(lambda store: self._read(store, count)))

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Store the messages, all or none.

        Raises:
            InvalidMetadata: a message holds what JSON cannot, such as bytes or an artifact of another type.
            ValueError: a type of message that LangChain cannot read back.
        """
        records = _records(messages)
        if records:
            self._faces.run(lambda store: self._add(store, messages, records))

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Store the messages, all or none; as ``add_messages``."""
        records = _records(messages)
        if records:
            await self._faces.arun(lambda store: self._add(store, messages, records))

    def clear(self) -> None:
        """Delete the messages of the session."""
        self._faces.run(self._clear)

    async def aclear(self) -> None:
        """Delete the messages of the session."""
        await self._faces.arun(self._clear)

    def _add(self, store: MemoryStore, messages: Sequence[BaseMessage], records: Sequence[dict[str, Any]]) -> None:
        latest = self._read(store, 1)
        after = latest[0].position if latest else None
        store.add(self._drafts(messages, records, 0 if after is None else after + 1))

    def _read(self, store: MemoryStore, count: int | None) -> list[Memory]:
        """The last so many messages, oldest first."""
        found: list[Memory] = []
        cursor: int | None = None
        while count is None or len(found) < count:
            page = store.scan(
                namespace=self._namespace,
                filter={_KEY: {"$exists": True}},
                limit=_PAGE if count is None else min(_PAGE, count - len(found)),
                cursor=cursor,
                descending=True,
            )
            # A scan takes a prefix: the namespace of another history may begin with this one.
            found += [memory for memory in page.memories if memory.namespace == self._namespace]
            cursor = page.cursor
            if cursor is None:
                break
        return found[::-1]

    def _clear(self, store: MemoryStore) -> None:
        delete_all(store, [memory.id for memory in self._read(store, None)], self._namespace)

    def _drafts(self, messages: Sequence[BaseMessage], records: Sequence[dict[str, Any]], position: int) -> list[Draft]:
        return [
            Draft(
                text=_text(message),
                namespace=self._namespace,
                role=_role(message),
                speaker=message.name or None,
                session=self._session_id,
                position=place,
                metadata={_KEY: record},
            )
            for place, (message, record) in enumerate(zip(messages, records, strict=True), position)
        ]


def _messages(memories: Sequence[Memory]) -> list[BaseMessage]:
    return messages_from_dict([_record(memory) for memory in memories])


def _records(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    records = messages_to_dict(messages)
    messages_from_dict(records)  # one that cannot be read would lock up the whole history
    return records


def _record(memory: Memory) -> dict[str, Any]:
    record = memory.metadata[_KEY]
    if not isinstance(record, dict):
        raise TypeError(f"memory {memory.id!r} holds no message under metadata[{_KEY!r}]; was it changed by hand?")
    return record


def _role(message: BaseMessage) -> str:
    if isinstance(message, ChatMessage) and message.role:
        return message.role
    kind = message.type.removesuffix("MessageChunk").lower()
    return _ROLES.get(kind, kind)


def _text(message: BaseMessage) -> str:
    """What is searched for: the text, or in brackets what stands in its place."""
    text = str(message.text)
    if text.strip():
        return text
    calls = [str(call["name"]) for call in getattr(message, "tool_calls", [])]
    if calls:
        return f"[tool calls: {', '.join(calls)}]"
    kinds = [str(block.get("type", "?")) for block in message.content if isinstance(block, dict)]
    return f"[{', '.join(kinds)}]" if kinds else f"[empty {_role(message)} message]"
