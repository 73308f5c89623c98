"""Memory for agents of ``langchain.agents``."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
from langchain_core.messages import AIMessage
from langgraph.config import get_config
from langgraph.runtime import Runtime

from ums_core import Draft, EnhancedMemoryStore, Filter, Hit, MemoryStore, Query

from . import _turns
from ._scope import NamespaceOf, Scope
from ._store import Faces

__all__ = ["UMSMemoryMiddleware"]

Answer = ModelResponse[Any] | AIMessage


class UMSMemoryMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Recalls what helps before each model call, and keeps what was said after each run.

    What is recalled stands behind the system message, between ``<memories>`` and ``</memories>``: one JSON object a
    line with id, date, speaker and text, under a sentence that says these are data and not instructions. A memory
    cannot close the block. What the conversation holds anyhow is left out.

    After a run, the last human message and the answers to it are kept, without tool calls and their results. A run
    that is repeated replaces what it kept; it never keeps a turn twice. Kept memories carry role, session (the thread)
    and position.

    Args:
        store: what ``open_store`` returned, any other ``MemoryStore``, or an ``EnhancedMemoryStore``; it stays open.
        namespace: whose memories. ``"{user_id}"`` is filled from ``context``, or else from ``config["configurable"]``;
            a run that does not say it is refused. Or a function of both.
        k: how many memories at most.
        write: whether runs are kept.
        max_tokens: how long the block may be, by LangChain's approximate count.
        mode: how memories are ranked, as in ``ums_core.Query``.
        filter: which memories may be recalled.
    """

    def __init__(  # noqa: PLR0913  # keywords, as in LangChain's own middleware
        self,
        store: MemoryStore | EnhancedMemoryStore,
        *,
        namespace: NamespaceOf = ("users", "{user_id}"),
        k: int = 5,
        write: bool = True,
        max_tokens: int = 1000,
        mode: Literal["hybrid", "vector", "keyword"] = "hybrid",
        filter: Filter | Mapping[str, object] | None = None,  # noqa: A002  # the field's standard term
    ) -> None:
        super().__init__()
        self._faces = Faces(store)
        self._scope = Scope(namespace)
        self._query = Query(text="?", k=k, mode=mode, filter=filter)
        self._write = write
        self._max_tokens = max_tokens

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> Answer:
        """Recall, and call the model."""
        query = self._asked(request)
        hits = [] if query is None else self._faces.run(lambda store: store.search(query))
        return handler(self._told(request, hits))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> Answer:
        """Recall, and call the model."""
        query = self._asked(request)
        hits = [] if query is None else await self._faces.arun(lambda store: store.search(query))
        return await handler(self._told(request, hits))

    def after_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:
        """Keep what was said."""
        drafts = self._turn(state, runtime)
        if drafts:
            self._faces.run(lambda store: store.add(drafts))

    async def aafter_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> None:
        """Keep what was said."""
        drafts = self._turn(state, runtime)
        if drafts:
            await self._faces.arun(lambda store: store.add(drafts))

    def _asked(self, request: ModelRequest[Any]) -> Query | None:
        # Also where nothing is asked: a run without a user is refused before its model is called.
        namespace = self._scope.of(request.runtime.context, _configurable())
        words = _turns.question_of(request.messages)
        return replace(self._query, text=words, namespace=namespace) if words else None

    def _told(self, request: ModelRequest[Any], hits: list[Hit]) -> ModelRequest[Any]:
        namespace = self._scope.of(request.runtime.context, _configurable())
        block = _turns.block_of(hits, request.messages, namespace, self._max_tokens)
        return request.override(system_message=_turns.with_block(request.system_message, block)) if block else request

    def _turn(self, state: AgentState[Any], runtime: Runtime[Any]) -> list[Draft]:
        if not self._write:
            return []
        configurable = _configurable()
        thread = configurable.get("thread_id")
        namespace = self._scope.of(runtime.context, configurable)
        return _turns.turn_of(state["messages"], namespace, None if thread is None else str(thread))


def _configurable() -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = get_config().get("configurable", {})
    except RuntimeError:
        return {}  # not called by a graph
    return found
