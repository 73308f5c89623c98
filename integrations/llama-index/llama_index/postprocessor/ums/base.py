"""A second look at nodes, by a model that reads question and text together."""

from typing import Any

from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

from ums_core import Reranker, SentenceTransformerReranker

__all__ = ["UMSRerank"]


class UMSRerank(BaseNodePostprocessor):
    """The nodes in the order of a cross-encoder, at most ``top_n``, each with its score.

    Nodes of any retriever; they are not changed, but given back anew. Where the time does not suffice, the nodes keep
    their order and scores, and are only cut. The awaitable face runs in a thread.

    Args:
        reranker: the core's, or your own; None makes one of ``model``, whose weights are loaded at the first use.
        model: a folder, or a name on the Hugging Face hub.
        top_n: how many nodes at most, from 1.
        keep_retrieval_score: whether the metadata of each node tells its former score, as ``retrieval_score``.
        timeout_s: seconds that the reading may take; loading the weights does not count.

    Raises:
        ValueError: neither a reranker nor a model is given, or later a question.
        TypeError: reranker is something else.
        MissingExtra: at the first use of a model, if ``sentence-transformers`` is not installed.
    """

    model: str = ""
    top_n: int = Field(default=5, ge=1)
    keep_retrieval_score: bool = False
    timeout_s: float = Field(default=10.0, gt=0)
    _reranker: Reranker = PrivateAttr()

    def __init__(self, reranker: Reranker | None = None, **fields: Any) -> None:  # noqa: ANN401  # pydantic checks them
        super().__init__(**fields)
        if reranker is not None and not isinstance(reranker, Reranker):
            raise TypeError(f"reranker must have the method scores of ums_core.Reranker, got {type(reranker).__name__}")
        if reranker is None and not self.model:
            raise ValueError("give a reranker, or model= as the folder or name of a cross-encoder")
        self._reranker = reranker or SentenceTransformerReranker(self.model)

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex files it under."""
        return "UMSRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise ValueError("a reranker needs the question: postprocess_nodes(nodes, query_str=…)")
        if not nodes:
            return []
        texts = [node.node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes]
        scores = self._reranker.scores(query_bundle.query_str, texts, budget_s=self.timeout_s)
        if scores is None:
            return nodes[: self.top_n]
        best = sorted(zip(nodes, scores.tolist(), strict=True), key=lambda pair: -pair[1])
        return [self._scored(node, score) for node, score in best[: self.top_n]]

    def _scored(self, node: NodeWithScore, score: float) -> NodeWithScore:
        if not self.keep_retrieval_score:
            return NodeWithScore(node=node.node, score=score)
        copy = node.node.model_copy(update={"metadata": {**node.node.metadata, "retrieval_score": node.score}})
        return NodeWithScore(node=copy, score=score)
