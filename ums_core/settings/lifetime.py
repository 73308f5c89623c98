"""How long memories stay."""

from pydantic import Field

from ums_core.settings.section import Section

__all__ = ["LifetimeSettings"]


class LifetimeSettings(Section):
    """How long what was forgotten may come back."""

    undo_days: float = Field(
        default=30.0,
        ge=0,
        le=36525,
        description="Days in which what was forgotten can be brought back by undo; 0 is not at all.",
    )
