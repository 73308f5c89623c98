"""All that is used of FAISS: an HNSW graph, and a half-precision copy of some vectors for scanning.

FAISS lets go of the interpreter while it works. Its OpenMP threads spin between two pieces of work, which turns a
search of 0.1 ms into one of 30 ms where two searching threads meet; hence one thread in each thread that searches.
"""

import threading
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import faiss as _faiss
import numpy as np
import numpy.typing as npt

from ums_core.index.faiss_tuning import HnswParams
from ums_core.index.rows import Floats, Positions
from ums_core.index.snapshot import Bytes, Sink

__all__ = ["Graph", "HalfPrecision", "OneThread"]

faiss: Any = _faiss  # its own stubs lack half of what is used here, and contradict its signatures
_BLOCK = 1 << 20


@lru_cache(maxsize=256)
def _breadth(ef: int) -> Any:  # noqa: ANN401  # FAISS has no types
    """What tells a search how broad its walk is, which is only read: to make it costs a tenth of a walk."""
    return faiss.SearchParametersHNSW(efSearch=ef)


class OneThread(threading.local):
    """Keeps FAISS to one OpenMP thread in every thread that touches it: the constructor runs once in each."""

    def __init__(self) -> None:
        faiss.omp_set_num_threads(1)

    def enter(self) -> None:
        """Touch it."""


class Graph:
    """An HNSW graph by inner product. Its links never change once it is made: growing makes another one.

    Attributes:
        vectors: shape (n, d) float32, the graph's own storage, not a copy; keeps the graph alive.
        overwritten: where ``overwrite`` put another vector, shape (n,).
    """

    def __init__(self, index: Any, buffer: Bytes | None = None) -> None:  # noqa: ANN401  # FAISS has no types
        self._index = index
        self._buffer = buffer
        self._ef = int(index.hnsw.efSearch)
        self._storage: Floats = np.asarray(_Storage(index, buffer))
        self.vectors: Floats = self._storage.view()
        self.vectors.flags.writeable = False
        self.overwritten = np.zeros(len(self.vectors), np.bool_)

    def __len__(self) -> int:
        """Return the number of vectors."""
        return int(self._index.ntotal)

    @classmethod
    def grown(
        cls, base: "Graph | None", slices: Iterable[Floats], params: HnswParams, *, dim: int, threads: Callable[[], int]
    ) -> "Graph":
        """A graph of all that ``base`` holds, and the slices after it. Blocks, but stops nobody who searches ``base``.

        ``threads`` is asked for each slice. Costs a copy of the base, and 0.2 to 0.5 ms of CPU for each new vector.
        """
        index = faiss.IndexHNSWFlat(dim, params.m, faiss.METRIC_INNER_PRODUCT) if base is None else base.copy()
        index.hnsw.efConstruction, index.hnsw.efSearch = params.ef_construction, params.ef_search
        for piece in slices:
            faiss.omp_set_num_threads(threads())
            index.add(piece)
        return cls(index)

    @classmethod
    def restored(cls, content: Bytes, params: HnswParams, dim: int) -> "Graph":
        """The graph that ``write`` wrote, as a view of the bytes, which were checked before.

        Raises:
            ValueError: these are not the bytes of such a graph.
        """
        try:
            reader = faiss.ZeroCopyIOReader(faiss.swig_ptr(content), len(content))
            index = faiss.read_index(reader, faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise ValueError("not a FAISS index") from error
        found = (type(index), index.d, index.metric_type, index.ntotal > 0)
        if found != (faiss.IndexHNSWFlat, dim, faiss.METRIC_INNER_PRODUCT, True):
            raise ValueError(f"not a graph of vectors of {dim} components: {found}")
        index.hnsw.efSearch = params.ef_search
        return cls(index, content)

    def nearest(self, vector: Floats, fetch: int, ef: int) -> Positions:
        """Positions of about the ``fetch`` nearest vectors, best first; fewer where the walk ends early.

        Args:
            vector: shape (d,) float32.
            fetch: at most the number of vectors.
            ef: breadth of the walk.
        """
        if ef == self._ef:
            at: Positions = self._index.search(vector[None], fetch)[1][0]
        else:
            at = self._index.search(vector[None], fetch, params=_breadth(ef))[1][0]
        return at if at[-1] >= 0 else at[at >= 0]

    def overwrite(self, at: int, vector: Floats) -> None:
        """Put another vector in a place that is never returned, so that what stood there is on no disk."""
        self._storage[at] = vector
        self.overwritten[at] = True

    def size(self) -> int:
        """Bytes that ``write`` will give. Costs a pass over the graph."""
        total = 0

        def count(data: bytes | memoryview) -> None:
            nonlocal total
            total += len(data)

        self.write(count)
        return total

    def write(self, sink: Sink) -> None:
        """Give the graph to a sink in blocks of 1 MiB; the vectors are the last of it."""
        faiss.write_index(self._index, faiss.PyCallbackIOWriter(sink, _BLOCK))

    def copy(self) -> Any:  # noqa: ANN401  # FAISS has no types
        """The index in memory of its own, which may grow.

        The clone of a view would be a view again, and adding to one aborts the process.
        """
        if self._buffer is None:
            return faiss.clone_index(self._index)
        content, start = self._buffer.data, 0

        def block(size: int) -> bytes:
            nonlocal start
            start += size
            return content[start - size : start].tobytes()

        return faiss.read_index(faiss.PyCallbackIOReader(block, _BLOCK))


class _Storage:
    """Lends the vectors inside a graph to numpy; the array holds on to this, and this to the graph."""

    def __init__(self, index: Any, buffer: Bytes | None) -> None:  # noqa: ANN401  # FAISS has no types
        self._alive = index, buffer
        first = faiss.downcast_index(index.storage).get_xb()
        flat = faiss.rev_swig_ptr(first, index.ntotal * index.d)
        self.__array_interface__ = flat.reshape(index.ntotal, index.d).__array_interface__


class HalfPrecision:
    """A contiguous copy of some vectors in half precision: half the bytes, and a scan without a gather.

    Attributes:
        at: where the copied vectors stand in their rows, ascending.
        size: bytes.
    """

    def __init__(self, vectors: Floats, at: Positions) -> None:
        self.at = at
        self.size = self.bytes_of(vectors, at)
        self._index = faiss.IndexScalarQuantizer(
            vectors.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        )
        for start in range(0, len(at), 4096):
            self._index.add(vectors[at[start : start + 4096]])

    @staticmethod
    def bytes_of(vectors: Floats, at: Positions) -> int:
        """Size of the copy of these vectors."""
        return len(at) * (2 * int(vectors.shape[1]) + at.itemsize)

    def nearest(self, vector: Floats, fetch: int) -> tuple[Positions, npt.NDArray[np.float32]]:
        """Positions in the rows, and rough inner products, of the ``fetch`` best, best first."""
        rough, at = self._index.search(vector[None], fetch)
        return self.at[at[0]], rough[0]
