"""The contestants of one size, filled one after the other and then standing side by side."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ums_core import Draft
from ums_core.bench.chroma import Chroma
from ums_core.bench.reference import Reference
from ums_core.bench.store_contest import Contestant, Ours
from ums_core.bench.store_data import Corpus, make_corpus
from ums_core.bench.store_rows import Goals, Plan, Row
from ums_core.bench.store_timing import once

__all__ = ["THREADS", "Say", "Stage", "add_block", "busy_pool", "killed_rows", "prepared", "reach"]

Say = Callable[[str], None]

THREADS = 8
_BATCH = 1000
_INGESTS = 3
_WARM = 100
# Up to this size, everything is filled several times.
_REPEATED = 10_000
_ONE_BATCH, _NO_TERMS = "ours in one batch", "reference without terms"
_ANSWER = "ours to a first answer"


@dataclass(slots=True)
class Stage:
    """One size.

    Attributes:
        directory: where ours lies, and nothing else.
        chroma: None where it does not take part.
    """

    plan: Plan
    corpus: Corpus
    directory: Path
    ours: Ours
    reference: Reference
    chroma: Chroma | None
    _taken: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    @property
    def n(self) -> int:
        """How many rows each started with."""
        return self.corpus.n

    @property
    def contestants(self) -> dict[str, Contestant]:
        """Those who take part, by name."""
        both: dict[str, Contestant] = {"ours": self.ours, "reference": self.reference}
        return both if self.chroma is None else {**both, "chroma": self.chroma}

    def held(self, name: str) -> int:
        """How many rows a contestant must hold now."""
        return self.n + self._taken[name]

    def take(self, name: str, count: int) -> list[Draft]:
        """The next drafts that a contestant has not stored yet."""
        start = self.n + self._taken[name]
        self._taken[name] += count
        drafts = self.corpus.drafts[start : start + count]
        assert len(drafts) == count, f"{name} has used up the rows to add"
        return drafts


def reach(goals: dict[int, float], n: int) -> float | None:
    """The goal of the largest size that is at most ``n``; None below all of them."""
    return goals.get(max((size for size in goals if size <= n), default=-1))


def add_block(n: int) -> tuple[int, int]:
    """How many rows one thread adds in a round, and each of several threads: few beside those that are there."""
    return max(10, min(100, n // 50)), max(4, min(25, n // 200))


def busy_pool(n: int) -> int:
    """How many rows are added while others search, before they are taken out again."""
    return max(200, min(2000, n // 4))


def killed_rows(n: int) -> int:
    """How many rows a process adds before it is killed."""
    return min(500, n // 2)


@contextmanager
def prepared(plan: Plan, n: int, say: Say) -> Iterator[tuple[Stage, list[Row]]]:
    """All contestants with ``n`` rows each, and what filling them cost; nothing is left of them afterwards.

    Raises:
        AssertionError: one of them does not hold what it was given.
    """
    say(f"{n}: data")
    one, each = add_block(n)
    extra = max(killed_rows(n), (plan.rounds + 1) * (one + THREADS * each) + busy_pool(n))
    corpus = make_corpus(n, extra=extra, queries=plan.queries, dim=plan.dim, seed=plan.seed)
    with ExitStack() as cleanup:
        root = Path(cleanup.enter_context(TemporaryDirectory(prefix="ums-bench-")))
        filled, times = _fill(plan, corpus, root, say, cleanup)
        ours, reference, chroma = filled["ours"], filled["reference"], filled.get("chroma")
        assert isinstance(ours, Ours)
        assert isinstance(reference, Reference)
        assert isinstance(chroma, Chroma | None)
        for kind in {"graph", plan.native(n)} - reference.kinds:
            reference.build(kind)
        stage = Stage(plan, corpus, ours.directory, ours, reference, chroma)
        cleanup.callback(lambda: stage.ours.close())  # noqa: PLW0108  # whatever stands there by then
        yield stage, _rows(plan, n, times) if "ingest" in plan.only else []


def _fill(
    plan: Plan, corpus: Corpus, root: Path, say: Say, cleanup: ExitStack
) -> tuple[dict[str, Contestant], dict[str, list[float]]]:
    """The last of each that was filled, by name, and the seconds of every time."""
    drafts = corpus.drafts[: corpus.n]
    batches = [drafts[start : start + _BATCH] for start in range(0, corpus.n, _BATCH)]
    for name, make in _makers(plan, corpus.n, first=True).items():
        directory = root / f"{name} warm"
        directory.mkdir()
        with closing(make(directory)) as contestant:
            contestant.ingest([drafts[:_WARM]])
    filled: dict[str, Contestant] = {}
    times: dict[str, list[float]] = defaultdict(list)
    for number in range(min(_INGESTS, plan.rounds) if "ingest" in plan.only and corpus.n <= _REPEATED else 1):
        for name, make in _makers(plan, corpus.n, first=not number).items():
            say(f"{corpus.n}: fill {name}")
            if name in filled:
                filled.pop(name).close()
            directory = root / f"{name} {number}"
            directory.mkdir()
            contestant = make(directory)
            cleanup.callback(contestant.close)
            work = partial(_ingest, contestant, [drafts] if name == _ONE_BATCH else batches, corpus, plan)
            times[name].append(once(work)[0])
            assert contestant.count() == corpus.n, f"{name} holds {contestant.count()} of {corpus.n} rows"
            filled[name] = contestant
    for name in (_ONE_BATCH, _ANSWER, _NO_TERMS):
        if name in filled:
            filled.pop(name).close()
    return filled, times


def _makers(plan: Plan, n: int, *, first: bool) -> dict[str, Callable[[Path], Contestant]]:
    makers: dict[str, Callable[[Path], Contestant]] = {
        "ours": partial(Ours, dim=plan.dim),
        "reference": partial(Reference, dim=plan.dim),
    }
    if "ingest" in plan.only:
        makers[_ONE_BATCH] = partial(Ours, dim=plan.dim)
        makers[_ANSWER] = partial(Ours, dim=plan.dim, settle=False)
        makers[_NO_TERMS] = partial(Reference, dim=plan.dim, terms=False)
    if first and n <= plan.chroma_max:
        makers["chroma"] = Chroma
    return makers


def _ingest(contestant: Contestant, batches: Sequence[Sequence[Draft]], corpus: Corpus, plan: Plan) -> None:
    contestant.ingest(batches)
    if isinstance(contestant, Reference) and plan.native(corpus.n) == "graph":
        contestant.build_from("graph", corpus.vectors[: corpus.n])


def _rows(plan: Plan, n: int, times: dict[str, list[float]]) -> list[Row]:
    took = {name: float(np.median(all_)) for name, all_ in times.items()}
    limit = 1.3 if plan.native(n) == "flat" else reach({100_000: 1.2}, n)
    goals = Goals(reference=limit)
    chroma = took.get("chroma")
    beside_chroma = Goals(chroma=10.0 if n == _REPEATED else None)

    return [
        Row(what=what, n=n, unit="s", ours=took[ours], reference=took.get(reference), chroma=chroma, goals=goals)
        for what, ours, reference, goals in (
            ("ingest, batches of 1,000", "ours", "reference", goals),
            ("ingest, one batch", _ONE_BATCH, "reference", goals),
            ("ingest, beside no keyword terms", "ours", _NO_TERMS, Goals()),
            ("ingest to a first answer", _ANSWER, "", beside_chroma),
        )
    ]
