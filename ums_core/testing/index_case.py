"""What every part of the index suite stands on."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest

from ums_core.ports.index import Change, VectorIndex

__all__ = [
    "CROWD_DIM",
    "DIM",
    "Answer",
    "Floats",
    "Ids",
    "IndexCase",
    "MakeIndex",
    "added",
    "changed",
    "clustered",
    "recall",
    "same",
]

Floats: TypeAlias = npt.NDArray[np.float32]
Ids: TypeAlias = npt.NDArray[np.int64]
Answer: TypeAlias = tuple[Ids, Floats]

DIM = 8
CROWD_DIM = 64


class MakeIndex(Protocol):
    """Makes an empty index; ``path`` is where it saves by itself, ``binding`` what its snapshots belong to."""

    def __call__(self, dim: int, path: Path | None = None, binding: Mapping[str, str] | None = None) -> VectorIndex:
        """An empty index."""
        ...


def clustered(n: int, dim: int, *, seed: int, clusters: int) -> tuple[Floats, Ids]:
    """Unit vectors around random centres with a noise of 0.7 sigma, shape (n, dim), and the cluster of each.

    The centres depend on ``clusters`` and ``dim`` alone, so that other seeds draw from the same clusters.
    """
    centres = np.random.default_rng(clusters).standard_normal((clusters, dim), np.float32)
    rng = np.random.default_rng(seed)
    cluster = rng.integers(clusters, size=n)
    vectors = centres[cluster] + np.float32(0.7) * rng.standard_normal((n, dim), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), cluster


def changed(seq: int, vectors: Floats, rids: Sequence[int] | Ids, removed: Sequence[int] | Ids = ()) -> Change:
    """A change that removes some rows and then adds others."""
    return Change(
        seq=seq, removed=np.asarray(removed, np.int64), added=np.asarray(rids, np.int64), vectors=np.asarray(vectors)
    )


def added(index: VectorIndex, vectors: Floats, *, first: int = 0) -> Ids:
    """Apply one change that adds the vectors, and return their row ids, which follow each other."""
    rids = np.arange(first, first + len(vectors), dtype=np.int64)
    index.apply(changed(index.seq + 1, vectors, rids))
    return rids


def recall(found: Sequence[Answer], expected: Sequence[Answer]) -> float:
    """Share of the expected rows that were found; equally good ones in their place count."""
    hits = sum(int(np.count_nonzero(have[1] >= want[1][-1] - 1e-6)) for have, want in zip(found, expected, strict=True))
    return hits / sum(len(want[0]) for want in expected)


def same(one: Answer, other: Answer) -> bool:
    """Whether two answers are equal to the last bit."""
    return np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])


class IndexCase:
    """Fixtures of the index suite; a subclass gives the fixture ``make_index``, a :class:`MakeIndex`.

    It is of class scope, a classmethod, as the largest index is made once.

    Attributes:
        size: number of vectors of the largest index; one in a hundred is the centre of a cluster.
    """

    size: ClassVar[int] = 50_000

    @pytest.fixture
    def make(self, make_index: MakeIndex) -> Iterator[MakeIndex]:
        """As ``make_index``, and every index made is closed after the test."""
        made: list[VectorIndex] = []

        def make(dim: int, path: Path | None = None, binding: Mapping[str, str] | None = None) -> VectorIndex:
            made.append(make_index(dim, path, binding))
            return made[-1]

        yield make
        for index in made:
            index.close()

    @pytest.fixture(scope="class")
    @classmethod
    def crowd(cls, make_index: MakeIndex) -> Iterator[tuple[VectorIndex, Floats, Ids]]:
        """A settled index of many clustered vectors, the vectors, and the cluster of each."""
        vectors, cluster = clustered(cls.size, CROWD_DIM, seed=1, clusters=cls.size // 100)
        index = make_index(CROWD_DIM)
        added(index, vectors)
        index.settle()
        yield index, vectors, cluster
        index.close()
