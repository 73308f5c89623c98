"""``python -m ums_core.bench upkeep``: consolidating and forgetting many memories, and searches meanwhile."""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Event, Thread
from time import perf_counter

import numpy as np
import numpy.typing as npt
import psutil  # type: ignore[import-untyped]  # ships no types

from ums_core import Draft, LocalStore, Query, UnifiedSettings, open_store
from ums_core.bench.report import print_table
from ums_core.errors import InvalidInput
from ums_core.ranking.cluster import stars
from ums_core.settings.database import url_of

__all__ = ["Row", "add_arguments", "naive", "rows", "run", "topics"]

Units = npt.NDArray[np.float32]
_MIB = 2**20
_BATCH = 2000
_THRESHOLD = 0.8
_EPILOG = """\
Memories in topics of about eight, vectors given by the caller, in one namespace. In one run: they are stored, half of
them are forgotten and brought back, all are consolidated; another thread searches all the time. Beside it, clustering
alone, and by the naive method: the whole matrix of cosines at once.

seconds    of the step
MiB        the most resident memory over that before the step, sampled every 20 ms
bound      what the step may take: see the docstrings of ums_core.ranking.cluster
searches   answered during the step, and the slowest of them in ms"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one step took.

    Attributes:
        step: what was done.
        n: to how many memories.
        seconds: it took.
        mib: it grew by, at most.
        bound_mib: it may grow by; None where nothing is promised.
        searches: answered meanwhile.
        slowest_ms: of those; 0 where there is none.
        detail: what came of it.
    """

    step: str
    n: int
    seconds: float
    mib: float
    bound_mib: float | None = None
    searches: int = 0
    slowest_ms: float = 0.0
    detail: str = ""


