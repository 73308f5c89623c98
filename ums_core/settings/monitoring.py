"""What may be watched from outside."""

from pydantic import Field

from ums_core.settings.section import Section

__all__ = ["MonitoringSettings"]


class MonitoringSettings(Section):
    """Metrics."""

    enable_metrics: bool = Field(
        default=False,
        description="Whether a service exports metrics; kept for it, without effect on a store inside a program.",
    )
