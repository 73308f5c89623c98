"""What encryption costs: a sealed store beside a plain one, in one run, taken in turns."""

import argparse
import json
import os
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import TypeVar

from ums_core.bench.store_data import Corpus, make_corpus
from ums_core.bench.store_timing import Track, interleave
from ums_core.channels.build import open_store
from ums_core.channels.care import encrypt_store
from ums_core.channels.local import LocalStore
from ums_core.records import Draft, Query
from ums_core.settings import UnifiedSettings
from ums_core.settings.database import url_of

__all__ = ["GOALS", "add_arguments", "measure", "run"]

# At most so many times the plain store; cold open includes the first search.
GOALS = {"add, durable": 1.5, "vector search": 1.3, "keyword search": 1.2, "cold open": 1.5}
_BATCH = 1000
_TEXTS = 64
T = TypeVar("T")
_KINDS = ("plain", "sealed")

Row = dict[str, float | str | bool]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare --memories, --dim, --rounds, --backend and --json."""
    parser.add_argument("--memories", type=int, default=20_000, help="how many to hold (default: %(default)s)")
    parser.add_argument("--dim", type=int, default=384, help="components of a vector (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (default: %(default)s)")
    parser.add_argument("--backend", choices=("faiss", "exact"), default="faiss", help="(default: %(default)s)")
    parser.add_argument("--json", action="store_true", help='print {"rows": [...]}')


def run(args: argparse.Namespace) -> int:
    """Measure, and print one row an operation: microseconds of both, the ratio, the goal."""
    corpus = make_corpus(args.memories, extra=0, queries=64, dim=args.dim, seed=0)
    with tempfile.TemporaryDirectory(prefix="ums-bench-") as place:
        rows = measure(Path(place), corpus, rounds=args.rounds, backend=args.backend)
    if args.json:
        print(json.dumps({"memories": args.memories, "rows": rows}, indent=2))
        return 0
    print(f"{args.memories:,} memories, {args.dim} components, {args.backend}; us, median of {args.rounds} turns")
    print(f"{'':16}{'plain':>12}{'sealed':>12}{'ratio':>8}{'goal':>8}")
    for row in rows:
        met = "" if row["met"] else "  not met"
        print(f"{row['what']:16}{row['plain']:12.1f}{row['sealed']:12.1f}{row['ratio']:8.2f}{row['goal']:8.1f}{met}")
    return 0


def measure(place: Path, corpus: Corpus, *, rounds: int, backend: str) -> list[Row]:
    """The rows of the table. The sealed store is made of the plain one, so both hold the same."""
    paths = {kind: place / kind / "memory.db" for kind in _KINDS}
    settings = {kind: _settings(path, corpus, backend, {}) for kind, path in paths.items()}
    for chosen in settings.values():
        with open_store(chosen) as store:
            _fill(store, corpus)
    security = {"encrypt_at_rest": True, "encryption_key": urlsafe_b64encode(os.urandom(32)).decode()}
    settings["sealed"] = _settings(paths["sealed"], corpus, backend, security)
    encrypt_store(settings["sealed"])
    with open_store(settings["sealed"]) as store:
        # Its index is built anew, and saved.
        store.settle()
    taken = {"cold open": _opened(settings, corpus, rounds)}
    with ExitStack() as stack:
        stores = {kind: stack.enter_context(open_store(chosen)) for kind, chosen in settings.items()}
        taken |= _used(stores, corpus, rounds)
    rows: list[Row] = []
    for what, goal in GOALS.items():
        plain, sealed = (taken[what][kind] for kind in _KINDS)
        ratio = sealed / plain
        row: Row = {"what": what, "plain": plain, "sealed": sealed, "ratio": ratio, "goal": goal, "met": ratio <= goal}
        rows.append(row)
    return rows


def _used(stores: dict[str, LocalStore], corpus: Corpus, rounds: int) -> dict[str, dict[str, float]]:
    """Microseconds of each operation, by kind of store."""
    queries = corpus.queries
    texts = [draft.text for draft in corpus.drafts[:: max(1, corpus.n // _TEXTS)]][:_TEXTS]
    numbers = count()

    def adding(store: LocalStore) -> Track[int, object]:
        def add(number: int) -> object:
            return store.add([Draft(id=f"new-{number}", text=texts[0], embedding=queries[number % len(queries)])])

        return Track(add, lambda: [next(numbers) for _ in range(30)], _something)

    def near(store: LocalStore) -> Track[int, object]:
        def search(number: int) -> object:
            return store.search(Query(vector=queries[number], k=10))

        return Track(search, lambda: range(len(queries)), _something)

    def worded(store: LocalStore) -> Track[str, object]:
        def search(text: str) -> object:
            return store.search(Query(text=text, mode="keyword", k=10))

        return Track(search, lambda: texts, _something)

    return {
        "add, durable": _medians({kind: adding(store) for kind, store in stores.items()}, rounds),
        "vector search": _medians({kind: near(store) for kind, store in stores.items()}, rounds),
        "keyword search": _medians({kind: worded(store) for kind, store in stores.items()}, rounds),
    }


def _opened(settings: Mapping[str, UnifiedSettings], corpus: Corpus, rounds: int) -> dict[str, float]:
    """Microseconds from nothing open to the first answer, by kind of store; the files are in the page cache."""

    def opening(chosen: UnifiedSettings) -> Track[int, object]:
        def first(number: int) -> object:
            with open_store(chosen) as store:
                return store.search(Query(vector=corpus.queries[number], k=10))

        return Track(first, lambda: [0], _something)

    return _medians({kind: opening(chosen) for kind, chosen in settings.items()}, rounds)


def _medians(tracks: Mapping[str, Track[T, object]], rounds: int) -> dict[str, float]:
    return {kind: times.us(50) for kind, times in interleave(tracks, rounds).items()}


def _something(_: object, answer: object) -> None:
    assert answer, "nothing came back"


def _settings(path: Path, corpus: Corpus, backend: str, security: Mapping[str, object]) -> UnifiedSettings:
    return UnifiedSettings.for_testing(
        database={"url": url_of(path), "backend": backend},
        model={"embedder": "none", "vector_dim": corpus.vectors.shape[1]},
        security=dict(security),
    )


def _fill(store: LocalStore, corpus: Corpus) -> None:
    for start in range(0, corpus.n, _BATCH):
        store.add(corpus.drafts[start : start + _BATCH])
    store.settle()