def topics(n: int, dim: int, *, seed: int = 0) -> Units:
    """Unit rows around n / 8 topics, themselves around n / 200 subjects, shape (n, dim); the same for the same seed."""
    rng = np.random.default_rng(seed)
    subjects = rng.standard_normal((max(1, n // 200), dim))
    count = max(1, n // 8)
    centres = 0.6 * rng.standard_normal((count, dim)) + 0.8 * subjects[rng.integers(0, len(subjects), count)]
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    rows_ = centres[rng.integers(0, count, n)] + 0.45 * rng.standard_normal((n, dim)) / np.sqrt(dim)
    return np.asarray(rows_ / np.linalg.norm(rows_, axis=1, keepdims=True), np.float32)


def naive(units: Units, threshold: float) -> int:
    """How many clusters the method gives that holds all cosines at once: n x n numbers."""
    near = units @ units.T >= threshold
    degree = near.sum(axis=1)
    free = np.ones(len(units), np.bool_)
    clusters = 0
    for centre in np.argsort(-degree, kind="stable"):
        members = near[centre] & free
        if free[centre] and members.sum() > 1:
            free[members] = False
            clusters += 1
    return clusters


@dataclass(slots=True)
class _Watch:
    """Samples memory and searches beside a step."""

    search: Callable[[], object] | None = None
    most: int = 0
    times: list[float] = field(default_factory=list)

    @contextmanager
    def watching(self) -> Iterator[None]:
        process, done = psutil.Process(), Event()
        before = process.memory_info().rss

        def sample() -> None:
            while not done.wait(0.02):
                self.most = max(self.most, process.memory_info().rss - before)

        def ask() -> None:
            while self.search is not None and not done.wait(0.05):
                started = perf_counter()
                self.search()
                self.times.append(perf_counter() - started)

        threads = [Thread(target=sample), Thread(target=ask)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            done.set()
            for thread in threads:
                thread.join()


def _measured(
    step: str,
    n: int,
    work: Callable[[], str],
    *,
    search: Callable[[], object] | None = None,
    bound: float | None = None,
) -> Row:
    watch = _Watch(search)
    with watch.watching():
        started = perf_counter()
        detail = work()
        seconds = perf_counter() - started
    return Row(
        step=step,
        n=n,
        seconds=seconds,
        mib=watch.most / _MIB,
        bound_mib=bound,
        searches=len(watch.times),
        slowest_ms=1000 * max(watch.times, default=0.0),
        detail=detail,
    )


def rows(n: int, *, dim: int, naive_n: int, bar: Callable[[int, int], None] | None = None) -> list[Row]:
    """One row a step.

    Args:
        n: memories.
        dim: components of a vector.
        naive_n: how many the naive method is given.
        bar: told how far consolidation is.
    """
    units = topics(n, dim)
    small = units[:naive_n]
    out = [
        _measured("naive clusters", len(small), lambda: f"{naive(small, _THRESHOLD)} clusters"),
        _measured("clusters", len(small), lambda: _clusters(small), bound=_bound(len(small), dim)),
        _measured("clusters", n, lambda: _clusters(units), bound=_bound(n, dim)),
    ]
    with tempfile.TemporaryDirectory(prefix="ums-bench-") as directory:
        settings = UnifiedSettings.for_testing(
            database={"url": url_of(Path(directory) / "memory.db"), "backend": "faiss"},
            model={"embedder": "none", "vector_dim": dim},
        )
        with open_store(settings) as store:
            out.append(_measured("store", n, lambda: _fill(store, units)))
            store.settle()
            asked = iter(range(10**9))

            def search() -> object:
                hits = store.search(Query(vector=units[next(asked) * 997 % n], k=10))
                assert hits, "a search during maintenance found nothing"
                return hits

            batches: list[str] = []

            def forget() -> str:
                done = store.forget(retain_fraction=0.5)
                batches.append(done.batch or "")
                return f"{done.removed} forgotten"

            out.append(_measured("forget", n, forget, search=search))
            out.append(_measured("undo", n, lambda: f"{store.undo(batches[0])} brought back", search=search))

            def consolidate() -> str:
                done = store.consolidate(threshold=_THRESHOLD, progress=bar)
                assert not done.failed, "a cluster was left"
                return f"{done.merged} merged into {len(done.clusters)}, {store.count()} live"

            out.append(_measured("consolidate", n, consolidate, search=search, bound=2 * _bound(n, dim) + 200))
            problems = store.verify()
            assert not problems, problems
    return out


def _bound(n: int, dim: int) -> float:
    """MiB that clustering may take: a copy of the vectors, their neighbours, and what does not grow."""
    return n * (4 * dim + 8 * 32) / _MIB + 150


def _clusters(units: Units) -> str:
    return f"{len(stars(units, _THRESHOLD).clusters)} clusters"


def _fill(store: LocalStore, units: Units) -> str:
    rng = np.random.default_rng(1)
    importance = rng.random(len(units))
    for at in range(0, len(units), _BATCH):
        store.add(
            [
                Draft(text=f"What was said at {at + place}.", embedding=row, importance=float(importance[at + place]))
                for place, row in enumerate(units[at : at + _BATCH])
            ]
        )
    return ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = _EPILOG
    parser.add_argument("--memories", type=int, default=100_000, help="how many (%(default)s)")
    parser.add_argument("--dim", type=int, default=256, help="components of a vector (%(default)s)")
    parser.add_argument("--naive", type=int, default=10_000, help="how many for the naive method (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    if min(args.memories, args.dim, args.naive) < 1:
        raise InvalidInput("there must be a memory with a component")
    result = rows(args.memories, dim=args.dim, naive_n=args.naive)
    if args.json:
        print(json.dumps({"rows": [asdict(row) for row in result]}, indent=2))
        return 0
    headers = ("step", "memories", "seconds", "MiB", "bound", "searches", "slowest ms", "what came of it")
    lines = [
        (
            row.step,
            str(row.n),
            f"{row.seconds:.1f}",
            f"{row.mib:.0f}",
            "" if row.bound_mib is None else f"{row.bound_mib:.0f}",
            str(row.searches),
            f"{row.slowest_ms:.0f}",
            row.detail,
        )
        for row in result
    ]
    print_table(f"{args.memories} memories of {args.dim} components", headers, lines)
    return 0
