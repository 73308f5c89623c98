"""What every part of the store suite stands on."""

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import pytest

from ums_core.ports import MemoryStore
from ums_core.records import Draft, Filter, Memory, Namespace, Query
from ums_core.testing.samples import unit

__all__ = ["Abandon", "MakeStore", "StoreCase", "everything", "ids_of"]

Abandon = Callable[[MemoryStore], None]


class MakeStore(Protocol):
    """Opens a store: the same place in one test is the same data, and each test finds every place empty."""

    def __call__(self, place: str = "memory") -> MemoryStore:
        """The store at a place; the one opened there before must have been closed or abandoned."""
        ...


class StoreCase:
    """Fixtures of the store suite; a subclass gives the fixture ``make_store``, a :class:`MakeStore`.

    Attributes:
        dim: number of components of the vectors that the store takes; its own embedder must make as many.
        examples: how many sequences of calls are compared with a dict.
    """

    dim: ClassVar[int] = 64
    examples: ClassVar[int] = 60

    @pytest.fixture
    def abandon(self) -> Abandon | None:
        """Leaves a store's place as a kill of its process would, saving nothing; None where that cannot be played."""
        return None

    @pytest.fixture
    def store(self, make_store: MakeStore) -> Iterator[MemoryStore]:
        """An empty store."""
        with make_store() as store:
            yield store

    def vector(self, label: object) -> npt.NDArray[np.float32]:
        """A unit vector of the store's dimension, the same for the same label."""
        return unit(label, self.dim)

    def draft(self, id_: str, *, namespace: Namespace = (), text: str = "", level: int = 0) -> Draft:
        """A draft whose vector follows from its id alone."""
        return Draft(id=id_, namespace=namespace, text=text, level=level, embedding=self.vector(id_))

    def near(self, label: object, k: int = 1, namespace: Namespace = ()) -> Query:
        """A question for the vector of a label."""
        return Query(vector=self.vector(label), k=k, namespace=namespace)


def everything(
    store: MemoryStore, namespace: Namespace = (), condition: Filter | None = None, *, page: int = 100
) -> list[Memory]:
    """All memories that a scan gives, page by page."""
    memories: list[Memory] = []
    cursor: int | None = None
    while True:
        part = store.scan(namespace=namespace, filter=condition, limit=page, cursor=cursor)
        assert len(part.memories) <= page
        memories += part.memories
        cursor = part.cursor
        if cursor is None:
            return memories


def ids_of(memories: Sequence[Memory]) -> list[str]:
    """The ids in their order."""
    return [memory.id for memory in memories]
