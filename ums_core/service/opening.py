"""Opens the service's own store: at its start, or as soon as the key service answers."""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress

from ums_core.aio import EnhancedMemoryStore
from ums_core.errors import KeyUnavailable, UMSError
from ums_core.service.health import Checkup
from ums_core.service.tenants import Tenants
from ums_core.service.tokens import DEFAULT_TENANT, Tenant

__all__ = ["Opening"]

_log = logging.getLogger("ums_core.service")
_LONGEST_S = 60.0


class Opening:
    """The store of the tenant ``default``, which stays open as long as the service runs.

    While the key service does not answer, the process stays up, health tells why it takes nothing, and it tries again,
    after up to twice as long each time, a minute at most.

    Args:
        tenants: what opens stores.
        checkup: tells what is waited for.
        found: called with the store once it is open.
        pause_s: before the second attempt, at most.
    """

    def __init__(
        self,
        tenants: Tenants,
        checkup: Checkup,
        found: Callable[[EnhancedMemoryStore], None],
        *,
        pause_s: float = 1.0,
    ) -> None:
        self._tenants = tenants
        self._checkup = checkup
        self._found = found
        self._pause_s = pause_s
        self._trying: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Open the store, or leave that to the background where the key service does not answer.

        Raises:
            StorageError, KeyFailure: it cannot be opened, for a reason that does not pass by itself.
        """
        try:
            await self._open()
        except KeyUnavailable as error:
            self._wait_for(error)
            self._trying = asyncio.create_task(self._again())

    async def end(self) -> None:
        """Try no more."""
        if self._trying is not None:
            self._trying.cancel()
            with suppress(asyncio.CancelledError):
                await self._trying

    async def _open(self) -> None:
        async with self._tenants.store(Tenant(DEFAULT_TENANT)) as store:
            self._found(store)
        self._checkup.waiting_for = None

    async def _again(self) -> None:
        pause_s = self._pause_s
        while True:
            # Spread, so that many processes do not ask a service at once that has only just come back.
            await asyncio.sleep(random.uniform(pause_s / 2, pause_s))  # noqa: S311  # no secret
            pause_s = min(2 * pause_s, _LONGEST_S)
            try:
                await self._open()
            except UMSError as error:
                self._wait_for(error)
            else:
                return

    def _wait_for(self, error: UMSError) -> None:
        self._checkup.waiting_for = error.code
        _log.error("the store is not open", extra={"code": error.code})
