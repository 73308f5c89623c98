"""How hits are ordered."""

from collections.abc import Mapping
from urllib.parse import unquote

from pydantic import Field

from ums_core.records import Namespace
from ums_core.records.query import Kind
from ums_core.settings.section import Section

__all__ = ["RankingSettings"]


class RankingSettings(Section):
    """What memories are, and reranking."""

    kinds: dict[str, Kind] = Field(
        default_factory=dict,
        description="What the memories under a namespace are, dialogue, assistant or notes, by its labels with / "
        "between them (%2F in a label); the longest prefix counts, and without one it is inferred.",
    )
    use_cross_encoder: bool = Field(
        default=False,
        description="Whether a cross-encoder reorders the best hits, where the query does not say so itself.",
    )
    cross_encoder: str = Field(
        default="cross-encoder/ms-marco-MiniLM-L6-v2",
        min_length=1,
        description="Which cross-encoder: a folder, or a name on the Hugging Face hub.",
    )
    cross_encoder_top_n: int = Field(
        default=20, ge=1, description="How many of the best hits the cross-encoder reorders; at least 1."
    )
    cross_encoder_budget_s: float = Field(
        default=1.0,
        gt=0,
        description="Seconds of a search for the cross-encoder, its loading not counted; after them the hits keep "
        "their order. Greater than 0.",
    )

    @property
    def kind_of(self) -> Mapping[Namespace, Kind]:
        """``kinds`` by the labels of the namespace."""
        return {tuple(unquote(label) for label in path.split("/") if label): kind for path, kind in self.kinds.items()}
