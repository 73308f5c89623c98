"""Memories as documents."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal, Self

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import Field, PrivateAttr, SkipValidation, model_validator

from ums_core import EnhancedMemoryStore, Filter, Hit, MemoryStore, Query

from ._documents import relevance
from ._store import Faces

__all__ = ["UMSRetriever"]

_OWN = ("k", "namespace", "filter", "mode", "channel")
_THRESHOLD = "score_threshold"
_QUERY = frozenset(entry.name for entry in fields(Query)) - {"text"}


class UMSRetriever(BaseRetriever):
    """The memories that answer a question, best first.

    Each option can also be given to one call, where it replaces the one given here:
    ``retriever.invoke("where does she live?", k=3, namespace=("users", "u1"))``.

    A document's ``page_content`` is the memory's text, or its caption where it has none, and its ``id`` the memory's;
    with the option ``context``, the turns before and after it in the conversation stand around it, one a line. Its
    ``metadata`` is the memory's own, and under the reserved key ``ums`` where it comes from: ``score``, ``similarity``,
    ``namespace``, ``role``, ``speaker``, ``caption``, ``session``, ``occurred_at`` and ``created_at`` in ISO 8601,
    ``tags``, and ``channel``.

    One object serves any number of threads and event loops. It does not close the store.

    Attributes:
        store: what ``open_store`` returned, any other ``MemoryStore``, or an ``EnhancedMemoryStore``.
        k: how many documents at most, from 1.
        score_threshold: only documents that are at least so near, as (cosine + 1) / 2, in [0, 1]; None is all.
        namespace: a prefix, matched label by label; ``()`` searches everything.
        filter: a ``Filter``, or a dict such as ``{"role": "user", "importance": {"$gte": 0.5}}``.
        mode: ``hybrid`` fuses vectors and keywords; ``vector`` and ``keyword`` use one alone.
        channel: of a store with two sides, which is asked: ``personal``, ``global`` or ``both``.
        options: any further option of ``ums_core.Query``, by its name, such as ``{"diversity": 0.3}``.

    Raises:
        ValidationError: an option that cannot be used; in a call it is an ``InvalidInput`` of UMS.
        TypeError: a call names an option that does not exist.
    """

    store: MemoryStore | EnhancedMemoryStore
    k: int = 4
    score_threshold: float | None = None
    namespace: tuple[str, ...] = ()
    # Query checks it; pydantic would take any dict with a key "op" for a Filter.
    filter: SkipValidation[Filter | Mapping[str, object] | None] = None
    mode: Literal["hybrid", "vector", "keyword"] = "hybrid"
    channel: Literal["personal", "global", "both"] = "personal"
    options: Mapping[str, Any] = Field(default_factory=dict)
    _faces: Faces | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _usable(self) -> Self:
        try:
            self._query("?", {})
            _threshold(self.score_threshold)
        except TypeError as error:
            raise ValueError(str(error)) from error
        return self

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **options: object
    ) -> list[Document]:
        del run_manager  # invoke() reports start, end and error
        asked, least = self._query(query, options), self._least(options)
        return _documents(self._both().run(lambda store: store.search(asked)), least)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **options: object
    ) -> list[Document]:
        del run_manager  # as above
        asked, least = self._query(query, options), self._least(options)
        return _documents(await self._both().arun(lambda store: store.search(asked)), least)

    def _query(self, text: str, options: Mapping[str, Any]) -> Query:
        # "verbose" is LangChain's own: invoke() reads it and hands it on.
        given = {
            **self.options,
            **{name: value for name, value in options.items() if name not in ("verbose", _THRESHOLD)},
        }
        unknown = sorted(set(given) - _QUERY)
        if unknown:
            known = ", ".join([*_OWN, _THRESHOLD, *sorted(_QUERY - set(_OWN))])
            raise TypeError(f"UMSRetriever knows no option {', '.join(unknown)}; a call takes {known}")
        return Query(text=text, **{**{name: getattr(self, name) for name in _OWN}, **given})

    def _least(self, options: Mapping[str, Any]) -> float | None:
        return _threshold(options.get(_THRESHOLD, self.score_threshold))

    def _both(self) -> Faces:
        faces = self._faces
        # A copy made with another store carries the private state of the original.
        if faces is None or faces.given is not self.store:
            faces = self._faces = Faces(self.store)
        return faces


def _threshold(value: float | None) -> float | None:
    if value is not None and not 0 <= value <= 1:
        raise ValueError(f"score_threshold lies in [0, 1], got {value!r}")
    return value


def _documents(hits: list[Hit], least: float | None) -> list[Document]:
    return [_document(hit) for hit in hits if least is None or relevance(hit) >= least]


def _document(hit: Hit) -> Document:
    memory = hit.memory
    origin = {
        "score": hit.score,
        "similarity": hit.similarity,
        "namespace": list(memory.namespace),
        "role": memory.role,
        "speaker": memory.speaker,
        "caption": memory.caption,
        "session": memory.session,
        "occurred_at": None if memory.occurred_at is None else memory.occurred_at.isoformat(),
        "created_at": memory.created_at.isoformat(),
        "tags": list(memory.tags),
        "channel": hit.channel,
    }
    text = "\n".join(turn.text or turn.caption or "" for turn in (*hit.before, memory, *hit.after))
    return Document(id=memory.id, page_content=text, metadata={**memory.metadata, "ums": origin})
