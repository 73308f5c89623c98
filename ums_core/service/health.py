"""How the service is, for whoever restarts it or sends it traffic; nothing of a tenant is told."""

import asyncio
import time

from starlette.responses import JSONResponse

from ums_core.errors import UMSError
from ums_core.records import Health
from ums_core.service.tenants import Tenants

__all__ = ["Checkup"]

_OK, _UNAVAILABLE = 200, 503
_KEPT_S = 1.0


class Checkup:
    """Looks after the open stores, at most once a second."""

    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants
        self._lock = asyncio.Lock()
        self._at = -_KEPT_S
        self._found: list[Health] = []
        self._broken: list[str] = []
        self.stopping = False
        self.waiting_for: str | None = None

    async def stores(self) -> list[Health]:
        """How each open store is."""
        async with self._lock:
            if time.monotonic() - self._at > _KEPT_S:
                told = await asyncio.gather(
                    *(door.health() for door in self._tenants.open_doors()), return_exceptions=True
                )
                self._found = [health for health in told if isinstance(health, Health)]
                failed = [error for error in told if isinstance(error, BaseException)]
                self._broken = [error.code if isinstance(error, UMSError) else UMSError.code for error in failed]
                self._at = time.monotonic()
            return self._found

    async def ready(self) -> JSONResponse:
        """200 where everything is well, else 503 with the reasons; reads may go on all the same."""
        stores = await self.stores()
        reasons = {health.status for health in stores} - {"ok"} | set(self._broken)
        if self.stopping:
            reasons.add("stopping")
        if self.waiting_for is not None:
            reasons.add(self.waiting_for)
        if not reasons:
            return JSONResponse({"status": "ok"})
        return JSONResponse({"status": "unavailable", "reasons": sorted(reasons)}, _UNAVAILABLE, {"Retry-After": "1"})

    @staticmethod
    def live() -> JSONResponse:
        """200 as long as the process answers at all."""
        return JSONResponse({"status": "ok"})
