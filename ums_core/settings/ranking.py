"""How hits are ordered."""

from pydantic import Field

from ums_core.settings.section import Section

__all__ = ["RankingSettings"]


class RankingSettings(Section):
    """Reranking."""

    use_cross_encoder: bool = Field(
        default=False,
        description="Whether a cross-encoder reorders the best hits; this version has none and says so in the log.",
    )
