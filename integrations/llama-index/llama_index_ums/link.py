"""The store behind an adapter: both its faces, and how to find it again after a trip through JSON or pickle."""

from functools import cache, cached_property
from threading import Lock
from typing import Self, TypeAlias

from ums_core import EnhancedMemoryStore, MemoryStore, UnifiedSettings

__all__ = ["Link", "Store"]

Store: TypeAlias = MemoryStore | EnhancedMemoryStore


class Link:
    """A store, blocking and awaitable, that copies share and pickles leave out.

    A store that is given stays its owner's, who closes it. Without one, the first use opens the store that the
    environment names, once a process; it stays open until the process ends. So whatever an adapter writes about
    itself holds no key and no token: those come from the environment, where they belong.

    Args:
        given: what ``open_store`` returned, or an ``EnhancedMemoryStore``; None is the environment's.

    Raises:
        TypeError: given is something else.
    """

    def __init__(self, given: object = None) -> None:
        if given is not None and not isinstance(given, MemoryStore | EnhancedMemoryStore):
            kind = type(given).__name__
            raise TypeError(f"store must be what open_store(settings) returns, or an EnhancedMemoryStore, got {kind}")
        self._given: Store | None = given
        # For what must not be done twice at once, by an adapter or a copy of it.
        self.lock = Lock()

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
        return _environment() if self._given is None else EnhancedMemoryStore(self._given)

    def __copy__(self) -> Self:
        """Return the link itself: a store has one."""
        return self

    def __deepcopy__(self, memo: object) -> Self:
        """Return the link itself: a store has one."""
        return self

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        """Leave the store out; the link that is read back opens what the environment there names."""
        return type(self), ()


@cache
def _environment() -> EnhancedMemoryStore:
    """One store a process, whatever number of adapters comes back to life in it."""
    return EnhancedMemoryStore(UnifiedSettings())
