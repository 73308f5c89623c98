"""A store with one defect, to see that the suite notices it."""

from collections.abc import Callable, Iterable
from typing import Any

from langgraph.store.base import BaseStore, GetOp, Item, ListNamespacesOp, Op, PutOp, Result, SearchOp

__all__ = ["DEFECTS", "BrokenStore"]

Batch = Callable[[list[Op]], list[Any]]


class BrokenStore(BaseStore):
    """A good store behind a defect, each one met in a published store or thread.

    Args:
        store: the good one.
        defect: a name out of ``DEFECTS``.
    """

    supports_ttl = True

    def __init__(self, store: BaseStore, defect: str) -> None:
        self._store = store
        self._defect = DEFECTS[defect]
        self._kept: dict[Any, Any] = {}
        self.ttl_config = store.ttl_config

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry out operations, wrongly."""
        return self._defect(self._store.batch, list(ops), self._kept)

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry out operations, wrongly."""
        return self.batch(ops)

    def sweep_ttl(self) -> int:
        """Delete what has expired."""
        count: int = self._store.sweep_ttl()  # type: ignore[attr-defined]  # what the suite asks of a store
        return count


def _changed(kind: type[Any], change: Callable[[Any], Any]) -> Callable[[Batch, list[Op], dict[Any, Any]], list[Any]]:
    """A defect that changes the operations of one kind."""
    return lambda batch, ops, _kept: batch([change(op) if isinstance(op, kind) else op for op in ops])


def _answered(change: Callable[[Op, Any], Any]) -> Callable[[Batch, list[Op], dict[Any, Any]], list[Any]]:
    """A defect that changes what is answered."""
    return lambda batch, ops, _kept: [change(op, result) for op, result in zip(ops, batch(ops), strict=True)]


def _writes_first(batch: Batch, ops: list[Op], _kept: dict[Any, Any]) -> list[Any]:
    batch([op for op in ops if isinstance(op, PutOp)])
    return batch(ops)


def _first_write_counts(batch: Batch, ops: list[Op], _kept: dict[Any, Any]) -> list[Any]:
    seen: set[object] = set()
    for op in ops:
        if isinstance(op, PutOp) and (op.namespace, op.key) not in seen:
            seen.add((op.namespace, op.key))
            batch([op])
    return [None if isinstance(op, PutOp) else batch([op])[0] for op in ops]


def _same_text_once(batch: Batch, ops: list[Op], _kept: dict[Any, Any]) -> list[Any]:
    texts = [str(op.value) for op in ops if isinstance(op, PutOp) and op.value is not None]
    if len(set(texts)) < len(texts):
        raise ValueError(f"{len(set(texts))} embeddings for {len(texts)} items")
    return batch(ops)


def _aliased(batch: Batch, ops: list[Op], kept: dict[Any, Any]) -> list[Any]:
    results = batch(ops)
    for place, op in enumerate(ops):
        if isinstance(op, GetOp) and results[place] is not None:
            results[place] = kept.setdefault((op.namespace, op.key), results[place])
    return results


def _listed_for_ever(batch: Batch, ops: list[Op], kept: dict[Any, Any]) -> list[Any]:
    results = batch(ops)
    kept |= {op.namespace: None for op in ops if isinstance(op, PutOp | GetOp)}
    return [
        sorted(kept) if isinstance(op, ListNamespacesOp) else result for op, result in zip(ops, results, strict=True)
    ]


def _string_prefix(op: Op, result: Any, batch: Batch) -> Any:  # noqa: ANN401  # as the verb has it
    if not isinstance(op, SearchOp):
        return result
    everything = batch([op._replace(namespace_prefix=())])[0]
    return [item for item in everything if ".".join(item.namespace).startswith(".".join(op.namespace_prefix))]


def _short_pages(op: Op, result: Any) -> Any:  # noqa: ANN401  # as the verb has it
    return [] if isinstance(op, SearchOp) and op.query and op.offset >= 2 * op.limit else result


def _born_again(_op: Op, result: Any) -> Any:  # noqa: ANN401  # as the verb has it
    if isinstance(result, Item):
        result.created_at = result.updated_at
    return result


def _numbers_only(op: Op, result: Any) -> Any:  # noqa: ANN401  # as the verb has it
    for condition in (op.filter or {}).values() if isinstance(op, SearchOp) else ():
        for operand in condition.values() if isinstance(condition, dict) else ():
            float(operand)
    return result


def _known_operators(op: SearchOp) -> SearchOp:
    known = {
        key: value for key, value in (op.filter or {}).items() if not isinstance(value, dict) or "$in" not in value
    }
    return op._replace(filter=known)


DEFECTS: dict[str, Callable[[Batch, list[Op], dict[Any, Any]], list[Any]]] = {
    "a batch writes before it reads": _writes_first,
    "the first of several writes counts": _first_write_counts,
    "one text twice in a batch is an error": _same_text_once,
    "values are aliased": _aliased,
    "a namespace is listed for ever": _listed_for_ever,
    "a prefix is matched as a string": lambda batch, ops, _kept: [
        _string_prefix(op, result, batch) for op, result in zip(ops, batch(ops), strict=True)
    ],
    "pages of a question end early": _answered(_short_pages),
    "created_at is that of the update": _answered(_born_again),
    "a comparison takes numbers only": _answered(_numbers_only),
    "an unknown operator is passed over": _changed(SearchOp, _known_operators),
    "a filter is passed over": _changed(SearchOp, lambda op: op._replace(filter=None)),
    "an offset is passed over": _changed(SearchOp, lambda op: op._replace(offset=0)),
    "index=False is passed over": _changed(PutOp, lambda op: op._replace(index=op.index or None)),
    "fields are passed over": _changed(PutOp, lambda op: op._replace(index=["$"])),
    "ttl is passed over": _changed(PutOp, lambda op: op._replace(ttl=None)),
    "reads do not refresh": _changed(GetOp, lambda op: op._replace(refresh_ttl=False)),
    "reads always refresh": _changed(GetOp, lambda op: op._replace(refresh_ttl=True)),
    "dots become another label": _changed(
        PutOp, lambda op: op._replace(namespace=tuple(str(label).replace(".", "_") for label in op.namespace))
    ),
    "max_depth is passed over": _changed(ListNamespacesOp, lambda op: op._replace(max_depth=None)),
}
