"""Checkpoints and their writes as keys and values.

One collection holds three kinds of keys, each part quoted so that a slash divides parts and nothing else::

    c/THREAD/NS/ID              a checkpoint: parent, run, checkpoint, metadata
    w/THREAD/NS/ID/TASK/NUMBER  a write: task, path of the task, channel, value
    r/RUN/THREAD/NS/ID          which checkpoints a run made; no value

What belongs together is written in one call, so all of it or nothing; what is deleted goes in parts of 500 keys.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

import ormsgpack
from langgraph.checkpoint.base import Checkpoint, CheckpointMetadata, CheckpointTuple, writes_sort_key
from langgraph.checkpoint.serde.base import SerializerProtocol

from ums_core import MemoryStore

from ._store import parts_of

__all__ = ["Checkpoints", "Place"]

_PAGE = 200
_DELTAS = "counters_since_delta_snapshot"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a checkpoint is."""

    thread: str
    namespace: str
    id: str

    @property
    def parts(self) -> tuple[str, str, str]:
        """The parts of its keys."""
        return (self.thread, self.namespace, self.id)

    def config(self, id_: str) -> dict[str, Any]:
        """The configuration that names a checkpoint of this thread and namespace."""
        return {"configurable": {"thread_id": self.thread, "checkpoint_ns": self.namespace, "checkpoint_id": id_}}


