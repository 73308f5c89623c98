"""What may be watched from outside."""

from typing import Literal

from pydantic import Field

from ums_core.settings.section import Section

__all__ = ["MonitoringSettings"]


class MonitoringSettings(Section):
    """Metrics and logs of a service."""

    enable_metrics: bool = Field(
        default=False,
        description="Whether a service exports metrics at /metrics; without effect on a store inside a program.",
    )
    telemetry_level: Literal["aggregate", "none"] = Field(
        default="aggregate",
        description="aggregate: counters and timings without names or contents, where the operator asks for them; "
        "none: nothing is counted at all.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="From which level on a service writes log lines, JSON on stderr."
    )
