"""A service to test against: real HTTP on this machine, in this process, for a ``with`` block.

::

    with serving() as service:
        remote = RemoteStore(service.url, service.token("acme"))
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

from ums_core.channels.remote import RemoteStore
from ums_core.service.run import running
from ums_core.service.tokens import SCOPES, Tenant, Tokens, tokens_path
from ums_core.settings import UnifiedSettings

__all__ = ["Served", "roomy", "serving"]


@dataclass(frozen=True)
class Served:
    """A service that answers.

    Attributes:
        url: its address, on a free port of this machine.
        tokens: its registry.
    """

    url: str
    tokens: Tokens
    _number: "count[int]"

    def token(self, tenant: str, scopes: Iterable[str] = SCOPES) -> str:
        """A new token of a tenant, which has a database of its own."""
        return self.tokens.create(Tenant(tenant), scopes, env="test")

    def store(self, tenant: str | None = None) -> RemoteStore:
        """A store of a tenant, by its own token; None is a tenant that nobody had before. Close it."""
        return RemoteStore(self.url, self.token(tenant or f"tenant-{next(self._number)}"))


def roomy(**groups: object) -> UnifiedSettings:
    """Settings for testing, of a service that limits nothing: a suite asks for more than a service would give."""
    limits = {
        "max_k": 2**70,
        "max_batch": 100_000,
        "max_filter_depth": 64,
        "max_filter_size": 100_000,
        "max_in_flight": 256,
        "rate_limit": "1000000000/second",
        "auth_failure_limit": "1000000000/second",
    }
    own = {"service": limits, "perf": {"max_workers": 8}, "privacy_mode": "standard"}
    return UnifiedSettings.for_testing(**(own | groups))


@contextmanager
def serving(settings: UnifiedSettings | None = None) -> Iterator[Served]:
    """A service for a ``with`` block.

    Args:
        settings: of the service; None is :func:`roomy`.
    """
    settings = settings or roomy()
    with running(settings) as url:
        yield Served(url, Tokens(tokens_path(settings.database.path)), count())
