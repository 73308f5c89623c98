"""Documents as memories, and questions for them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt
from langchain_core.documents import Document

from ums_core import Draft, Hit, Memory, MemoryStore, Query

from ._filters import document_filter
from ._store import delete_all, parts_of, scan_all

__all__ = [
    "as_relevance",
    "delete",
    "diverse",
    "document_of",
    "documents_of",
    "drafts_of",
    "get",
    "question",
    "relevance",
    "search",
]

Namespace = tuple[str, ...]
# What a search may be told beside the question itself: every option that a query of UMS has.
OPTIONS = frozenset(entry.name for entry in fields(Query)) - {"text", "vector", "k"}


def drafts_of(
    texts: Sequence[str],
    metadatas: Sequence[Mapping[str, Any]] | None,
    ids: Sequence[str | None] | None,
    vectors: Sequence[Sequence[float]] | None,
    namespace: Namespace,
) -> list[Draft]:
    """Memories of documents.

    Raises:
        ValueError: texts, metadatas and ids are not as many.
    """
    for name, values in (("metadatas", metadatas), ("ids", ids)):
        if values is not None and len(values) != len(texts):
            raise ValueError(f"{len(texts)} texts and {len(values)} {name}: give one a text, or none at all")
    return [
        Draft(
            text=text,
            namespace=namespace,
            id=None if ids is None else ids[place],
            embedding=None if vectors is None else vectors[place],
            metadata=(metadatas[place] or {}) if metadatas is not None else {},
        )
        for place, text in enumerate(texts)
    ]


def question(text: str | None, vector: Sequence[float] | None, k: int, options: Mapping[str, Any]) -> Query:
    """A query of UMS.

    Raises:
        TypeError: an option that does not exist.
    """
    unknown = sorted(set(options) - OPTIONS)
    if unknown:
        raise TypeError(f"a search knows no option {', '.join(unknown)}; it takes {', '.join(sorted(OPTIONS))}")
    return Query(text=text, vector=vector, k=k, **{**options, "filter": document_filter(options.get("filter"))})


def document_of(memory: Memory) -> Document:
    """The document that a memory is, with its metadata and nothing more."""
    return Document(id=memory.id, page_content=memory.text, metadata=memory.metadata)


def documents_of(hits: Iterable[Hit]) -> list[Document]:
    """The documents of an answer."""
    return [document_of(hit.memory) for hit in hits]


def relevance(hit: Hit) -> float:
    """How near a hit is, in [0, 1], 1 the nearest; 0 for what was found by its words alone."""
    return 0.0 if hit.similarity is None else as_relevance(hit.similarity)


def as_relevance(cosine: float) -> float:
    """A cosine as a number in [0, 1]."""
    return (min(1.0, max(-1.0, cosine)) + 1.0) / 2.0


def search(store: MemoryStore, query: Query) -> list[Hit]:
    """The best hits."""
    return store.search(query)


def get(store: MemoryStore, ids: Sequence[str], namespace: Namespace) -> list[Document]:
    """The documents that exist, in the order of their ids."""
    held = (memory for part in parts_of(list(ids)) for memory in store.get(part, namespace=namespace))
    return [document_of(memory) for memory in held if memory is not None]


def delete(
    store: MemoryStore, ids: Sequence[str] | None, condition: Mapping[str, Any] | None, namespace: Namespace
) -> bool:
    """Delete by ids, or what meets a filter.

    Raises:
        ValueError: neither of both, or both.
    """
    if (ids is None) == (condition is None):
        raise ValueError("say what to delete: ids=[…] or filter={…}, one of both; filter={} is every document here")
    if ids is None:
        found = scan_all(store, namespace, document_filter(condition))
        # A scan takes a prefix, and what lies below is not ours.
        ids = [memory.id for memory in found if memory.namespace == namespace]
    delete_all(store, list(ids), namespace)
    return True


def diverse(store: MemoryStore, query: Query, k: int, lambda_mult: float) -> list[Document]:
    """The k of the hits of a query that together are near to it and far from each other, best first.

    Each step takes the hit with the highest ``lambda * near - (1 - lambda) * like``, where near is its cosine to the
    question and like its highest cosine to a hit that was taken. A hit that only its words brought has no such cosine,
    and is left out.

    Raises:
        ValueError: the query compares words alone.

    Source: Carbonell and Goldstein, SIGIR 1998.
    """
    if query.mode == "keyword":
        raise ValueError("mmr weighs vectors, and mode='keyword' compares none: ask in mode='vector' or 'hybrid'")
    hits, rows = _with_vectors(store, [hit for hit in store.search(query) if hit.similarity is not None])
    near = np.array([hit.similarity for hit in hits])
    like = np.full(len(hits), -np.inf)
    taken: list[int] = []
    while len(taken) < min(k, len(hits)):
        values = lambda_mult * near - (1 - lambda_mult) * like if taken else near.copy()
        values[taken] = -np.inf
        best = int(values.argmax())
        taken.append(best)
        like = np.maximum(like, rows @ rows[best])
    return [document_of(hits[place].memory) for place in taken]


def _with_vectors(store: MemoryStore, hits: Sequence[Hit]) -> tuple[list[Hit], npt.NDArray[np.float64]]:
    """The hits that are still there, and the vectors by which they were found, shape (n, d)."""
    held: dict[tuple[Namespace, str], Memory] = {}
    for namespace in {hit.memory.namespace for hit in hits}:
        ids = [hit.memory.id for hit in hits if hit.memory.namespace == namespace]
        found = store.get(ids, namespace=namespace, vectors=True)
        held |= {(namespace, memory.id): memory for memory in found if memory is not None}
    pieces = [held.get((hit.memory.namespace, hit.memory.id), hit.memory).passages for hit in hits]
    rows = [
        each[hit.passage].vector if hit.passage < len(each) else None for hit, each in zip(hits, pieces, strict=True)
    ]
    there = [place for place, row in enumerate(rows) if row is not None]
    return [hits[place] for place in there], np.array([rows[place] for place in there], np.float64)
