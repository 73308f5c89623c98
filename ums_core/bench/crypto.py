"""What sealing costs: stores whose pages or fields are sealed beside a plain one, in one run, taken in turns."""

import argparse
import json
import os
import shutil
import tempfile
import threading
import time
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

__all__ = ["GOALS", "add_arguments", "measure", "pauses", "run"]

# At most so many times the plain store; cold open includes the first search, and what closing costs is not in it.
# The hits of a vector search come again, those of "new hits" hardly ever.
GOALS = {"add, durable": 1.5, "vector search": 1.3, "vector, new hits": 1.3, "keyword search": 1.2, "cold open": 1.5}
_BATCH = 1000
_TEXTS = 64
_STRIDE = 61
T = TypeVar("T")
A = TypeVar("A")
SEALED = ("pages", "fields")
_KINDS = ("plain", *SEALED)

Row = dict[str, float | str | bool]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare --memories, --dim, --rounds, --backend, --only and --json."""
    parser.add_argument("--memories", type=int, default=20_000, help="how many to hold (default: %(default)s)")
    parser.add_argument("--dim", type=int, default=384, help="components of a vector (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (default: %(default)s)")
    parser.add_argument("--backend", choices=("faiss", "exact"), default="faiss", help="(default: %(default)s)")
    parser.add_argument("--only", choices=SEALED, action="append", help="one kind of sealing (default: both)")
    parser.add_argument("--json", action="store_true", help='print {"rows": [...], "pauses": [...]}')


def run(args: argparse.Namespace) -> int:
    """Measure, and print one row an operation, with the ratios; then how long a rotation of the key makes wait."""
    corpus = make_corpus(args.memories, extra=0, queries=64, dim=args.dim, seed=0)
    kinds = tuple(args.only or SEALED)
    with tempfile.TemporaryDirectory(prefix="ums-bench-") as place:
        settings = _made(Path(place), corpus, args.backend, kinds)
        rows = measure(settings, corpus, rounds=args.rounds)
        waits = [pauses(kind, settings[kind], corpus) for kind in kinds]
    if args.json:
        print(json.dumps({"memories": args.memories, "rows": rows, "pauses": waits}, indent=2))
        return 0
    print(f"{args.memories:,} memories, {args.dim} components, {args.backend}; us, median of {args.rounds} turns")
    print(f"{'':16}{'plain':>12}{'':>8}{'sealed':>12}{'ratio':>8}{'goal':>8}")
    for row in rows:
        met = "" if row["met"] else "  not met"
        print(
            f"{row['what']:16}{row['plain']:12.1f}{row['kind']:>8}{row['sealed']:12.1f}{row['ratio']:8.2f}"
            f"{row['goal']:8.1f}{met}"
        )
    for wait in waits:
        print(
            f"rotation, {wait['kind']}: {wait['seconds']:.2f} s for {wait['megabytes']:.0f} MB; the longest search "
            f"meanwhile {wait['longest_search_ms']:.0f} ms, the longest add {wait['longest_add_ms']:.0f} ms"
        )
    return 0


def _made(place: Path, corpus: Corpus, backend: str, kinds: tuple[str, ...]) -> dict[str, UnifiedSettings]:
    """The stores: each sealed one is made of the plain one, so all hold the same."""
    settings = {"plain": _settings(place / "plain" / "memory.db", corpus, backend, {})}
    with open_store(settings["plain"]) as store:
        _fill(store, corpus)
    for kind in kinds:
        shutil.copytree(place / "plain", place / kind, ignore=shutil.ignore_patterns("*.lock"))
        security = {"encrypt_at_rest": kind == "pages", "encryption_key": urlsafe_b64encode(os.urandom(32)).decode()}
        settings[kind] = _settings(place / kind / "memory.db", corpus, backend, security)
        encrypt_store(settings[kind])
        with open_store(settings[kind]) as store:
            # Its index is built anew, and saved.
            store.settle()
    return settings


def measure(settings: Mapping[str, UnifiedSettings], corpus: Corpus, *, rounds: int) -> list[Row]:
    """The rows of the table."""
    taken = {"cold open": _opened(settings, corpus, rounds)}
    with ExitStack() as stack:
        stores = {kind: stack.enter_context(open_store(chosen)) for kind, chosen in settings.items()}
        taken |= _used(stores, corpus, rounds)
    rows: list[Row] = []
    for what, goal in GOALS.items():
        for kind in (kind for kind in settings if kind != "plain"):
            plain, sealed = taken[what]["plain"], taken[what][kind]
            ratio = sealed / plain
            row: Row = {"what": what, "kind": kind, "plain": plain, "sealed": sealed, "ratio": ratio}
            rows.append(row | {"goal": goal, "met": ratio <= goal})
    return rows


def pauses(kind: str, settings: UnifiedSettings, corpus: Corpus) -> Row:
    """How long the data key takes to be exchanged, and how long those wait who search and write meanwhile."""
    with open_store(settings) as store:
        over = threading.Event()
        longest = {"search": 0.0, "add": 0.0}

        def repeat(what: str) -> None:
            numbers = count()
            while not over.is_set():
                vector = corpus.queries[next(numbers) % len(corpus.queries)]
                start = time.perf_counter()
                if what == "search":
                    store.search(Query(vector=vector, k=10))
                else:
                    store.add([Draft(text="meanwhile", embedding=vector)])
                longest[what] = max(longest[what], time.perf_counter() - start)
                time.sleep(0.002)

        others = [threading.Thread(target=repeat, args=(what,)) for what in longest]
        for other in others:
            other.start()
        start = time.perf_counter()
        store.rotate()
        seconds = time.perf_counter() - start
        over.set()
        for other in others:
            other.join()
    return {
        "kind": kind,
        "seconds": seconds,
        "megabytes": settings.database.path.stat().st_size / 1e6,
        "longest_search_ms": longest["search"] * 1e3,
        "longest_add_ms": longest["add"] * 1e3,
    }


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

    def elsewhere(store: LocalStore) -> Track[int, object]:
        places = count()

        def search(number: int) -> object:
            return store.search(Query(vector=corpus.vectors[number], k=10))

        return Track(search, lambda: [next(places) * _STRIDE % corpus.n for _ in range(30)], _something)

    def worded(store: LocalStore) -> Track[str, object]:
        def search(text: str) -> object:
            return store.search(Query(text=text, mode="keyword", k=10))

        return Track(search, lambda: texts, _something)

    return {
        "add, durable": _medians({kind: adding(store) for kind, store in stores.items()}, rounds),
        "vector search": _medians({kind: near(store) for kind, store in stores.items()}, rounds),
        "vector, new hits": _medians({kind: elsewhere(store) for kind, store in stores.items()}, rounds),
        "keyword search": _medians({kind: worded(store) for kind, store in stores.items()}, rounds),
    }


def _opened(settings: Mapping[str, UnifiedSettings], corpus: Corpus, rounds: int) -> dict[str, float]:
    """Microseconds from nothing open to the first answer, by kind of store; the files are in the page cache."""

    def opening(chosen: UnifiedSettings) -> Track[int, LocalStore]:
        def first(number: int) -> LocalStore:
            store = open_store(chosen)
            assert store.search(Query(vector=corpus.queries[number], k=10)), "nothing came back"
            return store

        # What closes the store is not timed.
        return Track(first, lambda: [0], lambda _, store: store.close())

    return _medians({kind: opening(chosen) for kind, chosen in settings.items()}, rounds)


def _medians(tracks: Mapping[str, Track[T, A]], rounds: int) -> dict[str, float]:
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
