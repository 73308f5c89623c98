"""What the awaitable door stands on: one store, opened at the first use, and threads to call it in."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from threading import Lock
from typing import Any, Self, TypeVar

from ums_core.channels.choose import open_channel
from ums_core.channels.dual import DualStore
from ums_core.channels.local import LocalStore
from ums_core.errors import NotOnThisChannel, SettingsError, StoreClosed
from ums_core.ports import MemoryStore
from ums_core.settings import PerfSettings, UnifiedSettings
from ums_core.storage import forks

__all__ = ["Door"]

T = TypeVar("T")
_CLOSED = "this EnhancedMemoryStore was closed; make a new one"
_FORKED = "this EnhancedMemoryStore was made before this process was forked; make a new one here"


class Door:
    """One store behind a pool of threads; ``EnhancedMemoryStore`` adds the verbs.

    Args:
        source: settings, a store, or None for the environment.

    Raises:
        SettingsError: the source is something else.
    """

    def __init__(self, source: UnifiedSettings | MemoryStore | None = None) -> None:
        self._store: MemoryStore | None = None
        self._settings: UnifiedSettings | None = None
        # Of a store that is given, only the number of threads is to be set, and nothing read from the environment.
        perf = PerfSettings()
        if source is None or isinstance(source, UnifiedSettings):
            self._settings = source or UnifiedSettings()
            perf = self._settings.perf
        elif isinstance(source, MemoryStore):
            self._store = source
        else:
            raise SettingsError(f"a store or settings were due, got {type(source).__name__}; see open_store(settings)")
        self._owns = self._store is None
        self._closed = False
        self._reason = _CLOSED
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(perf.max_workers, thread_name_prefix="ums")
        forks.tell(self)

    @property
    def sync(self) -> MemoryStore:
        """The same store for callers without a loop; opened at the first use, which blocks."""
        with self._lock:
            if self._store is None:
                if self._closed:
                    raise StoreClosed(self._reason)
                self._store = open_channel(self._settings)
            return self._store

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed

    async def run(self, work: Callable[[MemoryStore], T]) -> T:
        """What the work makes of the blocking store: several verbs that belong together, in one hop."""
        return await self.begin(work)

    def begin(self, work: Callable[[MemoryStore], T]) -> asyncio.Future[T]:
        """What :meth:`run` does, begun, for callers who wait in a way of their own.

        Raises:
            StoreClosed: after ``close()``.
        """
        return self._begun(lambda: work(self.sync))

    def start(self, work: Callable[[MemoryStore], T], tell: Callable[[T | None, BaseException | None], object]) -> None:
        """Begin work for callers who keep an account of their own, which costs them less than a future.

        Args:
            work: what is done, once it has begun to its end.
            tell: called in the running loop with what came of it, or with the error that ended it.

        Raises:
            StoreClosed: after ``close()``; then nothing is told.
        """
        self._submitted(_told, lambda: work(self.sync), copy_context(), asyncio.get_running_loop(), tell)

    async def close(self) -> None:
        """Close the store if this object opened it, and let the threads go; a second call does nothing."""
        with self._lock:
            store = self._store if self._owns else None
            closed, self._closed = self._closed, True
        if closed:
            return
        if store is not None:
            await asyncio.get_running_loop().run_in_executor(self._pool, store.close)
        self._pool.shutdown(wait=False)

    def disown(self) -> None:
        """Leave store and threads to the parent process: threads do not pass to a child."""
        self._closed, self._reason, self._lock = True, _FORKED, Lock()

    async def __aenter__(self) -> Self:
        """Open the store."""
        await self._hop(lambda: self.sync)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the store."""
        await self.close()

    def _local(self, verb: str) -> LocalStore:
        store = self.sync
        if isinstance(store, DualStore):
            store = store.personal
        if not isinstance(store, LocalStore):
            raise NotOnThisChannel(
                f"{verb} is for a store on this device, and this is a {type(store).__name__}; "
                "call it on what open_store(settings) returns where the database is"
            )
        return store

    async def _hop(self, work: Callable[[], T]) -> T:
        return await self._begun(work)

    def _begun(self, work: Callable[[], T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        # Who is at work is said in the caller's context.
        self._submitted(_carried_out, work, copy_context(), loop, done)
        return done

    def _submitted(self, job: Callable[..., None], *arguments: object) -> None:
        if self._closed:
            raise StoreClosed(self._reason)
        try:
            self._pool.submit(job, *arguments)
        except RuntimeError as error:
            # Another thread closed it between the look above and here: the pool takes no more work.
            raise StoreClosed(self._reason) from error


def _carried_out(
    work: Callable[[], T], context: Context, loop: asyncio.AbstractEventLoop, done: "asyncio.Future[T]"
) -> None:
    """Do the work in this thread and tell the loop.

    ``run_in_executor`` makes a future of the pool follow that of the loop and back, which costs as much as the hop.
    """
    # Cancelled before it began: nobody waits for it.
    if not done.cancelled():
        _told(work, context, loop, partial(_tell, done))


def _told(
    work: Callable[[], T],
    context: Context,
    loop: asyncio.AbstractEventLoop,
    tell: Callable[[T | None, BaseException | None], object],
) -> None:
    outcome = _outcome(work, context)
    # A loop that was closed meanwhile has nobody who waits.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(tell, *outcome)


def _outcome(work: Callable[[], T], context: Context) -> tuple[T | None, BaseException | None]:
    try:
        return context.run(work), None
    except StopIteration as error:
        # Which no future takes, so that whoever waits would wait for ever.
        told = RuntimeError("the work raised StopIteration")
        told.__cause__ = error
        return None, told
    except BaseException as error:  # noqa: BLE001  # handed to whoever waits
        return None, error


def _tell(done: "asyncio.Future[Any]", result: object, error: BaseException | None) -> None:
    if done.cancelled():
        return
    if error is None:
        done.set_result(result)
    else:
        done.set_exception(error)
