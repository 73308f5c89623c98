"""Both faces of the store that a caller gave."""

from functools import cached_property

from ums_core import EnhancedMemoryStore, MemoryStore

__all__ = ["Faces"]


class Faces:
    """A store, blocking and awaitable. The store stays its owner's, who closes it.

    Args:
        given: what ``open_store`` returned, or an ``EnhancedMemoryStore``.

    Raises:
        TypeError: anything else.
    """

    def __init__(self, given: object) -> None:
        if not isinstance(given, MemoryStore | EnhancedMemoryStore):
            kind = type(given).__name__
            raise TypeError(f"store must be what open_store(settings) returns, or an EnhancedMemoryStore, got {kind}")
        self.given = given

    @property
    def sync(self) -> MemoryStore:
        """The blocking face; an ``EnhancedMemoryStore`` opens its store at the first use."""
        return self.given.sync if isinstance(self.given, EnhancedMemoryStore) else self.given

    @cached_property
    def door(self) -> EnhancedMemoryStore:
        """The awaitable face, bound to no event loop."""
        # Two threads may each make one at the same moment; either serves, and the other is garbage.
        return self.given if isinstance(self.given, EnhancedMemoryStore) else EnhancedMemoryStore(self.given)
