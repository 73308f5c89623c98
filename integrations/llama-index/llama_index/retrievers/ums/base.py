"""Memories as nodes."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Literal
from urllib.parse import quote

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index_ums.filters import Condition, wished
from llama_index_ums.link import Link, Store
from llama_index_ums.nodes import node_of

from ums_core import Hit, Query

__all__ = ["UMSRetriever"]

_ORIGIN = "ums"
# What a caller names in a word of its own, gives with the question, or would not see in a node.
_ELSEWHERE = {"k", "namespace", "filter", "mode", "channel", "use_cross_encoder", "text", "vector", "explain"}
_OPTIONS = frozenset(entry.name for entry in fields(Query)) - _ELSEWHERE


class UMSRetriever(BaseRetriever):
    """The memories that answer a question as nodes, best first; a higher score is better.

    A node's ``text`` is the memory's text, or its caption where it has none; with the option ``context``, the turns
    before and after it in the conversation stand around it, one a line. Its ``metadata`` is the memory's own, and under
    the reserved key ``ums``, which no prompt and no embedding sees, where it comes from: ``id``, ``namespace``,
    ``role``, ``speaker``, ``caption``, ``session``, ``occurred_at`` and ``created_at`` in ISO 8601, and ``tags``. One
    memory is the same node in every answer, so that fusion can count it once. What ``UMSVectorStore`` added comes back
    as the node it was.

    LlamaIndex drops nodes whose id it has seen, while the id of a memory is its own only within its namespace. So
    ``node_id`` is the namespace and the id, percent-encoded and joined by ``/``: ``users/u1%40example.org/7f3a``.

    The store embeds the question itself. An ``embedding`` in the ``QueryBundle`` is not used: a vector index that
    shares the bundle leaves its own there, of another model. Cheap to make: give each user one, on one store. One
    object serves any number of threads and event loops. It does not close the store.

    Args:
        store: what ``open_store`` or ``open_channel`` returned, or an ``EnhancedMemoryStore``; None opens the
            environment's.
        k: how many nodes at most, from 1. LlamaIndex's own default is 2, for chunks of documents; memories are shorter.
        namespace: a prefix, matched label by label; ``()`` searches everything.
        filter: a ``Filter``, a dict such as ``{"role": "user", "importance": {"$gte": 0.5}}``, or LlamaIndex's
            ``MetadataFilters``.
        mode: ``hybrid`` fuses vectors and keywords; ``vector`` and ``keyword`` use one alone.
        channel: whom a dual store asks: ``personal`` never leaves the device, ``global`` or ``both`` do.
        rerank: whether the store's cross-encoder reorders the best hits; None leaves it to the setting.
        options: any further option of ``ums_core.Query``, by its name, such as ``{"context": 2, "max_tokens": 2000}``.

    Raises:
        InvalidInput: an option cannot be used.
        TypeError: store is something else, or an option does not exist.
    """

    def __init__(  # noqa: PLR0913  # the options of a query, by their names
        self,
        store: Store | None = None,
        k: int = 10,
        namespace: tuple[str, ...] = (),
        filter: Condition = None,  # noqa: A002  # the field's standard term
        mode: Literal["hybrid", "vector", "keyword"] = "hybrid",
        *,
        channel: Literal["personal", "global", "both"] = "personal",
        rerank: bool | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        unknown = sorted(set(options or ()) - _OPTIONS)
        if unknown:
            known = ", ".join(sorted(_OPTIONS))
            raise TypeError(f"UMSRetriever knows no option {', '.join(unknown)}; options are {known}")
        self._link = Link(store)
        self._query = Query(
            text="?",
            k=k,
            namespace=namespace,
            filter=wished(filter),
            mode=mode,
            channel=channel,
            use_cross_encoder=rerank,
            **(options or {}),
        )

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [_node(hit) for hit in self._link.sync.search(self._asked(query_bundle))]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [_node(hit) for hit in await self._link.door.search(self._asked(query_bundle))]

    def _asked(self, bundle: QueryBundle) -> Query:
        return replace(self._query, text=bundle.query_str)


def _node(hit: Hit) -> NodeWithScore:
    memory = hit.memory
    kept = node_of(memory)
    if kept is not None:
        return NodeWithScore(node=kept, score=hit.score)
    # No score in here: it changes from question to question, and fusion tells nodes apart by text and metadata.
    origin = {
        "id": memory.id,
        "namespace": list(memory.namespace),
        "role": memory.role,
        "speaker": memory.speaker,
        "caption": memory.caption,
        "session": memory.session,
        "occurred_at": None if memory.occurred_at is None else memory.occurred_at.isoformat(),
        "created_at": memory.created_at.isoformat(),
        "tags": list(memory.tags),
    }
    node = TextNode(
        id_="/".join(quote(label, safe="") for label in (*memory.namespace, memory.id)),
        text="\n".join(turn.text or turn.caption or "" for turn in (*hit.before, memory, *hit.after)),
        metadata={**memory.metadata, _ORIGIN: origin},
        excluded_llm_metadata_keys=[_ORIGIN],
        excluded_embed_metadata_keys=[_ORIGIN],
    )
    return NodeWithScore(node=node, score=hit.score)
