"""``mem-bench dialogue``: what a store that forgets and summarises still knows of a conversation over months."""

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from ums_core import Draft, LocalStore, Memory, Query, UnifiedSettings, open_store
from ums_core.bench.dialogue_data import START, Fact, Turn, conversation
from ums_core.bench.report import draw, new_figure, print_table
from ums_core.errors import InvalidInput, MemoryNotFound
from ums_core.pipeline.summarize import STRATEGIES
from ums_core.ranking.sentences import sentences
from ums_core.settings.database import url_of

__all__ = ["Options", "Report", "add_arguments", "play", "run"]

_MONTH = timedelta(days=30)
_LONGEST, _MOST = 1200, 1_000_000
_EPILOG = """\
A conversation is made up, the same for the same seed: facts are stated, repeated, corrected and contradicted, and there
is talk. It is told twice: to a store that keeps everything, and to one that is maintained once a simulated month
(consolidated, then forgetting down to the retained fraction). Then each fact is asked for.

recall       share of the facts whose current answer is in one of the first k hits
expanded     the same, the sources of summaries that were hit read as well
forgotten    share of the facts that neither gives
superseded   share of the corrected facts of which a hit gives a former answer
contradicted share of the contradicted ones whose former answer comes before the current one
A correction is given to the store as one (supersede); a contradiction is only said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is told, and how the store is maintained."""

    turns: int = 50
    months: float = 6.0
    seed: int = 0
    strategy: str = "head2tail"
    retain_fraction: float = 0.8
    threshold: float = 0.8
    k: int = 5
    embedder: str = "static"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one store knows at the end.

    Attributes:
        store: ``everything`` or ``maintained``.
        ages: recall by the age of the facts, in months since each was last said, begun ones included.
        facts: how many there are at each of those ages.
        memories: how many are alive.
        archived: how many are in the archive, of the superseded, the merged and the forgotten.
        bytes: of the database, closed.
    """

    store: str
    recall: float
    expanded: float
    forgotten: float
    superseded: float
    contradicted: float
    ages: dict[int, float]
    facts: dict[int, int]
    memories: int
    archived: int
    bytes: int


@dataclass(slots=True)
class _Truth:
    """What is known of a fact: the id of the memory that tells it, its answers, and when it was last said."""

    id: str
    value: str
    at: datetime
    corrected: set[str] = field(default_factory=set)
    contradicted: set[str] = field(default_factory=set)


class _Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def play(options: Options, *, maintained: bool) -> Report:
    """Tell the conversation to a store, and ask it.

    Args:
        options: what is told.
        maintained: whether the store is maintained once a month, or keeps everything.
    """
    clock = _Clock()
    with TemporaryDirectory(prefix="ums-dialogue-") as directory:
        path = Path(directory) / "memory.db"
        settings = UnifiedSettings.for_testing(
            database={"url": url_of(path)}, model={"embedder": options.embedder}, summary_strategy=options.strategy
        )
        with open_store(settings, clock=clock) as store:
            known: dict[Fact, _Truth] = {}
            due = START + _MONTH
            for place, turn in enumerate(conversation(options.turns, months=options.months, seed=options.seed)):
                while maintained and turn.at >= due:
                    clock.now = due
                    _maintain(store, options)
                    due += _MONTH
                clock.now = turn.at
                _hear(store, turn, place, known)
            clock.now = START + options.months * _MONTH
            if maintained:
                _maintain(store, options)
            report = _measure(store, known, clock.now, options.k)
        # As it is on the disk, with what was archived in it.
        name = "maintained" if maintained else "everything"
        return replace(report, store=name, bytes=path.stat().st_size)


def _hear(store: LocalStore, turn: Turn, place: int, known: dict[Fact, _Truth]) -> None:
    draft = Draft(text=turn.text, importance=turn.importance, session=f"{turn.at:%Y-%m-%d}", position=place)
    if turn.fact is None:
        store.add([draft])
        return
    truth = known.get(turn.fact)
    if truth is None:
        known[turn.fact] = _Truth(store.add([draft])[0].id, turn.value, turn.at)
        return
    truth.at = turn.at
    if turn.kind == "repeated" and store.reinforce([truth.id]):
        return
    if turn.kind == "corrected":
        truth.corrected.add(truth.value)
        truth.contradicted.discard(turn.value)
        truth.corrected.discard(turn.value)
        truth.id = _superseded(store, truth.id, draft)
    else:
        if turn.kind == "contradicted":
            truth.contradicted.add(truth.value)
            truth.contradicted.discard(turn.value)
            truth.corrected.discard(turn.value)
        truth.id = store.add([draft])[0].id
    truth.value = turn.value


def _superseded(store: LocalStore, id_: str, draft: Draft) -> str:
    """The id of the correction; where what it corrects was merged or forgotten, it is told like anything else."""
    try:
        return store.supersede(id_, draft).id
    except MemoryNotFound:
        return store.add([draft])[0].id


def _maintain(store: LocalStore, options: Options) -> None:
    store.consolidate(threshold=options.threshold)
    store.forget(retain_fraction=options.retain_fraction)


def _measure(store: LocalStore, known: Mapping[Fact, _Truth], now: datetime, k: int) -> Report:
    found: list[bool] = []
    expanded: list[bool] = []
    superseded: list[bool] = []
    contradicted: list[bool] = []
    by_age: dict[int, list[bool]] = defaultdict(list)
    for fact, truth in known.items():
        hits = [hit.memory for hit in store.search(Query(text=fact.question, k=k))]
        sources = [source for memory in hits if memory.level for source in store.expand(memory.id)]
        direct = any(_says(memory, fact, {truth.value}) for memory in hits)
        found.append(direct)
        expanded.append(direct or any(_says(memory, fact, {truth.value}) for memory in sources))
        by_age[(now - truth.at) // _MONTH].append(expanded[-1])
        if truth.corrected:
            superseded.append(any(_says(memory, fact, truth.corrected) for memory in hits))
        if truth.contradicted:
            order = [
                _says(memory, fact, truth.contradicted) and not _says(memory, fact, {truth.value}) for memory in hits
            ]
            current = next((n for n, memory in enumerate(hits) if _says(memory, fact, {truth.value})), len(hits))
            contradicted.append(any(order[:current]))
    everything = store.search(Query(text="anything", mode="vector", k=10**6, include_archived=True))
    return Report(
        store="",
        recall=_share(found),
        expanded=_share(expanded),
        forgotten=1.0 - _share(expanded),
        superseded=_share(superseded),
        contradicted=_share(contradicted),
        ages={age: _share(by_age[age]) for age in sorted(by_age)},
        facts={age: len(by_age[age]) for age in sorted(by_age)},
        memories=store.count(),
        archived=sum(hit.memory.archived is not None for hit in everything),
        bytes=0,
    )


def _says(memory: Memory, fact: Fact, values: set[str]) -> bool:
    """Whether a sentence of the memory names the person and one of the answers."""
    told = [memory.text[start:end] for start, end in sentences(memory.text)]
    return any(fact.who in sentence and value in sentence for sentence in told for value in values)


def _share(of: Sequence[bool]) -> float:
    return sum(of) / len(of) if of else 0.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    default = Options()
    parser.epilog = _EPILOG
    parser.add_argument("--turns", type=int, default=default.turns, help="how many turns (%(default)s)")
    parser.add_argument("--months", type=float, default=default.months, help="over how many months (%(default)s)")
    parser.add_argument("--seed", type=int, default=default.seed, help="of the conversation (%(default)s)")
    parser.add_argument("--strategy", choices=STRATEGIES, default=default.strategy, help="of summaries (%(default)s)")
    parser.add_argument(
        "--retain-fraction", type=float, default=default.retain_fraction, help="kept each month (%(default)s)"
    )
    parser.add_argument(
        "--threshold", type=float, default=default.threshold, help="cosine of what is merged (%(default)s)"
    )
    parser.add_argument("-k", type=int, default=default.k, help="hits a question (%(default)s)")
    parser.add_argument("--embedder", default=default.embedder, help="as in the settings (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw recall against age, such as recall.png")


def run(args: argparse.Namespace) -> int:
    """Tell, ask, print."""
    options = Options(
        turns=args.turns,
        months=args.months,
        seed=args.seed,
        strategy=args.strategy,
        retain_fraction=args.retain_fraction,
        threshold=args.threshold,
        k=args.k,
        embedder=args.embedder,
    )
    if not 1 <= options.turns <= _MOST or not 0 < options.months <= _LONGEST:
        raise InvalidInput(
            f"there must be a turn and some time, at most {_MOST} turns and {_LONGEST} months, got {options.turns} "
            f"turns in {options.months} months"
        )
    reports = [play(options, maintained=False), play(options, maintained=True)]
    if args.plot is not None:
        _plot(args.plot, options, reports)
    if args.json:
        print(json.dumps({"options": asdict(options), "reports": [asdict(report) for report in reports]}, indent=2))
        return 0
    _print(options, reports)
    return 0


def _print(options: Options, reports: Sequence[Report]) -> None:
    measures = ("recall", "expanded", "forgotten", "superseded", "contradicted")
    print_table(
        f"{options.turns} turns in {options.months:g} months, seed {options.seed}, first {options.k} hits, per cent",
        ("store", *measures, "memories", "archived", "KiB"),
        [
            (
                report.store,
                *(f"{100 * getattr(report, measure):.1f}" for measure in measures),
                str(report.memories),
                str(report.archived),
                str(report.bytes // 1024),
            )
            for report in reports
        ],
    )
    ages = sorted({age for report in reports for age in report.ages})
    print_table(
        "recall (expanded) by months since the fact was last said",
        ("store", *(f"{age}-{age + 1}" for age in ages)),
        [
            ("facts", *(str(reports[0].facts[age]) for age in ages)),
            *((report.store, *(f"{100 * report.ages[age]:.1f}" for age in ages)) for report in reports),
        ],
    )


def _plot(path: Path, options: Options, reports: Sequence[Report]) -> None:
    figure = new_figure(6)
    axes = figure.subplots()
    for report in reports:
        axes.plot([age + 0.5 for age in report.ages], list(report.ages.values()), marker="o", label=report.store)
    axes.set_xlabel("months since the fact was last said")
    axes.set_ylabel(f"recall@{options.k}, sources of summaries included")
    axes.set_ylim(0, 1.05)
    axes.set_title(f"{options.turns} turns, {options.strategy}, {options.retain_fraction:g} retained a month")
    axes.legend()
    draw(figure, path)
