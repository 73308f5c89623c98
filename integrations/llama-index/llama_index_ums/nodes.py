"""Nodes as memories, and back without a loss."""

import json
from collections.abc import Mapping
from typing import Any

from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageDocument,
    ImageNode,
    IndexNode,
    MetadataMode,
    Node,
    TextNode,
)

from ums_core import Draft, Memory, Passage

__all__ = ["CONTENT", "SOURCE", "draft_of", "node_of"]

CONTENT, KIND, SOURCE = "_node_content", "_node_type", "ref_doc_id"
# The keys that LlamaIndex itself adds to what a store filters by; "None" stands for no document.
_ADDED = (CONTENT, KIND, "document_id", "doc_id", SOURCE)
_KINDS: Mapping[str, type[BaseNode]] = {
    kind.class_name(): kind for kind in (Document, ImageDocument, ImageNode, IndexNode, Node, TextNode)
}
# Values that are JSON as they stand; others are written as LlamaIndex writes them.
_PLAIN = frozenset({str, int, bool, type(None)})
_APART = {"embedding", "text", "metadata"}


def draft_of(node: BaseNode, namespace: tuple[str, ...], *, embedded: bool) -> Draft:
    """The memory that keeps a node whole: its id, text, metadata, relationships, excluded keys and templates.

    Args:
        node: of any class; one that is not LlamaIndex's own comes back as a ``TextNode``.
        namespace: where it is kept.
        embedded: whether the node's own embedding counts; without one, or if not, the store embeds what the node
            shows to an embedder.

    Raises:
        InvalidInput: the text or the metadata holds what UTF-8 or JSON cannot.
    """
    metadata = node.metadata
    apart = _APART if isinstance(node, TextNode) else _APART - {"text"}
    if not metadata.keys().isdisjoint(_ADDED):
        apart = apart - {"metadata"}
    try:
        # Straight to text: a dict in between would cost as much again.
        content = node.model_dump_json(exclude=apart)
    except ValueError:
        # A lone surrogate: the core says where.
        content = json.dumps(node.model_dump(mode="json", exclude=apart), ensure_ascii=False)
    if not all(type(value) in _PLAIN for value in metadata.values()):
        metadata = node.model_dump(mode="json", include={"metadata"})["metadata"]
    text = node.get_content(metadata_mode=MetadataMode.NONE)
    source = node.ref_doc_id or "None"
    kept = {CONTENT: content, KIND: node.class_name(), "document_id": source, "doc_id": source, SOURCE: source}
    vector = node.embedding if embedded else None
    shown = text if vector is not None else node.get_content(metadata_mode=MetadataMode.EMBED)
    return Draft(
        id=node.node_id,
        namespace=namespace,
        text=text,
        metadata={**metadata, **kept},
        embedding=vector,
        passages=() if shown == text else (Passage(text=shown),),
    )


def node_of(memory: Memory) -> BaseNode | None:
    """The node that a memory keeps, without its embedding; None where it keeps none."""
    raw = memory.metadata.get(CONTENT)
    if not isinstance(raw, str):
        return None
    content: dict[str, Any] = json.loads(raw)
    content.setdefault("metadata", {key: value for key, value in memory.metadata.items() if key not in _ADDED})
    content.setdefault("text", memory.text)
    return _KINDS.get(str(memory.metadata.get(KIND)), TextNode).from_dict(content)
