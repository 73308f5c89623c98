"""The service that others share, and how it is reached."""

from pydantic import Field

from ums_core.settings.section import Section

__all__ = ["RemoteSettings"]


class RemoteSettings(Section):
    """Address, token and deadlines of the global channel."""

    url: str = Field(
        default="",
        description="Address of the service, such as https://memory.example.org; http:// only to this machine.",
    )
    token: str = Field(
        default="",
        repr=False,
        description="What ums tokens create printed; it is sent to that address and nowhere else.",
    )
    timeout: float = Field(default=10.0, gt=0, description="Seconds for one attempt of a call; greater than 0.")
    attempts: int = Field(
        default=3, ge=1, description="How often a call is tried that cannot write twice; at least 1, which is once."
    )
    budget: float = Field(
        default=2.0,
        gt=0,
        description="Seconds that a question to both channels waits for the global one; greater than 0.",
    )
    ca_file: str = Field(
        default="", description="File of certificates to trust in place of the common ones; empty is the common ones."
    )
    allow_insecure_transport: bool = Field(
        default=False, description="Whether http:// may go beyond this machine, on a network that you trust."
    )
