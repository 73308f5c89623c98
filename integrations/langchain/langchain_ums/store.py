"""A LangGraph store on UMS."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Literal

from langgraph.store.base import BaseStore, IndexConfig, Op, Result, TTLConfig, ensure_embeddings

from ums_core import EnhancedMemoryStore, MemoryStore

from ._item_work import ItemWork, Vectors
from ._store import Faces

__all__ = ["UMSStore"]


def _now() -> datetime:
    return datetime.now(UTC)


class UMSStore(BaseStore):
    """Long-term memory for LangGraph, kept in UMS: ``create_agent(store=UMSStore(store))``.

    An item is one memory: its ``namespace`` is the item's, where a dot in a label is written ``%2E`` on LangGraph's
    side (``encode_label``), and its ``id`` is the key. Each indexed field is a passage, so a question finds an item by
    its best field. Memories that are no items are neither shown nor touched.

    Setup:
        ``pip install langchain-ums 'ums-core[lite]'``

    Key init args:
        store: what ``open_store`` returned, any other ``MemoryStore``, or an ``EnhancedMemoryStore``; it stays open.
        index: as LangGraph's ``IndexConfig``, all optional: ``fields`` (``["$"]``, the whole value, by default; ``[]``
            indexes nothing), ``embed`` in place of the store's own embedder, and ``dims``, which is checked against the
            store's here, by asking it. None is ``{"fields": ["$"]}``.
        ttl: as LangGraph's ``TTLConfig``. Times are in minutes since the last access. Expired items are deleted by
            ``sweep_ttl()``, and on a write when ``sweep_interval_minutes`` have passed since the last time. Until
            then they are read, unless ``omit_expired``; a question never finds them.
        mode: ``vector`` ranks by meaning, and ``score`` is the cosine of the best field; ``hybrid`` and ``keyword``
            rank as in ``Query``, by scores that compare only within one answer.
        clock: the current time in UTC.

    Instantiate:
        .. code-block:: python

            store = UMSStore(open_store(settings), index={"fields": ["text"]}, ttl={"default_ttl": 60 * 24})

    Use:
        .. code-block:: python

            store.put(("users", encode_label("ada@example.org")), "home", {"text": "Ada lives in Lisbon."})
            store.search(("users",), query="Where does she live?", filter={"kind": {"$ne": "draft"}}, limit=3)

    In a batch, reads see what was there before its writes, and of several writes to one key the last one counts. New
    values are written together or not at all, then deletions. One object serves any number of threads and loops.

    Raises:
        ValueError: ``index["dims"]`` is not the dimension of the store's vectors.
    """

    supports_ttl = True

    def __init__(
        self,
        store: MemoryStore | EnhancedMemoryStore,
        *,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        mode: Literal["vector", "hybrid", "keyword"] = "vector",
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._faces = Faces(store)
        self._work = ItemWork(index, ttl, mode, clock)
        self._embeddings = ensure_embeddings(index["embed"]) if index and index.get("embed") else None
        self.ttl_config = ttl
        if index and "dims" in index:
            held = self._faces.sync.health().dim.get("text")
            if held != index["dims"]:
                raise ValueError(
                    f"index['dims'] is {index['dims']!r}, the vectors of this store have {held} components"
                )

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry out operations; see the class for their order."""
        plan, embeddings = self._work.plan(ops), self._embeddings
        documents: Vectors = {}
        questions: Vectors = {}
        if embeddings is not None:
            if plan.documents:
                documents = dict(zip(plan.documents, embeddings.embed_documents(plan.documents), strict=True))
            questions = {question: embeddings.embed_query(question) for question in plan.questions}
        return self._faces.run(lambda store: self._work.carry_out(store, plan, documents, questions))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry out operations; see the class for their order."""
        plan, embeddings = self._work.plan(ops), self._embeddings
        documents: Vectors = {}
        questions: Vectors = {}
        if embeddings is not None:
            if plan.documents:
                documents = dict(zip(plan.documents, await embeddings.aembed_documents(plan.documents), strict=True))
            questions = {question: await embeddings.aembed_query(question) for question in plan.questions}
        return await self._faces.arun(lambda store: self._work.carry_out(store, plan, documents, questions))

    def sweep_ttl(self) -> int:
        """Delete the items that have expired, and return how many there were."""
        return self._faces.run(self._work.sweep)

    async def asweep_ttl(self) -> int:
        """Delete the items that have expired, and return how many there were."""
        return await self._faces.arun(self._work.sweep)
