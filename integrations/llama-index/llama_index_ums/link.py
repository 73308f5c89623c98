"""The store behind an adapter: both its faces, and how to find it again after a trip through JSON or pickle."""

from functools import cache, cached_property
from secrets import token_hex
from threading import Lock
from typing import Self, TypeAlias
from weakref import WeakValueDictionary

from ums_core import EnhancedMemoryStore, MemoryStore, UnifiedSettings

__all__ = ["Link", "Store", "environment_store"]

Store: TypeAlias = MemoryStore | EnhancedMemoryStore


class Link:
    """A store, blocking and awaitable, that copies share and pickles leave out.

    A store that is given stays its owner's, who closes it. What is written down of a link is a random name, by which
    it finds the store again as long as its owner holds it open in this process: LlamaIndex itself writes a context
    down and reads it back from one run of an agent to the next. In another process the first use opens the store that
    the environment there names, once; it stays open until the process ends. So no key, no token and no path is written.

    Args:
        given: what ``open_store`` returned, or an ``EnhancedMemoryStore``; None is the environment's, or the one that
            the name stands for.
        name: of a link that was written down.

    Raises:
        TypeError: given is something else.
    """

    def __init__(self, given: object = None, name: str = "") -> None:
        if given is None:
            live = _LIVE.get(name)
            given = None if getattr(live, "closed", False) else live
        if given is not None and not isinstance(given, MemoryStore | EnhancedMemoryStore):
            kind = type(given).__name__
            raise TypeError(f"store must be what open_store(settings) returns, or an EnhancedMemoryStore, got {kind}")
        self._given: Store | None = given
        self.name = "" if given is None else _name_of(given)

    @property
    def sync(self) -> MemoryStore:
        """The blocking face; a store that is not open yet is opened."""
        return self.door.sync if self._given is None or isinstance(self._given, EnhancedMemoryStore) else self._given

    @cached_property
    def door(self) -> EnhancedMemoryStore:
        """The awaitable face, bound to no event loop."""
        if isinstance(self._given, EnhancedMemoryStore):
            return self._given
        # Two threads may each make one at the same moment; either serves, and the other is garbage.
        return environment_store() if self._given is None else EnhancedMemoryStore(self._given)

    def lock_of(self, place: tuple[str, ...]) -> Lock:
        """For what must not be done twice at once in a place of the store, by any adapters of this process."""
        with _LIVE_LOCK:
            lock = _LOCKS.get((self.name, place))
            if lock is None:
                lock = _LOCKS[self.name, place] = Lock()
            return lock

    def __copy__(self) -> Self:
        """Return the link itself: a store has one."""
        return self

    def __deepcopy__(self, memo: object) -> Self:
        """Return the link itself: a store has one."""
        return self

    def __reduce__(self) -> tuple[type[Self], tuple[None, str]]:
        """Leave the store out, but for its name."""
        return type(self), (None, self.name)


# The stores that adapters of this process were given, by name, as long as somebody else holds them: nothing but the
# process itself can tell what a name stood for.
_LIVE: WeakValueDictionary[str, object] = WeakValueDictionary()
_LOCKS: WeakValueDictionary[tuple[str, tuple[str, ...]], Lock] = WeakValueDictionary()
_LIVE_LOCK = Lock()


def _name_of(store: object) -> str:
    with _LIVE_LOCK:
        for name, live in _LIVE.items():
            if live is store:
                return name
        name = token_hex(8)
        _LIVE[name] = store
        return name


@cache
def environment_store() -> EnhancedMemoryStore:
    """One store a process, whatever number of adapters comes back to life in it."""
    return EnhancedMemoryStore(UnifiedSettings())
