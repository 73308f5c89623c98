"""A block of LlamaIndex's ``Memory`` that recalls from a store."""

from collections.abc import Iterable
from typing import Any, Literal

from llama_index.core.base.llms.types import ContentBlock
from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.llms import ChatMessage, MessageRole, TextBlock
from llama_index.core.memory.memory import BaseMemoryBlock
from llama_index.core.utils import get_tokenizer
from llama_index_ums.filters import Condition, wished
from llama_index_ums.link import Link, Store
from llama_index_ums.recall import asked, line, sayable
from llama_index_ums.window import Tokenizer, tokens

from ums_core import Draft, Hit, MemoryStore, Query

__all__ = ["UMSMemoryBlock", "forget"]

_SESSION = "session_id"
_SAID = (MessageRole.USER, MessageRole.ASSISTANT)


class UMSMemoryBlock(BaseMemoryBlock[list[ContentBlock]]):
    """What left the window of a ``Memory`` is remembered, and comes back when it is asked for.

    What user and assistant said is kept in ``(*namespace, session_id)``, one memory a message. One block may serve any
    number of memories: with ``recall="session"`` each sees what it gave, and a call without a session is refused; with
    ``recall="namespace"`` all that lies under the namespace is recalled, whoever put it there.

    The question is what the user said last; ``memory.aget(filter=…)`` restricts one answer to what meets a condition.
    Each memory comes back as a line with its provenance, best first. Where ``Memory`` must truncate, the last of them
    go, each as a whole; with ``priority=0`` it never truncates.

    A copy shares the store. What is read back from a dict or a pickle finds it in the same process; in another it
    opens the one that the environment names.

    Args:
        store: what ``open_store`` returned, or an ``EnhancedMemoryStore``; None opens the environment's.
        namespace: where the sessions are.
        k: how many memories at most.
        recall: ``session`` or ``namespace``.

    Raises:
        InvalidInput: the namespace or k cannot be used.
        TypeError: store is something else.
    """

    name: str = "memories"
    priority: int = 1
    namespace: tuple[str, ...] = ("memories",)
    k: int = 5
    recall: Literal["session", "namespace"] = "session"
    tokenizer_fn: Tokenizer = Field(default_factory=get_tokenizer, exclude=True)
    link: str = ""
    _link: Link = PrivateAttr()

    def __init__(self, store: Store | None = None, **fields: Any) -> None:  # noqa: ANN401  # pydantic checks them
        super().__init__(**fields)
        Query(text="?", namespace=self.namespace, k=self.k)
        self._link = Link(store, self.link)
        self.link = self._link.name

    async def arecall(
        self,
        messages: list[ChatMessage] | None,
        session_id: str | None = None,
        filter: Condition = None,  # noqa: A002  # the field's standard term
    ) -> list[Hit]:
        """The memories that the last user message brings to mind and the filter lets through, best first."""
        question = asked(messages)
        place = self._place(session_id) if self.recall == "session" else self.namespace
        if not question:
            return []
        return await self._link.door.search(Query(text=question, namespace=place, k=self.k, filter=wished(filter)))

    async def aput(
        self,
        messages: list[ChatMessage],
        from_short_term_memory: bool = False,  # noqa: FBT001, FBT002  # the framework's signature
        session_id: str | None = None,
    ) -> None:
        """Remember the messages of a session. They are not changed."""
        if self.accept_short_term_memory or not from_short_term_memory:
            await self._keep(messages, session_id)

    async def areset(self, session_id: str | None = None) -> None:
        """Forget the session."""
        place = self._place(session_id)
        await self._link.door.run(lambda store: _forget(store, place))

    async def atruncate(self, content: list[ContentBlock], tokens_to_truncate: int) -> list[ContentBlock] | None:
        """The first memories, without as many of the last as hold so many tokens; None where none is left."""
        kept = list(content)
        while kept and tokens_to_truncate > 0:
            tokens_to_truncate -= tokens(kept.pop(), self.tokenizer_fn)
        return kept or None

    async def _aget(self, messages: list[ChatMessage] | None = None, **block_kwargs: Any) -> list[ContentBlock]:  # noqa: ANN401  # the framework's signature
        hits = await self.arecall(messages, block_kwargs.get(_SESSION), block_kwargs.get("filter"))
        return [TextBlock(text=line(hit.memory)) for hit in hits]

    async def _aput(self, messages: list[ChatMessage]) -> None:
        for message in messages:
            await self._keep([message], message.additional_kwargs.get(_SESSION))

    async def _keep(self, messages: list[ChatMessage], session_id: str | None) -> None:
        place = self._place(session_id)
        drafts = [
            Draft(text=sayable(message), namespace=place, role=message.role.value, session=session_id)
            for message in messages
            if message.role in _SAID and sayable(message)
        ]
        await self._link.door.add(drafts)

    def _place(self, session_id: str | None) -> tuple[str, ...]:
        if session_id is not None:
            return (*self.namespace, session_id)
        if self.recall == "session":
            raise ValueError(
                "this block keeps sessions apart and was not told which: give session_id=, or recall='namespace'"
            )
        return self.namespace


async def forget(blocks: Iterable[BaseMemoryBlock[Any]], session_id: str) -> None:
    """Take a session out of those blocks that can forget."""
    for block in blocks:
        if isinstance(block, UMSMemoryBlock):
            await block.areset(session_id)


def _forget(store: MemoryStore, place: tuple[str, ...]) -> None:
    cursor: int | None = None
    while True:
        page = store.scan(namespace=place, limit=1000, cursor=cursor)
        store.delete([memory.id for memory in page.memories if memory.namespace == place], namespace=place)
        cursor = page.cursor
        if cursor is None:
            return
