"""How memories fade."""

from pydantic import Field

from ums_core.settings.section import Section

__all__ = ["DecayWeights", "DynamicsSettings"]


class DecayWeights(Section):
    """How much each quality of a memory counts against its fading; 0 leaves it out."""

    importance: float = Field(
        default=0.4, ge=0, description="Weight of a memory's importance in decay; finite, at least 0."
    )
    emotional_intensity: float = Field(
        default=0.3, ge=0, description="Weight of a memory's emotional intensity in decay; finite, at least 0."
    )
    valence: float = Field(default=0.3, ge=0, description="Weight of a memory's valence in decay; finite, at least 0.")


class DynamicsSettings(Section):
    """The time scale of fading and what slows it."""

    decay_rate: float = Field(
        default=30.0,
        gt=0,
        description="Days over which a memory that is not used fades; greater than 0. "
        "Kept for forgetting, without effect on search.",
    )
    decay_weights: DecayWeights = Field(default_factory=DecayWeights)
