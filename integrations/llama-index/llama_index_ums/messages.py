"""Chat messages as memories, in the order in which they were said, and back without a loss."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from llama_index.core.llms import ChatMessage, MessageRole
from llama_index.core.schema import ImageDocument
from llama_index.core.storage.chat_store.base_db import MessageStatus

from llama_index_ums.recall import sayable
from ums_core import Draft, Filter, Memory, MemoryStore, Patch, Query

__all__ = ["MESSAGE", "STATUS", "Kept", "Log", "keys", "message_of"]

MESSAGE, STATUS = "message", "status"
_CHAT = "chat"
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Kept:
    """A message with the id of the memory that keeps it."""

    id: str
    message: ChatMessage


@dataclass(frozen=True, slots=True)
class Log:
    """The messages of one session: memories in ``place``, oldest first.

    The text of a message is searchable, unless the system said it; its ``role``, ``session`` and ``position`` (when it
    was stored, in nanoseconds since 1970) are set. The whole message lies in the metadata.

    Attributes:
        place: namespace of the session.
    """

    place: tuple[str, ...]

    @classmethod
    def of(cls, namespace: tuple[str, ...], key: str) -> "Log":
        """The log of a session.

        Raises:
            InvalidNamespace: the key is empty or holds NUL.
        """
        return cls(Query(text="?", namespace=(*namespace, _CHAT, key)).namespace)

    def add(self, store: MemoryStore, messages: Sequence[ChatMessage], status: MessageStatus) -> None:
        """Store the messages, all or none."""
        now = time.time_ns()
        store.add([self._draft(message, status, now + place) for place, message in enumerate(messages)])

    def read(
        self, store: MemoryStore, status: MessageStatus | None, *, limit: int | None = None, offset: int | None = None
    ) -> list[Kept]:
        """The messages of a status, None being all, without the first ``offset``, at most ``limit``."""
        start = max(0, offset or 0)
        stop = None if limit is None else start + max(0, limit)
        return [Kept(memory.id, message_of(memory)) for memory in islice(self._walk(store, status, stop), start, stop)]

    def archive(self, store: MemoryStore, kept: Sequence[Kept]) -> list[ChatMessage]:
        """Take messages out of the active ones and return those that were among them still."""
        return [message for part in _parts(kept) for message in self._archive(store, part)]

    def delete(self, store: MemoryStore, kept: Sequence[Kept]) -> list[ChatMessage]:
        """Delete messages and return them."""
        for part in _parts(kept):
            store.delete([each.id for each in part], namespace=self.place)
        return [each.message for each in kept]

    def replace(self, store: MemoryStore, messages: Sequence[ChatMessage], status: MessageStatus) -> None:
        """Put the messages in the place of all there are; a crash in between leaves both, never neither."""
        before = self.read(store, None)
        self.add(store, messages, status)
        self.delete(store, before)

    def at(self, store: MemoryStore, idx: int) -> list[Kept]:
        """The active message at a position, counted from the end if negative; nothing where there is none."""
        active = self.read(store, MessageStatus.ACTIVE)
        return [active[idx]] if -len(active) <= idx < len(active) else []

    def _archive(self, store: MemoryStore, kept: Sequence[Kept]) -> list[ChatMessage]:
        held = store.get([each.id for each in kept], namespace=self.place)
        active = [
            (each.message, memory)
            for each, memory in zip(kept, held, strict=True)
            if memory is not None and memory.metadata[STATUS] == MessageStatus.ACTIVE.value
        ]
        archived = {STATUS: MessageStatus.ARCHIVED.value}
        store.update(
            [
                Patch(id=memory.id, namespace=self.place, changes={"metadata": {**memory.metadata, **archived}})
                for _, memory in active
            ]
        )
        return [message for message, _ in active]

    def _walk(self, store: MemoryStore, status: MessageStatus | None, stop: int | None) -> Iterator[Memory]:
        condition = None if status is None else Filter.where(f"metadata.{STATUS}", "eq", status.value)
        cursor: int | None = None
        while stop != 0:
            size = _PAGE if stop is None else min(stop, _PAGE)
            page = store.scan(namespace=self.place, filter=condition, limit=size, cursor=cursor)
            # A scan takes a prefix: another chat may lie below this one.
            yield from (
                memory for memory in page.memories if memory.namespace == self.place and MESSAGE in memory.metadata
            )
            cursor = page.cursor
            if cursor is None:
                return

    def _draft(self, message: ChatMessage, status: MessageStatus, position: int) -> Draft:
        return Draft(
            text="" if message.role == MessageRole.SYSTEM else sayable(message),
            namespace=self.place,
            role=message.role.value,
            session=self.place[-1],
            position=position,
            metadata={MESSAGE: json.dumps(message.model_dump(mode="json")), STATUS: status.value},
        )


def _parts(kept: Sequence[Kept]) -> Iterator[Sequence[Kept]]:
    # A service takes no more at once.
    return (kept[start : start + _PAGE] for start in range(0, len(kept), _PAGE))


def message_of(memory: Memory) -> ChatMessage:
    """The message that a memory keeps."""
    fields: dict[str, Any] = json.loads(str(memory.metadata[MESSAGE]))
    # The images among the arguments were made blocks when the message was made, and would be once more.
    images = fields["additional_kwargs"].pop("images", None)
    message = ChatMessage.model_validate(fields)
    if images is not None:
        message.additional_kwargs["images"] = [ImageDocument.from_dict(image) for image in images]
    return message


def keys(store: MemoryStore, namespace: tuple[str, ...]) -> list[str]:
    """The sessions that have a message."""
    prefix = (*namespace, _CHAT)
    return [place[-1] for place in store.namespaces(prefix=prefix) if len(place) == len(prefix) + 1]
