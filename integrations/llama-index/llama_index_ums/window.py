"""What fits: counting tokens, cutting a conversation between turns, and keeping whole memories within a budget."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from llama_index.core.llms import ChatMessage, MessageRole, TextBlock

__all__ = ["Tokenizer", "overflow", "tokens", "within"]

Tokenizer: TypeAlias = Callable[[str], Sequence[Any]]

# What LlamaIndex's own Memory reckons for a block that has no words.
_WORDLESS = {"image": 256, "audio": 256, "video": 256, "document": 2048}


def tokens(content: object, tokenizer: Tokenizer) -> int:
    """An estimate for a string, a message, a content block, or a list of them."""
    if isinstance(content, str):
        return len(tokenizer(content))
    if isinstance(content, ChatMessage):
        extra = len(tokenizer(str(content.additional_kwargs))) if content.additional_kwargs else 0
        return extra + tokens(content.blocks, tokenizer)
    if isinstance(content, list):
        return sum(tokens(part, tokenizer) for part in content)
    if isinstance(content, TextBlock):
        return len(tokenizer(content.text))
    kind = str(getattr(content, "block_type", ""))
    if kind in _WORDLESS:
        return _WORDLESS[kind]
    return len(tokenizer(str(content)))


def overflow(messages: Sequence[ChatMessage], counts: Sequence[int], limit: float) -> list[int]:
    """Places of the messages that leave the window: whole turns, the oldest first; nothing while all fit.

    A turn begins with what the user says. The last turn stays, however long it is, and so does every system message.

    Args:
        messages: the conversation, oldest first.
        counts: tokens of each.
        limit: how many may stay; once there are more, a tenth below it, so that not every message makes one leave.
    """
    if sum(counts) <= limit:
        return []
    turns: list[list[int]] = []
    for place, message in enumerate(messages):
        if message.role == MessageRole.SYSTEM:
            continue
        if not turns or message.role == MessageRole.USER:
            turns.append([])
        turns[-1].append(place)
    left, leaving = sum(counts), list[int]()
    for turn in turns[:-1]:
        if left <= 0.9 * limit:
            break
        leaving += turn
        left -= sum(counts[place] for place in turn)
    return leaving


def within(lines: Sequence[str], budget: int, tokenizer: Tokenizer) -> list[TextBlock]:
    """As many of the first lines as fit the budget, each whole."""
    kept: list[TextBlock] = []
    for line in lines:
        budget -= tokens(line, tokenizer)
        if budget < 0:
            break
        kept.append(TextBlock(text=line))
    return kept
