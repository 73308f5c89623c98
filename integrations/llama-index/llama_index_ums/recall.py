"""What a conversation brings to mind."""

from collections.abc import Sequence
from typing import TypeAlias

from llama_index.core.llms import ChatMessage, MessageRole

from llama_index_ums.filters import Condition, both, wished
from ums_core import Filter, Memory

__all__ = ["Given", "asked", "line", "sayable", "unseen"]

Given: TypeAlias = str | ChatMessage | None

# Instructions and the output of tools are no memories.
_UNTOLD = ("system", "developer", "tool", "function")


def asked(messages: Sequence[ChatMessage] | None, given: Given = None) -> str:
    """What is to be recalled for: what was given, or else what the user said last; empty where nobody said anything."""
    if isinstance(given, ChatMessage):
        given = given.content
    if given and given.strip():
        return given.strip()
    said = (message.content or "" for message in reversed(messages or []) if message.role == MessageRole.USER)
    return next((text.strip() for text in said if text.strip()), "")


def line(memory: Memory) -> str:
    """A memory with its provenance, such as ``[2025-03-01 user Ada, chat-7] I moved to Lisbon.``."""
    moment = memory.occurred_at or memory.created_at
    who = " ".join(part for part in (f"{moment:%Y-%m-%d}", memory.role, memory.speaker) if part)
    shown = f" (picture: {memory.caption})" if memory.caption else ""
    return f"[{', '.join(part for part in (who, memory.session) if part)}] {memory.text}{shown}"


def sayable(message: ChatMessage) -> str:
    """The text of a message as UTF-8 holds it: a lone surrogate becomes a question mark."""
    return (message.content or "").strip().encode("utf-8", "replace").decode()


def unseen(session_id: str, given: Condition) -> Filter | None:
    """What was said, does not stand in the window of the session, and meets the condition."""
    shown = Filter.every(Filter.where("session", "eq", session_id), Filter.where("metadata.status", "eq", "active"))
    return both(Filter.none(shown, Filter.where("role", "in", _UNTOLD)), wished(given))
