"""How fast memories fade, in numbers; ``ums_core.ranking.decay`` has the formulas."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Curve", "Dynamics"]

Curve = Literal["exponential", "logarithmic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dynamics:
    """How fast a memory fades and what slows it; ``settings.dynamics.of()`` makes one of the settings.

    Attributes:
        decay_days: the time constant of a memory that was never used, in days; greater than 0.
        curve: ``exponential`` is exp(-age / T); ``logarithmic`` is 1 / (1 + ln(1 + age / T)), which falls as fast at
            first and has a long tail.
        importance: weight, at least 0.
        emotional_intensity: weight, at least 0.
        valence: weight, at least 0; what was unpleasant counts against a memory.
        growth: share of ``decay_days`` by which each spaced use lengthens the time constant; at least 0.
        most: the longest time constant, in times of ``decay_days``; at least 1.
        spacing_hours: a use that comes sooner after the one before refreshes, but does not strengthen; at least 0.
    """

    decay_days: float = 30.0
    curve: Curve = "exponential"
    importance: float = 0.4
    emotional_intensity: float = 0.3
    valence: float = 0.3
    growth: float = 0.5
    most: float = 6.0
    spacing_hours: float = 1.0
