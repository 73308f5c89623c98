"""How memories stand in a conversation: read from blocks, cut to what fits, and put before it."""

import asyncio
import re
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, TypeVar

from llama_index.core.base.llms.types import ContentBlock
from llama_index.core.llms import ChatMessage, MessageRole, TextBlock
from llama_index.core.memory import BaseMemoryBlock

from llama_index_ums.window import Tokenizer, tokens

__all__ = ["Content", "arranged", "fitted", "read", "waited"]

T = TypeVar("T")

Content = Any  # str, a list of content blocks, or a list of messages: what LlamaIndex lets a block give


async def read(
    blocks: Sequence[BaseMemoryBlock[Any]], messages: list[ChatMessage], session_id: str, options: Mapping[str, Any]
) -> dict[str, Content]:
    """What each block has to say, by its name; all are asked at once."""
    found = await asyncio.gather(*(block.aget(messages, session_id=session_id, **options) for block in blocks))
    return {block.name: content for block, content in zip(blocks, found, strict=True) if content}


async def fitted(
    blocks: Sequence[BaseMemoryBlock[Any]], contents: Mapping[str, Content], budget: int, tokenizer: Tokenizer
) -> dict[str, Content]:
    """The contents cut to so many tokens: priority 0 never, else the greatest number first, 1 last."""
    left = dict(contents)
    for block in sorted(blocks, key=lambda block: -block.priority):
        over = sum(tokens(content, tokenizer) for content in left.values()) - budget
        if over <= 0:
            break
        if block.priority == 0 or block.name not in left:
            continue
        content = left.pop(block.name)
        cut = await block.atruncate(content, over)
        # A block that cuts less than it was asked to gives way as a whole.
        if cut and tokens(cut, tokenizer) <= tokens(content, tokenizer) - over:
            left[block.name] = cut
    return left


def arranged(
    history: Sequence[ChatMessage], contents: Sequence[tuple[str, Content]], where: Literal["system", "user"]
) -> list[ChatMessage]:
    """The history with the contents in its system message or its last user message, made where there is none.

    Contents that are messages stand before all others. The messages of the history are not changed. A tag in what was
    remembered ends nothing: its ``<`` becomes ``&lt;``.
    """
    said = [message for _, content in contents if _is_messages(content) for message in content]
    told = [(name, content) for name, content in contents if content and not _is_messages(content)]
    result = [*said, *history]
    if not told:
        return result
    tag = re.compile(
        rf"<(?=\s*/?\s*(?:{'|'.join(re.escape(name) for name in ('memory', *dict(told)))})\s*>)", re.IGNORECASE
    )
    memory = [part for name, content in told for part in _enclosed(name, content, tag)]
    inserted = _joined([TextBlock(text="<memory>"), *memory, TextBlock(text="</memory>")])
    role = MessageRole.SYSTEM if where == "system" else MessageRole.USER
    places = [place for place, message in enumerate(result) if message.role == role]
    if not places:
        made = ChatMessage(role=role, blocks=inserted)
        return [made, *result] if where == "system" else [*result, made]
    place = places[0] if where == "system" else places[-1]
    blocks = [*inserted, *result[place].blocks]
    result[place] = result[place].model_copy(update={"blocks": blocks})
    return result


def waited(work: Coroutine[Any, Any, T]) -> T:
    """What comes of the work, for a blocking caller: LlamaIndex's blocks have no other face than the awaitable one.

    It runs in a loop and a thread of its own, so that it does not matter whether the caller's thread has a loop.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def _is_messages(content: Content) -> bool:
    return isinstance(content, list) and bool(content) and isinstance(content[0], ChatMessage)


def _enclosed(name: str, content: Content, tag: re.Pattern[str]) -> list[ContentBlock]:
    blocks: list[ContentBlock] = [TextBlock(text=content)] if isinstance(content, str) else content
    inert = [TextBlock(text=tag.sub("&lt;", block.text)) if isinstance(block, TextBlock) else block for block in blocks]
    return [TextBlock(text=f"<{name}>"), *inert, TextBlock(text=f"</{name}>")]


def _joined(blocks: Sequence[ContentBlock]) -> list[ContentBlock]:
    """The blocks with neighbouring texts made one, line by line."""
    out: list[ContentBlock] = []
    for block in blocks:
        last = out[-1] if out else None
        if isinstance(block, TextBlock) and isinstance(last, TextBlock):
            out[-1] = TextBlock(text=f"{last.text}\n{block.text}")
        else:
            out.append(block)
    return out
