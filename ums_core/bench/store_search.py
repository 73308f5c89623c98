"""How long a search takes: alone, in a part of the rows, and while rows are added."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import cycle

import numpy as np
import numpy.typing as npt

from ums_core import Draft, LocalStore
from ums_core.bench.store_contest import Contestant, K, accuracy, check_found
from ums_core.bench.store_data import EVERYTHING, SCOPES, Corpus, Scope
from ums_core.bench.store_rows import Goals, Kind, Row
from ums_core.bench.store_stage import Say, Stage, busy_pool, reach
from ums_core.bench.store_timing import Track, interleave, once

__all__ = ["busy_rows", "filter_rows", "search_rows"]

_RECALL = 0.98
_FEW = 0.01
# Chroma answers fewer queries in a round than the others: its restricted searches take tens of milliseconds.
_CHROMA_QUERIES = 20
_BUSY = ("busy",)

Search = Callable[[npt.NDArray[np.float32], Scope], object]
Asked = Track[int, object]


class _Questions:
    """The queries of a corpus in one scope, and how well each contestant answered them.

    Args:
        corpus: its queries fill a whole number of blocks.
        scope: what all of them are restricted to.
        block: how many are asked in a round; None is all, in every round.
    """

    def __init__(self, corpus: Corpus, scope: Scope, block: int | None = None) -> None:
        self._corpus = corpus
        self._scope = scope
        self._block = len(corpus.queries) if block is None else block
        self._truth = corpus.truth(scope, K)
        self._recalls: dict[str, list[float]] = defaultdict(list)

    def track(self, name: str, contestant: Contestant, search: Search | None = None) -> Asked:
        """The queries of the next block in each round, of which Chroma has the first ones.

        ``search`` stands in for the contestant's own.
        """
        count = min(_CHROMA_QUERIES, self._block) if name == "chroma" else self._block
        starts = cycle(range(0, len(self._truth), self._block))
        ask = search or contestant.search
        queries, scope = self._corpus.queries, self._scope

        def check(number: int, answer: object) -> None:
            rows = check_found(contestant.found(answer), queries[number], scope, self._corpus)
            assert name != "ours" or len(rows) == len(self._truth[number]), f"{scope.name}: rows are missing"
            self._recalls[name].append(accuracy(rows, queries[number], self._truth[number], self._corpus))

        return Track(
            lambda number: ask(queries[number], scope), lambda: range(start := next(starts), start + count), check
        )

    def recall(self, name: str) -> float | None:
        """Mean recall@10 of all answers, None of a contestant that was not asked."""
        return float(np.mean(self._recalls[name])) if name in self._recalls else None


def search_rows(stage: Stage, say: Say) -> list[Row]:
    """A search of everything. Ours below the crossover stands beside the faster of both kinds of FAISS index."""
    say(f"{stage.n}: search")
    known = _Questions(stage.corpus, EVERYTHING)
    rows = _beside(stage, known, {"search p50": 50, "search p95": 95})
    say(f"{stage.n}: search, new questions")
    block, blocks = stage.plan.queries, stage.plan.rounds + 1
    new = _Questions(stage.corpus.asked_anew(block * blocks), EVERYTHING, block)
    return [*rows, *_beside(stage, new, {"search, new questions": 50})]


def _beside(stage: Stage, asked: _Questions, percentiles: Mapping[str, int]) -> list[Row]:
    """What every contestant takes for these questions: a row for each percentile, by its name."""
    kinds: tuple[Kind, ...] = ("graph",) if stage.plan.native(stage.n) == "graph" else ("flat", "graph")
    tracks = {"ours": asked.track("ours", stage.ours)}
    tracks |= {kind: asked.track(kind, stage.reference, partial(stage.reference.search, kind=kind)) for kind in kinds}
    if stage.chroma is not None:
        tracks["chroma"] = asked.track("chroma", stage.chroma)
    times = interleave(tracks, stage.plan.rounds)
    best = min(kinds, key=lambda kind: times[kind].us(50))
    goals = Goals(reference=1.5, chroma=reach({10_000: 5.0, 100_000: 4.0}, stage.n), recall=_RECALL)
    return [
        Row(
            what=what,
            n=stage.n,
            ours=times["ours"].us(percentile),
            reference=times[best].us(percentile),
            chroma=times["chroma"].us(percentile) if "chroma" in times else None,
            recall=asked.recall("ours"),
            reference_recall=asked.recall(best),
            chroma_recall=asked.recall("chroma"),
            goals=goals,
        )
        for what, percentile in percentiles.items()
    ]


def filter_rows(stage: Stage, say: Say) -> list[Row]:
    """A search of each scope, and the first search of it; the reference has a flat index of each."""
    rows: list[Row] = []
    whole = _Questions(stage.corpus, EVERYTHING)
    for scope in SCOPES:
        say(f"{stage.n}: {scope.name}")
        stage.reference.set_aside(scope)
        part = _Questions(stage.corpus, scope)
        scoped = part.track("ours", stage.ours)
        first_s, answer = once(partial(scoped.call, 0))
        scoped.check(0, answer)
        tracks = {"whole": whole.track("ours", stage.ours)}
        tracks |= {name: part.track(name, contestant) for name, contestant in stage.contestants.items()}
        times = interleave(tracks, stage.plan.rounds)
        goals = Goals(base=2.0 if scope.share == _FEW else 4.0, chroma=reach({10_000: 20.0}, stage.n), recall=_RECALL)
        rows.append(
            Row(
                what=f"{scope.name} p50",
                n=stage.n,
                ours=times["ours"].us(50),
                reference=times["reference"].us(50),
                chroma=times["chroma"].us(50) if "chroma" in times else None,
                base=times["whole"].us(50),
                base_name="unrestricted",
                recall=part.recall("ours"),
                reference_recall=part.recall("reference"),
                chroma_recall=part.recall("chroma"),
                goals=goals,
            )
        )
        rows.append(Row(what=f"{scope.name}, first", n=stage.n, ours=first_s * 1e6))
    return rows


def busy_rows(stage: Stage, say: Say) -> list[Row]:
    """A search while another thread adds rows without a pause, beside a search while nothing else happens."""
    say(f"{stage.n}: search while adding")
    asked = _Questions(stage.corpus, EVERYTHING)
    drafts = [replace(draft, namespace=_BUSY) for draft in stage.take("ours", busy_pool(stage.n))]
    plain = asked.track("ours", stage.ours)
    with _adder(stage.ours.store, drafts) as adder:

        def idle() -> Sequence[int]:
            adder.stop()
            stage.ours.store.settle()
            return plain.block()

        def busy() -> Sequence[int]:
            adder.start()
            return plain.block()

        times = interleave({"idle": replace(plain, block=idle), "busy": replace(plain, block=busy)}, stage.plan.rounds)
    recall = asked.recall("ours")
    return [
        Row(
            what=f"search while adding p{percentile}",
            n=stage.n,
            ours=times["busy"].us(percentile),
            base=times["idle"].us(percentile),
            base_name="idle",
            recall=recall,
            goals=goals,
        )
        for percentile, goals in ((50, Goals(recall=_RECALL)), (95, Goals(base=3.0, recall=_RECALL)))
    ]


class _Adder:
    """Adds rows one by one on a thread of its own, all of them again and again, until it is stopped."""

    def __init__(self, store: LocalStore, drafts: Sequence[Draft], pool: ThreadPoolExecutor) -> None:
        self._store = store
        self._drafts = drafts
        self._pool = pool
        self._added: list[str] = []
        self._adding = threading.Event()
        self._enough = threading.Event()
        self._future: Future[None] | None = None

    def start(self) -> None:
        """Return when the first row is in."""
        self._adding.clear()
        self._enough.clear()
        self._future = self._pool.submit(self._run)
        self._adding.wait()

    def stop(self) -> None:
        """Return when the last row is in; raise what went wrong on the way. Idle, it does nothing."""
        self._enough.set()
        if self._future is not None:
            self._future.result()

    def _run(self) -> None:
        try:
            while not self._enough.is_set():
                if len(self._added) == len(self._drafts):
                    self._store.delete(self._added, namespace=_BUSY)
                    self._added = []
                (memory,) = self._store.add([self._drafts[len(self._added)]])
                self._added.append(memory.id)
                self._adding.set()
        finally:
            # Also after an error, which stop() raises: start() must not wait for ever.
            self._adding.set()


@contextmanager
def _adder(store: LocalStore, drafts: Sequence[Draft]) -> Iterator[_Adder]:
    with ThreadPoolExecutor(1) as pool:
        adder = _Adder(store, drafts, pool)
        try:
            yield adder
        finally:
            adder.stop()
