"""Both faces of the store that a caller gave."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TypeVar

from ums_core import EnhancedMemoryStore, Filter, Memory, MemoryStore

__all__ = ["Faces", "delete_all", "parts_of", "scan_all"]

T = TypeVar("T")
_PAGE = 500


class Faces:
    """A store, blocking and awaitable. The store stays its owner's, who closes it.

    Args:
        given: what ``open_store`` returned, any other ``MemoryStore``, or an ``EnhancedMemoryStore``.

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

    def run(self, work: Callable[[MemoryStore], T]) -> T:
        """What the work makes of the store, in this thread."""
        return work(self.sync)

    async def arun(self, work: Callable[[MemoryStore], T]) -> T:
        """What the work makes of the store, in one hop to a thread; once begun, it comes to its end."""
        return await self.door.run(work)


def scan_all(
    store: MemoryStore,
    namespace: tuple[str, ...],
    condition: Filter | Mapping[str, object] | None = None,
    *,
    limit: int | None = None,
) -> list[Memory]:
    """All memories under a prefix that meet a condition, in the order in which they were first stored."""
    found: list[Memory] = []
    cursor: int | None = None
    while limit is None or len(found) < limit:
        room = _PAGE if limit is None else min(_PAGE, limit - len(found))
        page = store.scan(namespace=namespace, filter=condition, limit=room, cursor=cursor)
        found += page.memories
        cursor = page.cursor
        if cursor is None:
            break
    return found


def delete_all(store: MemoryStore, ids: Sequence[str], namespace: tuple[str, ...]) -> int:
    """Delete any number of memories, and return how many there were."""
    return sum(store.delete(part, namespace=namespace) for part in parts_of(ids))


def parts_of(values: Sequence[T]) -> Iterator[list[T]]:
    """The values in parts that a service takes at once."""
    for start in range(0, len(values), _PAGE):
        yield list(values[start : start + _PAGE])
