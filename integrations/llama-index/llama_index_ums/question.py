"""LlamaIndex's vector store query as a query of the core."""

from collections.abc import Mapping
from typing import Any

from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from llama_index_ums.filters import both, named, where
from llama_index_ums.nodes import SOURCE
from ums_core import Filter, Query

__all__ = ["question_of"]

_WORDS = (VectorStoreQueryMode.SPARSE, VectorStoreQueryMode.TEXT_SEARCH)
_BOTH = (VectorStoreQueryMode.HYBRID, VectorStoreQueryMode.SEMANTIC_HYBRID)
_VECTORS = (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR)


def question_of(
    asked: VectorStoreQuery, namespace: tuple[str, ...], options: Mapping[str, Any], *, embedded: bool
) -> Query | None:
    """The question, or None where nothing can answer it: no documents, or no places.

    Raises:
        NotImplementedError: an unknown mode.
        ValueError: what the mode needs is missing or out of its range.

    Args:
        asked: as an index or a caller makes it.
        namespace: of the nodes.
        options: what comes beside it: ``mmr_threshold``, where the query has none, and ``rerank``.
        embedded: whether its own vector counts.
    """
    mode = VectorStoreQueryMode(asked.mode)
    if mode not in (*_WORDS, *_BOTH, *_VECTORS):
        known = ", ".join(each.value for each in (*_VECTORS, *_BOTH, *_WORDS))
        raise NotImplementedError(f"UMS has no query mode {mode.value!r}; its modes are {known}")
    vector = asked.query_embedding if embedded and mode not in _WORDS else None
    text = (asked.query_str or "").strip()
    if not text and (vector is None or mode in _BOTH):
        need = "query_str" if mode in (*_WORDS, *_BOTH) or not embedded else "query_embedding or query_str"
        raise ValueError(f"the query mode {mode.value!r} needs {need}, and this query has none")
    k = _places(asked, mode)
    if k < 1 or asked.doc_ids == []:
        return None
    question: dict[str, Any] = {"namespace": namespace, "k": k, "filter": _condition(asked), "vector": vector}
    if mode in _WORDS:
        return Query(**question, text=text, mode="keyword")
    if mode in _BOTH:
        reread = options.get("rerank") if mode == VectorStoreQueryMode.SEMANTIC_HYBRID else None
        return Query(**question, text=text, mode="hybrid", weights=_weights(asked, mode), use_cross_encoder=reread)
    diversity = None if mode == VectorStoreQueryMode.DEFAULT else 1.0 - _threshold(asked, options)
    return Query(**question, text=text if vector is None else None, mode="vector", diversity=diversity)


def _places(asked: VectorStoreQuery, mode: VectorStoreQueryMode) -> int:
    own = {VectorStoreQueryMode.SPARSE: asked.sparse_top_k, **dict.fromkeys(_BOTH, asked.hybrid_top_k)}.get(mode)
    return asked.similarity_top_k if own is None else own


def _condition(asked: VectorStoreQuery) -> Filter | None:
    sources = None if asked.doc_ids is None else where(SOURCE, "in", asked.doc_ids)
    # VectorStoreIndex.as_retriever() sends an empty list to every store that keeps text, and means no restriction.
    return both(sources, named(asked.node_ids or None, asked.filters))


def _threshold(asked: VectorStoreQuery, options: Mapping[str, Any]) -> float:
    given = options.get("mmr_threshold") if asked.mmr_threshold is None else asked.mmr_threshold
    threshold = 0.5 if given is None else float(given)
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"mmr_threshold must lie in [0, 1], 1 for relevance alone, got {given!r}")
    return threshold


def _weights(asked: VectorStoreQuery, mode: VectorStoreQueryMode) -> dict[str, float] | None:
    if mode == VectorStoreQueryMode.SEMANTIC_HYBRID:
        return None
    alpha = 0.5 if asked.alpha is None else asked.alpha
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha must lie in [0, 1], 0 for words alone and 1 for vectors alone, got {alpha!r}")
    return {"dense": alpha, "lexical": 1.0 - alpha}