class Checkpoints:
    """The checkpoints of a collection, on the blocking face.

    Args:
        store: where they are.
        collection: its name.
        serde: makes bytes of values.
    """

    def __init__(self, store: MemoryStore, collection: str, serde: SerializerProtocol) -> None:
        self._store = store
        self._collection = collection
        self._serde = serde

    def put(self, place: Place, parent: str | None, checkpoint: Checkpoint, metadata: CheckpointMetadata) -> None:
        """Keep a checkpoint."""
        run = metadata.get("run_id")
        packed = (parent, run, *self._serde.dumps_typed(checkpoint), *self._serde.dumps_typed(metadata))
        items: dict[str, object] = {_key("c", *place.parts): ormsgpack.packb(packed)}
        if run is not None:
            items[_key("r", str(run), *place.parts)] = b""
        self._store.kv_put(self._collection, items)

    def put_writes(self, place: Place, writes: Sequence[tuple[int, str, Any]], task: str, path: str) -> None:
        """Keep writes; one with a number of at least 0 that is there already stays as it is."""
        keys = [_key("w", *place.parts, task, str(number)) for number, _, _ in writes]
        held = self._store.kv_get(self._collection, keys) if keys else []
        items: dict[str, object] = {
            key: ormsgpack.packb((task, path, number, channel, *self._serde.dumps_typed(value)))
            for key, there, (number, channel, value) in zip(keys, held, writes, strict=True)
            if there is None or number < 0
        }
        if items:
            self._store.kv_put(self._collection, items)

    def get(self, place: Place) -> CheckpointTuple | None:
        """A checkpoint; the latest of its thread and namespace where the id is empty."""
        if place.id:
            (value,) = self._store.kv_get(self._collection, [_key("c", *place.parts)])
            return None if value is None else self._tuple(place, value)
        prefix = _key("c", place.thread, place.namespace, "")
        found = self._store.kv_scan(self._collection, prefix=prefix, limit=1, descending=True)
        return self._tuple(_place(found[0][0]), found[0][1]) if found else None

    def walk(self, thread: str | None, namespace: str | None, before: str | None) -> Iterator[CheckpointTuple]:
        """Checkpoints with their writes, newest first; read page by page where thread and namespace are given."""
        if thread is not None and namespace is not None:
            after = _key("c", thread, namespace, before) if before else ""
            for key, value in self._scan(_key("c", thread, namespace, ""), after=after, descending=True):
                yield self._tuple(_place(key), value)
            return
        parts = ("c",) if thread is None else ("c", thread)
        found = [(_place(key), value) for key, value in self._scan(_key(*parts, ""), descending=True)]
        for place, value in sorted(found, key=lambda pair: pair[0].id, reverse=True):
            if (before is None or place.id < before) and namespace in (None, place.namespace):
                yield self._tuple(place, value)

    def delete_thread(self, thread: str) -> None:
        """Delete a thread with all that belongs to it."""
        self._delete(self._of_thread(thread))

    def delete_runs(self, runs: Iterable[str]) -> None:
        """Delete the checkpoints that runs have made, with their writes."""
        places = [_place(key) for run in runs for key, _ in self._scan(_key("r", run, ""))]
        keys = [_key("c", *place.parts) for place in places]
        values = [value for part in parts_of(keys) for value in self._store.kv_get(self._collection, part)]
        self._delete({place: value for place, value in zip(places, values, strict=True) if value is not None})

    def copy_thread(self, source: str, target: str) -> None:
        """Copy a thread whole, all of it or nothing."""
        items: dict[str, object] = {}
        for place, value in self._of_thread(source).items():
            there = (target, place.namespace, place.id)
            items[_key("c", *there)] = value
            items |= {
                _key("w", *there) + key.removeprefix(_key("w", *place.parts)): v for key, v in self._writes(place)
            }
            run = ormsgpack.unpackb(value)[1]
            if run is not None:
                items[_key("r", str(run), *there)] = b""
        if items:
            self._store.kv_put(self._collection, items)

    def prune(self, thread: str) -> None:
        """Keep the latest checkpoint of each namespace, and of its ancestors those it is rebuilt from."""
        held = self._of_thread(thread)
        latest: dict[str, Place] = {}
        for place in held:
            latest[place.namespace] = max(place, latest.get(place.namespace, place), key=lambda each: each.id)
        kept = {place for each in latest.values() for place in self._needed(each, held)}
        self._delete({place: value for place, value in held.items() if place not in kept})

    def _needed(self, place: Place, held: dict[Place, Any]) -> Iterator[Place]:
        """The checkpoint, and back to where every delta channel that it carries has a value of its own."""
        unpacked = ormsgpack.unpackb(held[place])
        metadata = self._serde.loads_typed((unpacked[4], unpacked[5]))
        missing = set(metadata.get(_DELTAS) or {})
        current: Place | None = place
        while current is not None and current in held:
            yield current
            parent, _, kind, data, *_ = ormsgpack.unpackb(held[current])
            missing -= set(self._serde.loads_typed((kind, data))["channel_values"])
            current = Place(place.thread, place.namespace, parent) if missing and parent else None

    def _tuple(self, place: Place, value: Any) -> CheckpointTuple:  # noqa: ANN401  # bytes, as they are kept
        parent, _, kind, data, metadata_kind, metadata_data = ormsgpack.unpackb(value)
        writes = [ormsgpack.unpackb(held) for _, held in self._writes(place)]
        writes.sort(key=lambda write: writes_sort_key(write[1], write[0], write[2]))
        return CheckpointTuple(
            config=place.config(place.id),  # type: ignore[arg-type]  # a configuration is a plain dict
            checkpoint=self._serde.loads_typed((kind, data)),
            metadata=self._serde.loads_typed((metadata_kind, metadata_data)),
            parent_config=place.config(parent) if parent else None,  # type: ignore[arg-type]  # as above
            pending_writes=[
                (task, channel, self._serde.loads_typed((kind, data))) for task, _, _, channel, kind, data in writes
            ],
        )

    def _of_thread(self, thread: str) -> dict[Place, Any]:
        return {_place(key): value for key, value in self._scan(_key("c", thread, ""))}

    def _writes(self, place: Place) -> Iterator[tuple[str, Any]]:
        return self._scan(_key("w", *place.parts, ""))

    def _delete(self, held: dict[Place, Any]) -> None:
        keys = []
        for place, value in held.items():
            keys += [_key("c", *place.parts), *(key for key, _ in self._writes(place))]
            run = ormsgpack.unpackb(value)[1]
            if run is not None:
                keys.append(_key("r", str(run), *place.parts))
        for part in parts_of(keys):
            self._store.kv_delete(self._collection, part)

    def _scan(self, prefix: str, *, after: str = "", descending: bool = False) -> Iterator[tuple[str, Any]]:
        # A service may give fewer at once than it was asked for, so only an empty page is the end.
        while page := self._store.kv_scan(
            self._collection, prefix=prefix, after=after, limit=_PAGE, descending=descending
        ):
            yield from page
            after = page[-1][0]


def _key(*parts: str) -> str:
    return "/".join(quote(part, safe="") for part in parts)


def _place(key: str) -> Place:
    return Place(*map(unquote, key.split("/")[-3:]))
