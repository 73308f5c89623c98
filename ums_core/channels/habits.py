"""What a local store does without being told each time: the settings behind its verbs, as values."""

from collections.abc import Callable
from dataclasses import dataclass, field

from ums_core.ports import Embedder
from ums_core.records.dynamics import Dynamics
from ums_core.settings import MaintenanceSettings, UnifiedSettings

__all__ = ["Habits", "habits_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How a store behaves.

    Attributes:
        embedders: an embedder by its name in the settings.
        dynamics: how fast memories fade.
        strategy: how memories are summarised.
        summary_max_chars: of a summary, at most.
        summary_timeout_s: seconds for one summary of a caller's strategy.
        undo_days: how long what was forgotten may come back.
        maintenance: what is done when the store is maintained.
    """

    embedders: Callable[[str], Embedder | None]
    dynamics: Dynamics = field(default_factory=Dynamics)
    strategy: str = "head2tail"
    summary_max_chars: int = 1000
    summary_timeout_s: float = 60.0
    undo_days: float = 30.0
    maintenance: MaintenanceSettings = field(default_factory=MaintenanceSettings)


def habits_of(settings: UnifiedSettings, embedders: Callable[[str], Embedder | None]) -> Habits:
    """The habits that settings ask for."""
    return Habits(
        embedders=embedders,
        dynamics=settings.dynamics.of(),
        strategy=settings.summary_strategy,
        summary_max_chars=settings.summary_max_chars,
        summary_timeout_s=settings.summary_timeout,
        undo_days=settings.lifetime.undo_days,
        maintenance=settings.maintenance,
    )
