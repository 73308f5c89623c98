"""A model for tests of agents: it says what a function says, and calls tools as a real one does."""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from llama_index.core.base.llms.types import ToolCallBlock
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.llms import ChatMessage, ChatResponse, ChatResponseAsyncGen, LLMMetadata, MockLLM
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection

__all__ = ["ScriptedLLM", "calls", "repeats"]

Script = Callable[[list[ChatMessage]], ChatMessage]


def repeats(shown: list[ChatMessage]) -> ChatMessage:
    """All that the model was shown, so that a test sees it in the answer."""
    return ChatMessage(role="assistant", content="I saw: " + " | ".join(message.content or "" for message in shown))


def calls(tool: str, **arguments: object) -> ChatMessage:
    """A message that calls a tool."""
    block = ToolCallBlock(tool_call_id=f"call of {tool}", tool_name=tool, tool_kwargs=dict(arguments))
    return ChatMessage(role="assistant", blocks=[block])


class ScriptedLLM(MockLLM, FunctionCallingLLM):
    """A function-calling model whose every answer is what the script makes of the messages it is shown.

    Args:
        script: from all messages of the prompt to the answer, which may call tools.
    """

    _script: Script = PrivateAttr()

    def __init__(self, script: Script = repeats) -> None:
        super().__init__()
        self._script = script

    @property
    def metadata(self) -> LLMMetadata:
        """A model that can call functions."""
        return LLMMetadata(is_function_calling_model=True)

    async def astream_chat_with_tools(  # type: ignore[override]  # takes what it does not use by name
        self,
        tools: Sequence[Any],  # noqa: ARG002  # the framework's signature
        **kwargs: Any,  # noqa: ANN401  # as above
    ) -> ChatResponseAsyncGen:
        """The script's answer, in one piece."""
        answer = self._script(kwargs["chat_history"])

        async def stream() -> AsyncGenerator[ChatResponse, None]:
            yield ChatResponse(message=answer)

        return stream()

    def get_tool_calls_from_response(self, response: ChatResponse, **_: Any) -> list[ToolSelection]:  # type: ignore[override]  # noqa: ANN401  # takes what it does not use by name
        """The tools that an answer calls."""
        blocks = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
        return [
            ToolSelection(
                tool_id=str(block.tool_call_id),
                tool_name=block.tool_name,
                tool_kwargs=block.tool_kwargs if isinstance(block.tool_kwargs, dict) else {},
            )
            for block in blocks
        ]

    def _prepare_chat_with_tools(self, *_: Any, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401  # the framework's signature
        return kwargs
