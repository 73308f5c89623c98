"""Maintenance that a service does by itself: every tenant's store, one after the other, now and then."""

import asyncio
import logging
from time import perf_counter

from ums_core.errors import MaintenanceRunning, UMSError
from ums_core.records.actor import acting_as
from ums_core.service.metrics import Watch
from ums_core.service.tenants import Tenants
from ums_core.service.tokens import DEFAULT_TENANT, Tenant, Tokens

__all__ = ["Scheduler"]

_log = logging.getLogger("ums_core.service")


class Scheduler:
    """Maintains the stores of all tenants that have a token, and the service's own.

    Of several processes, one maintains a store at a time; the others pass it by.

    Args:
        tenants: whose stores.
        tokens: which tenants there are.
        watch: who counts.
        interval_s: from the end of a round to the next one.
    """

    def __init__(self, tenants: Tenants, tokens: Tokens, watch: Watch, interval_s: float) -> None:
        self._tenants = tenants
        self._tokens = tokens
        self._watch = watch
        self._interval_s = interval_s
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Go round until told to stop."""
        while not self._stopping.is_set():
            try:
                await asyncio.wait_for(self._stopping.wait(), self._interval_s)
            except TimeoutError:
                await self.round()

    async def round(self) -> None:
        """Maintain each store once; one that fails does not keep the others waiting."""
        for name in sorted({token.tenant for token in self._tokens.all()} | {DEFAULT_TENANT}):
            if self._stopping.is_set():
                break
            await self._maintain(Tenant(name))

    def stop(self) -> None:
        """Let the step under way be the last one."""
        self._stopping.set()

    async def _maintain(self, tenant: Tenant) -> None:
        started = perf_counter()
        outcome = "failed"
        try:
            async with self._tenants.store(tenant) as store:
                with acting_as("scheduler"):
                    done = await store.maintain(cancel=self._stopping.is_set)
            outcome = "done" if done.complete else "stopped"
            self._watch.maintained(done)
        except MaintenanceRunning:
            outcome = "elsewhere"
        except UMSError as error:
            self._watch.error(error.code)
            _log.warning("maintenance failed: %s", error.code)
        self._watch.maintenance(outcome, perf_counter() - started)
