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
# Made once: json.dumps would make an encoder a call.
_ENCODED = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


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
    content: dict[str, Any] = node.model_dump(mode="json", exclude={"embedding"})
    metadata: dict[str, Any] = content["metadata"]
    text = node.get_content(metadata_mode=MetadataMode.NONE)
    if isinstance(node, TextNode):
        content.pop("text", None)
    if metadata.keys().isdisjoint(_ADDED):
        content.pop("metadata", None)
    source = node.ref_doc_id or "None"
    kept = {CONTENT: _ENCODED(content), KIND: node.class_name()}
    kept |= dict.fromkeys(("document_id", "doc_id", SOURCE), source)
    draft: dict[str, Any] = {"id": node.node_id, "namespace": namespace, "text": text, "metadata": {**metadata, **kept}}
    if embedded and node.embedding is not None:
        return Draft(**draft, embedding=node.embedding)
    shown = node.get_content(metadata_mode=MetadataMode.EMBED)
    return Draft(**draft, passages=() if shown == text else (Passage(text=shown),))


def node_of(memory: Memory) -> BaseNode | None:
    """The node that a memory keeps, without its embedding; None where it keeps none."""
    raw = memory.metadata.get(CONTENT)
    if not isinstance(raw, str):
        return None
    content: dict[str, Any] = json.loads(raw)
    content.setdefault("metadata", {key: value for key, value in memory.metadata.items() if key not in _ADDED})
    content.setdefault("text", memory.text)
    return _KINDS.get(str(memory.metadata.get(KIND)), TextNode).from_dict(content)
