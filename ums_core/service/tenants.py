"""The stores of the tenants: one database each, opened when its tenant first calls."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from urllib.parse import quote

from ums_core.aio import EnhancedMemoryStore
from ums_core.channels.local import LocalStore
from ums_core.service.tokens import DEFAULT_TENANT, Tenant
from ums_core.settings import UnifiedSettings

__all__ = ["Tenants", "settings_of"]


def settings_of(settings: UnifiedSettings, tenant: Tenant) -> UnifiedSettings:
    """The settings of a tenant's store: those of the service, with a database of its own beside the service's."""
    if tenant.name == DEFAULT_TENANT:
        return settings
    path = settings.database.path
    own = path.with_name(f"{path.name}.tenants") / tenant.name / path.name
    scheme = settings.database.url.partition(":")[0]
    database = settings.database.model_copy(update={"url": f"{scheme}:///{quote(own.as_posix())}"})
    return settings.model_copy(update={"database": database})


@dataclass(slots=True, eq=False)
class _Held:
    opening: "asyncio.Task[_Open]"
    users: int = 0
    used_at: float = 0.0


@dataclass(frozen=True, slots=True)
class _Open:
    store: LocalStore
    door: EnhancedMemoryStore

    async def close(self) -> None:
        await self.door.close()
        await asyncio.to_thread(self.store.close)


class Tenants:
    """What gives a tenant its store, and nobody a store without a tenant.

    The longest unused store is closed when more than ``max_open_tenants`` are open; a store in use never is.

    Args:
        settings: of the service.
        open_one: opens a store; called in a thread.
    """

    def __init__(self, settings: UnifiedSettings, open_one: Callable[[UnifiedSettings], LocalStore]) -> None:
        self._settings = settings
        self._open_one = open_one
        self._held: dict[str, _Held] = {}
        self._closing: dict[str, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def store(self, tenant: Tenant) -> AsyncIterator[EnhancedMemoryStore]:
        """The tenant's store for a ``with`` block.

        Raises:
            StorageError: it cannot be opened; a subclass tells why.
        """
        held = self._held.get(tenant.name)
        if held is None:
            held = self._held[tenant.name] = _Held(asyncio.create_task(self._open(tenant)))
        held.users += 1
        try:
            # Whoever goes away leaves the others waiting for the same store alone.
            opened = await asyncio.shield(held.opening)
            yield opened.door
        finally:
            self._given_back(tenant.name, held)

    def at_hand(self, tenant: Tenant) -> tuple[EnhancedMemoryStore, Callable[[], None]] | None:
        """The tenant's store, and what gives it back; None where it is not open yet."""
        held = self._held.get(tenant.name)
        if held is None or not _is_open(held):
            return None
        held.users += 1
        return held.opening.result().door, lambda: self._given_back(tenant.name, held)

    def open_doors(self) -> list[EnhancedMemoryStore]:
        """The stores that are open now."""
        return [held.opening.result().door for held in self._held.values() if _is_open(held)]

    async def close(self) -> None:
        """Close every store."""
        held, self._held = self._held, {}
        # One that cannot be closed does not keep the others open.
        async with AsyncExitStack() as stack:
            for task in self._closing.values():
                stack.push_async_callback(asyncio.wait, [task])
            for each in held.values():
                stack.push_async_callback(_close, each)

    async def _open(self, tenant: Tenant) -> _Open:
        before = self._closing.get(tenant.name)
        if before is not None:
            await asyncio.wait([before])
        store = await asyncio.to_thread(self._opened, settings_of(self._settings, tenant))
        return _Open(store, EnhancedMemoryStore(store))

    def _opened(self, own: UnifiedSettings) -> LocalStore:
        directory = own.database.path.parent
        if own is not self._settings:
            # For nobody else on this machine, whatever the umask says.
            for part in (directory.parent, directory):
                part.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._open_one(own)

    def _given_back(self, name: str, held: _Held) -> None:
        held.users -= 1
        held.used_at = asyncio.get_running_loop().time()
        if held.opening.done() and not _is_open(held) and self._held.get(name) is held:
            # The next caller tries again.
            del self._held[name]
        too_many = len(self._held) - self._settings.service.max_open_tenants
        if too_many <= 0:
            return
        idle = [(h.used_at, n) for n, h in self._held.items() if not h.users and n != DEFAULT_TENANT and _is_open(h)]
        for _, other in sorted(idle)[:too_many]:
            task = asyncio.create_task(_close(self._held.pop(other)))
            self._closing[other] = task
            task.add_done_callback(self._closed)

    def _closed(self, task: "asyncio.Task[None]") -> None:
        self._closing = {other: closing for other, closing in self._closing.items() if closing is not task}


async def _close(held: _Held) -> None:
    await asyncio.wait([held.opening])
    if _is_open(held):
        await held.opening.result().close()


def _is_open(held: _Held) -> bool:
    return held.opening.done() and not held.opening.cancelled() and held.opening.exception() is None
