"""Configurations and calls of LangGraph, as work on checkpoints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_id,
    get_checkpoint_metadata,
)

from ._checkpoints import Checkpoints, Place

__all__ = ["Wanted", "listed", "numbered", "place", "prune", "put"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a listing shall hold."""

    filter: Mapping[str, Any] | None
    before: RunnableConfig | None
    limit: int | None


def place(config: RunnableConfig) -> Place:
    """Where the checkpoint is that a configuration names."""
    named = config["configurable"]
    return Place(str(named["thread_id"]), named.get("checkpoint_ns", ""), get_checkpoint_id(config) or "")


def put(
    held: Checkpoints, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata
) -> RunnableConfig:
    """Keep a checkpoint."""
    parent = place(config)
    there = Place(parent.thread, parent.namespace, checkpoint["id"])
    held.put(there, parent.id or None, checkpoint, get_checkpoint_metadata(config, metadata))
    return there.config(there.id)  # type: ignore[return-value]  # a configuration is a plain dict


def numbered(writes: Sequence[tuple[str, Any]]) -> Sequence[tuple[int, str, Any]]:
    """Writes with their numbers; those of special channels are negative."""
    return [(WRITES_IDX_MAP.get(channel, number), channel, value) for number, (channel, value) in enumerate(writes)]


def prune(held: Checkpoints, threads: Sequence[str], strategy: str) -> None:
    """Forget the past of threads."""
    if strategy not in ("keep_latest", "delete"):
        raise ValueError(f"strategy is 'keep_latest' or 'delete', got {strategy!r}")
    for thread in threads:
        (held.prune if strategy == "keep_latest" else held.delete_thread)(thread)


def listed(held: Checkpoints, config: RunnableConfig | None, wanted: Wanted) -> list[CheckpointTuple]:
    """Checkpoints, newest first."""
    named: Mapping[str, Any] = config["configurable"] if config else {}
    thread = str(named["thread_id"]) if "thread_id" in named else None
    before = get_checkpoint_id(wanted.before) if wanted.before else None
    id_ = named.get("checkpoint_id")
    found: list[CheckpointTuple] = []
    if wanted.limit is not None and wanted.limit <= 0:
        return found
    for each in held.walk(thread, named.get("checkpoint_ns"), before):
        metadata: Mapping[str, Any] = each.metadata
        if id_ and each.checkpoint["id"] != id_:
            continue
        if all(metadata.get(key) == value for key, value in (wanted.filter or {}).items()):
            found.append(each)
            if len(found) == wanted.limit:
                break
    return found
