"""How often a token may call: a moving window, shared through Redis where several workers serve."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from limits import RateLimitItem, parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError
from redis.asyncio import ConnectionPool

from ums_core.errors import RateLimited
from ums_core.service.window import Windows
from ums_core.settings import ServiceSettings

__all__ = ["Allowance", "Rates"]

_log = logging.getLogger("ums_core.service")
_TIMEOUT_S = 1.0
# A provider hands a household an IPv6 network of this size.
_NETWORK_BITS = {4: 32, 6: 64}


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a limit.

    Attributes:
        limit: units in a window.
        remaining: units that are left now.
        reset_s: seconds until the oldest unit comes back.
    """

    limit: int
    remaining: int
    reset_s: int

    def fields(self) -> list[tuple[bytes, bytes]]:
        """The header fields that tell it."""
        return [
            (b"ratelimit-limit", b"%d" % self.limit),
            (b"ratelimit-remaining", b"%d" % self.remaining),
            (b"ratelimit-reset", b"%d" % self.reset_s),
        ]


class Rates:
    """Two limits: of calls by token, and of failed authentications by network.

    Where the shared storage does not answer, this process counts for itself, with its share of the limit.

    Args:
        settings: the limits, and where they are counted.
        on_fallback: called each time that the shared storage did not answer.
    """

    def __init__(self, settings: ServiceSettings, on_fallback: Callable[[], None]) -> None:
        self._calls = parse(settings.rate_limit)
        self._failures = parse(settings.auth_failure_limit)
        self._on_fallback = on_fallback
        self._own = Windows()
        self._shared: MovingWindowRateLimiter | None = None
        self._connections: ConnectionPool | None = None
        url = settings.rate_storage
        if url:
            self._connections = ConnectionPool.from_url(
                url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S
            )
            storage = RedisStorage(
                f"async+{url}",
                connection_pool=self._connections,  # type: ignore[arg-type]  # documented, and narrower in the annotation
                implementation="redispy",
                wrap_exceptions=True,
            )
            self._shared = MovingWindowRateLimiter(storage)
        self._workers = settings.workers if self._shared is not None else 1

    async def close(self) -> None:
        """Let go of the connections to the shared storage."""
        if self._connections is not None:
            await self._connections.aclose()

    async def spend(self, key_id: str, cost: int) -> Allowance:
        """Take units from a token's limit.

        Raises:
            RateLimited: there are not so many left; none was taken.
        """
        return await self._hit(self._calls, f"call/{key_id}", cost)

    async def failed(self, client: str) -> None:
        """Count a failed authentication.

        Raises:
            RateLimited: there were too many from this network.
        """
        await self._hit(self._failures, f"fail/{_network(client)}", 1)

    async def _hit(self, item: RateLimitItem, who: str, cost: int) -> Allowance:
        if self._shared is not None:
            try:
                return _told(item, *await _take(self._shared, item, who, _within(item, cost)))
            except StorageError:
                self._on_fallback()
                _log.warning("rate storage unavailable", extra={"code": "rate_storage"})
                item = type(item)(max(1, item.amount // self._workers), item.multiples)
        return _told(item, *self._own.take(who, _within(item, cost), most=item.amount, span_s=item.get_expiry()))


def _within(item: RateLimitItem, cost: int) -> int:
    # More than a whole window would never be let through.
    return min(cost, item.amount)


async def _take(limiter: MovingWindowRateLimiter, item: RateLimitItem, who: str, cost: int) -> tuple[bool, int, int]:
    taken = await limiter.hit(item, who, cost=cost)
    reset_at, remaining = await limiter.get_window_stats(item, who)
    return taken, remaining, max(1, math.ceil(reset_at - time.time()))


def _told(item: RateLimitItem, taken: bool, remaining: int, reset_s: int) -> Allowance:  # noqa: FBT001  # from a tuple
    if not taken:
        raise RateLimited(f"more than {item}; wait {reset_s} s", retry_after_s=reset_s)
    return Allowance(item.amount, remaining, reset_s)


def _network(client: str) -> str:
    try:
        address = ip_address(client)
    except ValueError:
        return "unknown"
    return str(ip_network(f"{client}/{_NETWORK_BITS[address.version]}", strict=False))
