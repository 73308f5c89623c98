"""What a LangGraph store does, on the blocking face."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias

from langgraph.store.base import (
    GetOp,
    IndexConfig,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchOp,
    TTLConfig,
)

from ums_core import Filter, Memory, MemoryStore, Patch, Query, UMSError

from . import _items
from ._filters import item_filter
from ._store import delete_all, scan_all

__all__ = ["ItemWork", "Plan", "Vectors"]

Found: TypeAlias = list[tuple[Memory, float | None]]
Vectors: TypeAlias = Mapping[str, Sequence[float]]
# A read succeeds where the time of what it read cannot be prolonged.
_UNREFRESHED = ("memory_not_found", "index_recovering")


@dataclass(frozen=True, slots=True)
class Plan:
    """A batch, checked.

    Attributes:
        ops: the operations.
        puts: the last write to each key, with the texts that are indexed.
    """

    ops: list[Op]
    puts: list[tuple[PutOp, list[str]]]

    @property
    def documents(self) -> list[str]:
        """Every text to be embedded, once."""
        return list(dict.fromkeys(text for _, texts in self.puts for text in texts))

    @property
    def questions(self) -> list[str]:
        """Every question to be embedded, once."""
        return list(dict.fromkeys(op.query for op in self.ops if isinstance(op, SearchOp) and op.query))


class ItemWork:
    """The operations of a ``UMSStore``, which says what the arguments are."""

    def __init__(
        self,
        index: IndexConfig | None,
        ttl: TTLConfig | None,
        mode: Literal["vector", "hybrid", "keyword"],
        clock: Callable[[], datetime],
    ) -> None:
        given: Mapping[str, Any] = index or {}
        fields = given.get("fields")
        self._fields = _items.fields_of(["$"] if fields is None else fields)
        self._omit_expired = bool((ttl or {}).get("omit_expired"))
        minutes = (ttl or {}).get("sweep_interval_minutes")
        self._sweep_interval = None if minutes is None else timedelta(minutes=minutes)
        self._mode = mode
        self._clock = clock
        self._swept_at = clock()

    def plan(self, ops: Iterable[Op]) -> Plan:
        """Check the operations, before anything is done."""
        batch = list(ops)
        for op in batch:
            _items.check(op)
        puts = {(op.namespace, op.key): op for op in batch if isinstance(op, PutOp)}
        return Plan(batch, [(op, self._texts(op)) for op in puts.values()])

    def carry_out(self, store: MemoryStore, plan: Plan, documents: Vectors, questions: Vectors) -> list[Result]:
        """Reads first, in their order, then the writes; the vectors are those of the caller's embeddings, if any."""
        results: list[Result] = []
        read: list[Memory] = []
        for op in plan.ops:
            found: Found = []
            if isinstance(op, GetOp):
                found = self._get(store, op)
                results.append(_items.item_of(found[0][0]) if found else None)
            elif isinstance(op, SearchOp):
                found = self._search(store, op, questions)
                results.append([_items.scored(memory, score) for memory, score in found])
            elif isinstance(op, ListNamespacesOp):
                results.append(self._list(store, op))
            else:
                results.append(None)
            if isinstance(op, GetOp | SearchOp) and op.refresh_ttl:
                read += [memory for memory, _ in found]
        self._refresh(store, read)
        if plan.puts:
            self._write(store, plan, documents)
            if self._sweep_interval is not None and self._clock() - self._swept_at >= self._sweep_interval:
                self.sweep(store)
        return results

    def sweep(self, store: MemoryStore) -> int:
        """Delete what has expired."""
        self._swept_at = now = self._clock()
        gone: dict[tuple[str, ...], list[str]] = {}
        for memory in scan_all(store, (), _items.CAN_EXPIRE & Filter.where("expires_at", "lte", now)):
            gone.setdefault(memory.namespace, []).append(memory.id)
        return sum(delete_all(store, ids, place) for place, ids in gone.items())

    def _shown(self) -> Filter:
        if not self._omit_expired:
            return _items.IS_ITEM
        living = Filter.where("expires_at", "exists", value=False) | Filter.where("expires_at", "gt", self._clock())
        return _items.IS_ITEM & living

    def _get(self, store: MemoryStore, op: GetOp) -> Found:
        (memory,) = store.get([op.key], namespace=_items.path_of(op.namespace))
        if memory is None or _items.item_of(memory) is None:
            return []
        return [] if self._hidden(memory) else [(memory, None)]

    def _hidden(self, memory: Memory) -> bool:
        return self._omit_expired and _items.has_expired(memory, self._clock())

    def _search(self, store: MemoryStore, op: SearchOp, questions: Vectors) -> Found:
        place, end = _items.path_of(op.namespace_prefix), op.offset + op.limit
        conditions = item_filter(op.filter or {}, _items.VALUE)
        if op.limit == 0:
            return []
        if op.query is None or not op.query.strip():
            memories = scan_all(store, place, Filter.every(self._shown(), *conditions), limit=end)
            return [(memory, None) for memory in memories[op.offset :]]
        # The store leaves out what has expired by its own clock; a condition that never changes is kept by it.
        condition = Filter.every(_items.IS_ITEM, *conditions) if conditions else _items.IS_ITEM
        vector = None if self._mode == "keyword" else questions.get(op.query)
        asked = Query(text=op.query, vector=vector, namespace=place, filter=condition, mode=self._mode)
        hits = store.search(replace(asked, k=op.limit, offset=op.offset))
        return [(hit.memory, hit.score) for hit in hits if not self._hidden(hit.memory)]

    def _list(self, store: MemoryStore, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        conditions = op.match_conditions or ()
        heads = [_plain_head(each.path) for each in conditions if each.match_type == "prefix"]
        found = store.namespaces(prefix=_items.path_of(max(heads, key=len, default=())), filter=self._shown())
        listed = {
            namespace[: op.max_depth]
            for namespace in map(_items.namespace_of, found)
            if all(_items.matches(condition, namespace) for condition in conditions)
        }
        return sorted(listed)[op.offset : op.offset + op.limit]

    def _refresh(self, store: MemoryStore, read: Sequence[Memory]) -> None:
        now = self._clock()
        later = {(memory.namespace, memory.id): _items.refreshed(memory, now) for memory in read}
        patches = [
            Patch(id=id_, namespace=place, changes={"expires_at": moment})
            for (place, id_), moment in later.items()
            if moment is not None
        ]
        # Together if it can be; one that was deleted meanwhile does not keep back the others.
        if patches and not _updated(store, patches) and len(patches) > 1:
            for patch in patches:
                _updated(store, [patch])

    def _write(self, store: MemoryStore, plan: Plan, vectors: Vectors) -> None:
        now = self._clock()
        drafts = [_items.draft_of(op, texts, vectors, now) for op, texts in plan.puts if op.value is not None]
        if drafts:
            store.add(drafts)
        gone: dict[tuple[str, ...], list[str]] = {}
        for op, _ in plan.puts:
            if op.value is None:
                gone.setdefault(_items.path_of(op.namespace), []).append(op.key)
        for place, keys in gone.items():
            delete_all(store, keys, place)

    def _texts(self, op: PutOp) -> list[str]:
        if op.value is None or op.index is False:
            return []
        return _items.texts_of(op.value, self._fields if op.index is None else _items.fields_of(op.index))


def _updated(store: MemoryStore, patches: Sequence[Patch]) -> bool:
    try:
        store.update(patches)
    except UMSError as error:
        if error.code not in _UNREFRESHED:
            raise
        return False
    return True


def _plain_head(path: tuple[str, ...]) -> tuple[str, ...]:
    return path[: path.index("*")] if "*" in path else path
