"""A memory for agents and chat engines: what is being said, and what it brings to mind."""

import uuid
from collections.abc import Sequence
from typing import Any, Literal, Self

from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import BaseMemory, BaseMemoryBlock
from llama_index.core.storage.chat_store.base_db import MessageStatus
from llama_index.core.utils import get_tokenizer
from llama_index.core.workflow import Context
from llama_index.memory.ums.block import forget
from llama_index_ums.link import Link, Store
from llama_index_ums.messages import Kept, Log
from llama_index_ums.prompt import arranged, fitted, read, waited
from llama_index_ums.recall import Given, asked, line, unseen
from llama_index_ums.window import Tokenizer, overflow, tokens, within

from ums_core import MemoryStore, Query

__all__ = ["UMSMemory"]

_ACTIVE = MessageStatus.ACTIVE


class UMSMemory(BaseMemory):
    """A window of the newest turns, and what the last user message brings to mind of all that left it.

    Messages are those of ``UMSChatStore``: stored when ``put`` returns, whole, and there after a restart under the same
    ``session_id``. Once the window holds more than ``token_limit * chat_history_token_ratio`` tokens, its oldest turns
    leave it, each as a whole; a system message never does, nor does the last turn. What left is recalled, as whole
    memories with their provenance, best first, as far as ``token_limit`` reaches.

    ``memory_blocks`` are read side by side and given what leaves the window; where not all fits, those of priority 0
    stay, and of the others the one with the greatest number is cut first. ``reset`` forgets the session, also in blocks
    that are ``UMSMemoryBlock``.

    Any number of tasks and threads may put at the same moment. A copy shares the store. What is read back from a dict
    or a pickle finds it in the same process; in another it opens the one that the environment names. It has no
    ``memory_blocks``: give them again.

    Args:
        store: what ``open_store`` returned, or an ``EnhancedMemoryStore``; None opens the environment's.
        session_id: which conversation; made up unless given.
        namespace: where the conversations are, best one a user.
        recall: ``session`` recalls of this conversation; ``namespace`` of all that lies under the namespace, such as
            the user's other conversations.
        k: how many memories are recalled at most; 0 for none.

    Raises:
        InvalidInput: the namespace or the session id cannot be used.
        TypeError: store is something else.
    """

    session_id: str = Field(default_factory=lambda: str(uuid.uuid4()))
    namespace: tuple[str, ...] = ()
    recall: Literal["session", "namespace"] = "session"
    k: int = Field(default=5, ge=0)
    token_limit: int = Field(default=30_000, ge=1)
    chat_history_token_ratio: float = Field(default=0.7, gt=0, le=1)
    insert_method: Literal["system", "user"] = "system"
    memory_blocks: list[BaseMemoryBlock] = Field(default_factory=list, exclude=True)  # type: ignore[type-arg]  # of any kind
    tokenizer_fn: Tokenizer = Field(default_factory=get_tokenizer, exclude=True)
    link: str = ""
    _link: Link = PrivateAttr()
    _log: Log = PrivateAttr()
    _counts: dict[str, int] = PrivateAttr(default_factory=dict)

    def __init__(self, store: Store | None = None, **fields: Any) -> None:  # noqa: ANN401  # pydantic checks them
        super().__init__(**fields)
        self._log = Log.of(Query(text="?", namespace=self.namespace).namespace, self.session_id)
        self._link = Link(store, self.link)
        self.link = self._link.name

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex files it under."""
        return "UMSMemory"

    @classmethod
    def from_defaults(
        cls,
        store: Store | None = None,
        chat_history: list[ChatMessage] | None = None,
        **fields: Any,  # noqa: ANN401  # as above
    ) -> Self:
        """A memory; ``chat_history`` takes the place of what its session held."""
        memory = cls(store, **fields)
        if chat_history is not None:
            memory.set(chat_history)
        return memory

    async def attach(self, ctx: Context) -> None:
        """Make this the memory of a context that has one: ``agent.run(memory=…, ctx=ctx)`` would keep the other."""
        await ctx.store.set("memory", self)

    def get(self, input: Given = None, **options: Any) -> list[ChatMessage]:  # noqa: A002, ANN401  # as Memory's
        """The window, and what ``input``, or else the last user message, brings to mind and ``filter`` lets through."""
        kept, lines = self._look(self._link.sync, input, options)
        contents = waited(self._read(kept, input, options)) if self.memory_blocks else {}
        return self._arranged(kept, contents, lines)

    async def aget(self, input: Given = None, **options: Any) -> list[ChatMessage]:  # noqa: A002, ANN401  # as above
        """The window and what is recalled, as ``get`` gives them."""
        kept, lines = await self._link.door.run(lambda store: self._look(store, input, options))
        return self._arranged(kept, await self._read(kept, input, options), lines)

    def get_all(self, status: MessageStatus | None = None) -> list[ChatMessage]:
        """All messages of the session, oldest first, or those of a status."""
        return [each.message for each in self._log.read(self._link.sync, status)]

    async def aget_all(self, status: MessageStatus | None = None) -> list[ChatMessage]:
        """All messages of the session, oldest first, or those of a status."""
        return [each.message for each in await self._link.door.run(lambda store: self._log.read(store, status))]

    def put(self, message: ChatMessage) -> None:
        """Append a message."""
        self.put_messages([message])

    async def aput(self, message: ChatMessage) -> None:
        """Append a message."""
        await self.aput_messages([message])

    def put_messages(self, messages: list[ChatMessage]) -> None:
        """Append messages, all or none."""
        self._hand_over(self._put(self._link.sync, messages))

    async def aput_messages(self, messages: list[ChatMessage]) -> None:
        """Append messages, all or none."""
        await self._hand(await self._link.door.run(lambda store: self._put(store, messages)))

    def set(self, messages: list[ChatMessage]) -> None:
        """Put the messages in the place of all that the session holds."""
        self._hand_over(self._put(self._link.sync, messages, anew=True))

    async def aset(self, messages: list[ChatMessage]) -> None:
        """Put the messages in the place of all that the session holds."""
        await self._hand(await self._link.door.run(lambda store: self._put(store, messages, anew=True)))

    def reset(self) -> None:
        """Forget the session."""
        self._log.delete(self._link.sync, self._log.read(self._link.sync, None))
        waited(forget(self.memory_blocks, self.session_id))

    async def areset(self) -> None:
        """Forget the session."""
        await self._link.door.run(lambda store: self._log.delete(store, self._log.read(store, None)))
        await forget(self.memory_blocks, self.session_id)

    def _put(self, store: MemoryStore, messages: list[ChatMessage], *, anew: bool = False) -> list[ChatMessage]:
        """Store the messages, and return what left the window for them."""
        with self._link.lock_of(self._log.place):
            if anew:
                self._log.replace(store, messages, _ACTIVE)
            else:
                self._log.add(store, messages, _ACTIVE)
            kept = self._log.read(store, _ACTIVE)
            limit = self.token_limit * self.chat_history_token_ratio
            counts = self._counted(kept)
            leaving = overflow([each.message for each in kept], counts, limit)
            return self._log.archive(store, [kept[place] for place in leaving]) if leaving else []

    def _look(self, store: MemoryStore, given: Given, options: dict[str, Any]) -> tuple[list[Kept], list[str]]:
        kept = self._log.read(store, _ACTIVE)
        question = asked([each.message for each in kept], given)
        if not question or not self.k:
            return kept, []
        wanted = unseen(self.session_id, options.get("filter"))
        place = self._log.place if self.recall == "session" else self.namespace
        hits = store.search(Query(text=question, namespace=place, k=self.k, filter=wanted))
        return kept, [line(hit.memory) for hit in hits]

    def _counted(self, kept: Sequence[Kept]) -> list[int]:
        counts = {each.id: self._counts.get(each.id) or tokens(each.message, self.tokenizer_fn) for each in kept}
        self._counts = counts
        return list(counts.values())

    async def _read(self, kept: list[Kept], given: Given, options: dict[str, Any]) -> dict[str, Any]:
        messages = [each.message for each in kept]
        if given is not None:
            messages.append(given if isinstance(given, ChatMessage) else ChatMessage(given))
        contents = await read(self.memory_blocks, messages, self.session_id, options)
        budget = self.token_limit - sum(self._counted(kept))
        return await fitted(self.memory_blocks, contents, budget, self.tokenizer_fn)

    def _arranged(self, kept: list[Kept], contents: dict[str, Any], lines: list[str]) -> list[ChatMessage]:
        history = [each.message for each in kept]
        taken = sum(self._counted(kept)) + sum(tokens(content, self.tokenizer_fn) for content in contents.values())
        recalled = within(lines, self.token_limit - taken, self.tokenizer_fn)
        return arranged(history, [*contents.items(), ("recalled", recalled)], self.insert_method)

    def _hand_over(self, left: list[ChatMessage]) -> None:
        if left and self.memory_blocks:
            waited(self._hand(left))

    async def _hand(self, left: list[ChatMessage]) -> None:
        for block in self.memory_blocks if left else ():
            await block.aput(left, from_short_term_memory=True, session_id=self.session_id)
