"""How much of the machine may be used."""

from pydantic import Field

from ums_core.settings.section import Section

__all__ = ["PerfSettings"]


class PerfSettings(Section):
    """Threads."""

    max_workers: int = Field(default=4, ge=1, description="Number of threads for blocking work; at least 1.")
