"""The service over HTTP: where it listens, and how much it takes on."""

from typing import Self

from pydantic import Field, model_validator

from ums_core.errors import SettingsError
from ums_core.settings.section import Section

__all__ = ["ServiceSettings"]


class ServiceSettings(Section):
    """Address, limits and rates of the service."""

    host: str = Field(default="127.0.0.1", min_length=1, description="Address to listen on; 0.0.0.0 is every one.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    tls_certificate: str = Field(default="", description="File of the certificate chain in PEM; empty is plain HTTP.")
    tls_key: str = Field(default="", description="File of the certificate's private key in PEM.")
    behind_tls: bool = Field(
        default=False, description="Whether a proxy in front ends TLS, so that plain HTTP from it is meant."
    )
    workers: int = Field(default=1, ge=1, description="Number of server processes on the one database; at least 1.")
    max_body_bytes: int = Field(
        default=8_388_608, ge=1024, description="Bytes of a request's body, and of a streamed message, at most."
    )
    max_batch: int = Field(default=1000, ge=1, description="Drafts, patches, ids or keys in one request, at most.")
    max_k: int = Field(default=1000, ge=1, description="Hits of a search and memories of a page, at most.")
    max_filter_depth: int = Field(default=16, ge=0, le=64, description="Groups within groups of a filter, at most.")
    max_filter_size: int = Field(default=256, ge=1, description="Conditions and groups of a filter, at most.")
    time_budget: float = Field(
        default=30.0, gt=0, description="Seconds after which a request is answered with 503; greater than 0."
    )
    max_in_flight: int = Field(
        default=64, ge=1, description="Requests under way in one process; more are answered with 503 at once."
    )
    max_streams: int = Field(default=64, ge=1, description="Open streams in one process; more are answered with 503.")
    max_open_tenants: int = Field(
        default=64,
        ge=1,
        description="Tenants whose databases one process keeps open; the longest unused one is closed.",
    )
    rate_limit: str = Field(
        default="6000/minute",
        pattern=r"^[1-9][0-9]*/([1-9][0-9]* ?)?(second|minute|hour|day)$",
        description="Calls of one token, such as 6000/minute or 100/second; a batch counts one for each ten items.",
    )
    auth_failure_limit: str = Field(
        default="30/minute",
        pattern=r"^[1-9][0-9]*/([1-9][0-9]* ?)?(second|minute|hour|day)$",
        description="Failed authentications from one network; more are answered with 429.",
    )
    rate_storage: str = Field(
        default="",
        repr=False,
        description="Where several workers share their counts: redis://host:port/0; empty is each for itself.",
    )

    @model_validator(mode="after")
    def _certificate_and_key(self) -> Self:
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise SettingsError("tls_certificate and tls_key belong together; give both or neither")
        return self
