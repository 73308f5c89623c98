"""Messages to try a chat store with."""

from llama_index.core.base.llms.types import (
    AudioBlock,
    CacheControl,
    CachePoint,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from llama_index.core.llms import ChatMessage, MessageRole

__all__ = ["said", "texts", "whole"]


def said(*contents: str) -> list[ChatMessage]:
    """User messages."""
    return [ChatMessage(content=content) for content in contents]


def texts(messages: list[ChatMessage]) -> list[str | None]:
    """Their contents."""
    return [message.content for message in messages]


def whole() -> list[ChatMessage]:
    """Messages with every kind of block, and every awkward content."""
    return [
        ChatMessage(role=MessageRole.SYSTEM, content="Be kind."),
        ChatMessage(content="  Füße 🦓\n\n"),
        ChatMessage(content=""),
        ChatMessage(content="lone \ud800 surrogate and NUL \0"),
        ChatMessage(role=MessageRole.ASSISTANT, blocks=[]),
        ChatMessage(
            role=MessageRole.ASSISTANT,
            blocks=[
                ThinkingBlock(content="hm", additional_information={"signature": "s"}),
                TextBlock(text="one"),
                TextBlock(text="two"),
                ToolCallBlock(tool_call_id="1", tool_name="f", tool_kwargs={"big": 2**70, "x": [1.5, None]}),
                CachePoint(cache_control=CacheControl(type="ephemeral")),
            ],
            additional_kwargs={"tool_calls": [{"id": "1"}], "nested": {"deep": [True]}},
        ),
        ChatMessage(role=MessageRole.TOOL, content="42", additional_kwargs={"tool_call_id": "1"}),
        ChatMessage(
            blocks=[
                ImageBlock(image=b"\x89PNG", image_mimetype="image/png", detail="low"),
                AudioBlock(audio=b"RIFF", format="wav"),
                VideoBlock(video=b"mp4", video_mimetype="video/mp4"),
                DocumentBlock(data=b"%PDF", title="t", document_mimetype="application/pdf"),
                CitableBlock(title="t", source="s", content=[TextBlock(text="c")]),
                CitationBlock(cited_content=TextBlock(text="c"), source="s", title="t", additional_location_info={}),
            ]
        ),
    ]
