"""What maintenance does, and how often a service does it by itself."""

from pydantic import Field

from ums_core.records.maintenance import STEPS, Step
from ums_core.settings.section import Section

__all__ = ["MaintenanceSettings"]


class MaintenanceSettings(Section):
    """Steps of maintenance, and their numbers."""

    interval: float = Field(
        default=0.0,
        ge=0,
        description="Seconds between two runs of maintenance that a service starts by itself; 0 is none.",
    )
    steps: list[Step] = Field(
        default=[*STEPS],
        description="What a run does, in this order: sweep what has expired, consolidate, forget, purge what can no "
        "longer be brought back, prune the history, let answers to idempotency keys lapse.",
    )
    threshold: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="Cosine of memories that are consolidated, at least; greater than 0, at most 1.",
    )
    retain_fraction: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Share of the memories of each namespace that forgetting leaves; 1 forgets nothing.",
    )
    min_total: int = Field(default=1000, ge=0, description="Memories that forgetting leaves in any case; at least 0.")
    lease: float = Field(
        default=60.0,
        gt=0,
        le=86_400,
        description="Seconds after which maintenance that was killed may be taken over by another process; "
        "greater than 0, at most a day.",
    )
