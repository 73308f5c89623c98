"""What may be watched from outside."""

from pydantic import Field

from ums_core.settings.section import Section

__all__ = ["MonitoringSettings"]


class MonitoringSettings(Section):
    """Metrics."""

    enable_metrics: bool = Field(
        default=False,
        description="Whether the HTTP service exports metrics; a store inside a program exports none, "
        "and its health() says how it is either way.",
    )
