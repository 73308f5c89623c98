"""How memories fade."""

from typing import Literal

from pydantic import Field

from ums_core.records.dynamics import Dynamics
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
        "A search looks at it only where the query says recency.",
    )
    decay_curve: Literal["exponential", "logarithmic"] = Field(
        default="exponential", description="How it fades: exponential, or logarithmic with a long tail."
    )
    decay_weights: DecayWeights = Field(default_factory=DecayWeights)
    reinforcement: float = Field(
        default=0.5,
        ge=0,
        description="Share of decay_rate by which each spaced use slows the fading; at least 0.",
    )
    max_reinforcement: float = Field(
        default=6.0, ge=1, description="The slowest fading that use leads to, in times of decay_rate; at least 1."
    )
    spacing_hours: float = Field(
        default=1.0,
        ge=0,
        description="Hours after a use within which another one refreshes a memory, but does not strengthen it.",
    )

    def of(self) -> Dynamics:
        """The settings as the formulas take them."""
        weights = self.decay_weights
        return Dynamics(
            decay_days=self.decay_rate,
            curve=self.decay_curve,
            importance=weights.importance,
            emotional_intensity=weights.emotional_intensity,
            valence=weights.valence,
            growth=self.reinforcement,
            most=self.max_reinforcement,
            spacing_hours=self.spacing_hours,
        )
