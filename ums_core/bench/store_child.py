"""What a benchmark does in a process of its own, where it may be killed or nothing else needs memory."""

import gc
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import psutil  # type: ignore[import-untyped]  # ships no types

from ums_core import Draft
from ums_core.bench.store_contest import Ours
from ums_core.bench.store_data import EVERYTHING

__all__ = ["add_and_wait", "rss_growth"]


def add_and_wait(directory: Path, dim: int, drafts: Sequence[Draft], parent: Connection) -> None:
    """Add rows one by one, say how many are durable, and wait to be killed or to hear anything."""
    with Ours(directory, dim) as ours:
        for draft in drafts:
            ours.add(draft)
        parent.send(len(drafts))
        parent.recv()


def rss_growth(directory: Path, dim: int, queries: npt.NDArray[np.float32], parent: Connection) -> None:
    """Say by how many bytes the resident memory has grown once a store is open and has answered every query."""
    with TemporaryDirectory() as elsewhere, Ours(Path(elsewhere), dim) as small:
        # Whatever is imported or allocated for the first store of a process is no part of the growth.
        small.add(Draft(embedding=queries[0]))
        small.search(queries[0], EVERYTHING)
    gc.collect()
    process = psutil.Process()
    before = process.memory_info().rss
    with Ours(directory, dim) as ours:
        for query in queries:
            ours.search(query, EVERYTHING)
        parent.send(process.memory_info().rss - before)
