"""Memories as documents."""

from collections.abc import Mapping
from typing import Literal, Self

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import PrivateAttr, SkipValidation, model_validator

from ums_core import EnhancedMemoryStore, Filter, Hit, MemoryStore, Query

from ._store import Faces

__all__ = ["UMSRetriever"]

_OPTIONS = ("k", "namespace", "filter", "mode")


class UMSRetriever(BaseRetriever):
    """The memories that answer a question, best first.

    Each option can also be given to one call, where it replaces the one given here:
    ``retriever.invoke("where does she live?", k=3, namespace=("users", "u1"))``.

    A document's ``page_content`` is the memory's text and its ``id`` the memory's. Its ``metadata`` is the memory's
    own, and under the reserved key ``ums`` where it comes from: ``score``, ``similarity``, ``namespace``, ``role``,
    ``speaker``, ``session``, ``occurred_at`` and ``created_at`` in ISO 8601, and ``tags``.

    One object serves any number of threads and event loops. It does not close the store.

    Attributes:
        store: what ``open_store`` returned, or an ``EnhancedMemoryStore``.
        k: how many documents at most, from 1.
        namespace: a prefix, matched label by label; ``()`` searches everything.
        filter: a ``Filter``, or a dict such as ``{"role": "user", "importance": {"$gte": 0.5}}``.
        mode: ``hybrid`` fuses vectors and keywords; ``vector`` and ``keyword`` use one alone.

    Raises:
        ValidationError: an option that cannot be used; in a call it is an ``InvalidInput`` of UMS.
        TypeError: a call names an option that does not exist.
    """

    store: MemoryStore | EnhancedMemoryStore
    k: int = 4
    namespace: tuple[str, ...] = ()
    # Query checks it; pydantic would take any dict with a key "op" for a Filter.
    filter: SkipValidation[Filter | Mapping[str, object] | None] = None
    mode: Literal["hybrid", "vector", "keyword"] = "hybrid"
    _faces: Faces | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _usable(self) -> Self:
        self._query("?", {})
        return self

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **options: object
    ) -> list[Document]:
        del run_manager  # invoke() reports start, end and error
        return [_document(hit) for hit in self._both().sync.search(self._query(query, options))]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **options: object
    ) -> list[Document]:
        del run_manager  # as above
        return [_document(hit) for hit in await self._both().door.search(self._query(query, options))]

    def _query(self, text: str, options: Mapping[str, object]) -> Query:
        # "verbose" is LangChain's own: invoke() reads it and hands it on.
        unknown = sorted(set(options) - {*_OPTIONS, "verbose"})
        if unknown:
            raise TypeError(f"UMSRetriever knows no option {', '.join(unknown)}; a call takes {', '.join(_OPTIONS)}")
        values = {name: options.get(name, getattr(self, name)) for name in _OPTIONS}
        return Query(text=text, **values)  # type: ignore[arg-type]  # checked by Query

    def _both(self) -> Faces:
        faces = self._faces
        # A copy made with another store carries the private state of the original.
        if faces is None or faces.given is not self.store:
            faces = self._faces = Faces(self.store)
        return faces


def _document(hit: Hit) -> Document:
    memory = hit.memory
    origin = {
        "score": hit.score,
        "similarity": hit.similarity,
        "namespace": list(memory.namespace),
        "role": memory.role,
        "speaker": memory.speaker,
        "session": memory.session,
        "occurred_at": None if memory.occurred_at is None else memory.occurred_at.isoformat(),
        "created_at": memory.created_at.isoformat(),
        "tags": list(memory.tags),
    }
    return Document(id=memory.id, page_content=memory.text, metadata={**memory.metadata, "ums": origin})
