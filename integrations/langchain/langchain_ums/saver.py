"""A LangGraph checkpointer on UMS."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from ums_core import EnhancedMemoryStore, MemoryStore

from . import _checkpoint_calls as _calls
from ._checkpoints import Checkpoints
from ._store import Faces

__all__ = ["UMSSaver"]

T = TypeVar("T")


class UMSSaver(BaseCheckpointSaver[int]):
    """The state of LangGraph threads, kept in UMS: ``compile(checkpointer=UMSSaver(store))``.

    Checkpoints lie in the key-value area of the store, sealed when the store is. A thread goes on where it was in any
    process that opens the store. Beside what every saver has, threads can be copied and pruned, and what runs have
    made can be deleted; a copy is made whole or not at all. One object serves any number of threads and loops.

    Args:
        store: what ``open_store`` returned, any other ``MemoryStore``, or an ``EnhancedMemoryStore``; it stays open.
        collection: name of the area; savers with different names know nothing of each other.
        serde: makes bytes of values; LangGraph's own by default.
    """

    def __init__(
        self,
        store: MemoryStore | EnhancedMemoryStore,
        *,
        collection: str = "langgraph.checkpoints",
        serde: SerializerProtocol | None = None,
    ) -> None:
        super().__init__(serde=serde)
        self._faces = Faces(store)
        self._collection = collection

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that a configuration names, or the latest of its thread."""
        return self._run(lambda held: held.get(_calls.place(config)))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that a configuration names, or the latest of its thread."""
        return await self._arun(lambda held: held.get(_calls.place(config)))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  # LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Checkpoints, newest first, whose metadata equal the filter.

        Cost: with a thread and a namespace, what is listed; else all of the thread, or of the collection, is read.
        """
        yield from self._run(lambda held: _calls.listed(held, config, _calls.Wanted(filter, before, limit)))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  # LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Checkpoints, newest first; as ``list``."""
        for found in await self._arun(lambda held: _calls.listed(held, config, _calls.Wanted(filter, before, limit))):
            yield found

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Keep a checkpoint and return the configuration that names it."""
        del new_versions  # a checkpoint is kept whole
        return self._run(lambda held: _calls.put(held, config, checkpoint, metadata))

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Keep a checkpoint; as ``put``."""
        del new_versions  # as above
        return await self._arun(lambda held: _calls.put(held, config, checkpoint, metadata))

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Keep what a task has written since a checkpoint."""
        self._run(lambda held: held.put_writes(_calls.place(config), _calls.numbered(writes), task_id, task_path))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Keep what a task has written since a checkpoint."""
        await self._arun(
            lambda held: held.put_writes(_calls.place(config), _calls.numbered(writes), task_id, task_path)
        )

    def delete_thread(self, thread_id: str) -> None:
        """Delete a thread with all that belongs to it."""
        self._run(lambda held: held.delete_thread(thread_id))

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete a thread with all that belongs to it."""
        await self._arun(lambda held: held.delete_thread(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints that runs have made, with their writes."""
        self._run(lambda held: held.delete_runs(run_ids))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints that runs have made, with their writes."""
        await self._arun(lambda held: held.delete_runs(run_ids))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread whole."""
        self._run(lambda held: held.copy_thread(source_thread_id, target_thread_id))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread whole."""
        await self._arun(lambda held: held.copy_thread(source_thread_id, target_thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Forget the past of threads.

        Args:
            thread_ids: which; those that do not exist are no error.
            strategy: ``keep_latest`` keeps the latest checkpoint of each namespace, and those ancestors that a delta
                channel is rebuilt from; ``delete`` keeps nothing.

        Raises:
            ValueError: another strategy.
        """
        self._run(lambda held: _calls.prune(held, thread_ids, strategy))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Forget the past of threads; as ``prune``."""
        await self._arun(lambda held: _calls.prune(held, thread_ids, strategy))

    def _run(self, work: Callable[[Checkpoints], T]) -> T:
        return self._faces.run(lambda store: work(Checkpoints(store, self._collection, self.serde)))

    async def _arun(self, work: Callable[[Checkpoints], T]) -> T:
        return await self._faces.arun(lambda store: work(Checkpoints(store, self._collection, self.serde)))
