"""The messages of a conversation, kept as memories."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage, ChatMessage, messages_from_dict, messages_to_dict

from ums_core import Draft, EnhancedMemoryStore, Memory, MemoryStore, Query

from ._store import Faces

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

    Args:
        store: what ``open_store`` returned, or an ``EnhancedMemoryStore``; it stays open.
        session_id: any non-empty string.
        namespace: where the sessions are.

    Raises:
        InvalidInput: the session id or the namespace cannot be used.
    """

    def __init__(
        self,
        store: MemoryStore | EnhancedMemoryStore,
        session_id: str,
        *,
        namespace: tuple[str, ...] = ("chat",),
    ) -> None:
        super().__init__()
        self._faces = Faces(store)
        # Checked by itself first: a plain string would come apart into letters.
        above = Query(text="?", namespace=namespace).namespace
        self._namespace = Query(text="?", namespace=(*above, session_id)).namespace
        self._session_id = session_id

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]  # read-only here: assigning would store nothing
        """All messages of the session, oldest first."""
        return messages_from_dict([_record(memory) for memory in self._scan({})])

    async def aget_messages(self) -> list[BaseMessage]:
        """All messages of the session, oldest first."""
        return messages_from_dict([_record(memory) async for memory in self._ascan({})])

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Store the messages, all or none.

        Raises:
            InvalidMetadata: a message holds what JSON cannot, such as bytes or an artifact of another type.
            ValueError: a type of message that LangChain cannot read back.
        """
        records = _records(messages)
        if not records:
            return
        count = self._faces.sync.count(namespace=self._namespace)
        later = list(self._scan({"position": {"$gte": count}}))
        self._faces.sync.add(self._drafts(messages, records, _next(count, later)))

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Store the messages, all or none; as ``add_messages``."""
        records = _records(messages)
        if not records:
            return
        count = await self._faces.door.count(namespace=self._namespace)
        later = [memory async for memory in self._ascan({"position": {"$gte": count}})]
        await self._faces.door.add(self._drafts(messages, records, _next(count, later)))

    def clear(self) -> None:
        """Delete the messages of the session."""
        self._faces.sync.delete([memory.id for memory in self._scan({})], namespace=self._namespace)

    async def aclear(self) -> None:
        """Delete the messages of the session."""
        ids = [memory.id async for memory in self._ascan({})]
        await self._faces.door.delete(ids, namespace=self._namespace)

    def _scan(self, condition: Mapping[str, object]) -> Iterator[Memory]:
        cursor = None
        while True:
            page = self._faces.sync.scan(namespace=self._namespace, filter=condition, limit=_PAGE, cursor=cursor)
            yield from filter(self._is_message, page.memories)
            cursor = page.cursor
            if cursor is None:
                return

    async def _ascan(self, condition: Mapping[str, object]) -> AsyncIterator[Memory]:
        cursor = None
        while True:
            page = await self._faces.door.scan(namespace=self._namespace, filter=condition, limit=_PAGE, cursor=cursor)
            for memory in filter(self._is_message, page.memories):
                yield memory
            cursor = page.cursor
            if cursor is None:
                return

    def _is_message(self, memory: Memory) -> bool:
        # A scan takes a prefix: the namespace of another history may begin with this one.
        return memory.namespace == self._namespace and _KEY in memory.metadata

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


def _records(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    records = messages_to_dict(messages)
    messages_from_dict(records)  # one that cannot be read would lock up the whole history
    return records


def _record(memory: Memory) -> dict[str, Any]:
    record = memory.metadata[_KEY]
    if not isinstance(record, dict):
        raise TypeError(f"memory {memory.id!r} holds no message under metadata[{_KEY!r}]; was it changed by hand?")
    return record


def _next(count: int, later: Sequence[Memory]) -> int:
    """The position after the last: the count, unless earlier messages were deleted one by one."""
    return max((memory.position + 1 for memory in later if memory.position is not None), default=count)


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
