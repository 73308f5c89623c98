"""``python -m ums_core.bench consolidation PATH``: what is still found after what is alike was merged."""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from ums_core import Draft, LocalStore, Memory, Query, UnifiedSettings, open_store
from ums_core.bench.locomo_data import Conversation, Question, load
from ums_core.bench.metrics import recall_at_k
from ums_core.bench.report import print_table
from ums_core.errors import InvalidInput
from ums_core.pipeline.summarize import STRATEGIES

__all__ = ["Row", "add_arguments", "rows", "run"]

_DEPTH = 200
_RECENCY = (0.1, 0.3, 0.5)
_EPILOG = """\
PATH is LoCoMo's locomo10.json or a part of it. Every turn is one memory, as old as it is in the conversation; a day
after the last one the questions of categories 1 to 4 are asked, before and after the store is consolidated.

before       the default search, nothing merged
recency r    the same with Query(recency=r)
expanded     after consolidating, a summary that was hit read as the turns it was made of, in their order
excluded     after consolidating, the turns in the archive not counted: a summary stands for its session where all of
             its turns are of one, and for no turn
R@10         fraction of the gold turns among the first ten; sess R@10 the same over sessions, each by its best place"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is found in one way.

    Attributes:
        name: of the way.
        memories: alive in the store, on average over the conversations.
        questions: how many were asked.
        session_recall: at 10, mean over the questions.
        recall: of turns, likewise.
    """

    name: str
    memories: float
    questions: int
    session_recall: float
    recall: float


# Turns and sessions, each best first and once.
Found = tuple[list[str], list[str]]
Way = Callable[[LocalStore, Question], Found]


def rows(
    path: Path, *, thresholds: Sequence[float], strategy: str = "head2tail", embedder: str | None = None
) -> list[Row]:
    """One row a way of asking, before and after consolidating by each threshold.

    Raises:
        InvalidInput: the file cannot be used, or no question of it has usable evidence.
    """
    ways: dict[str, tuple[float | None, Way]] = {"before": (None, _asking())}
    ways |= {f"recency {share:g}": (None, _asking(recency=share)) for share in _RECENCY}
    for threshold in thresholds:
        ways[f"{threshold:g} expanded"] = (threshold, _asking(expand=True))
        ways[f"{threshold:g} excluded"] = (threshold, _asking())
    scores: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    sizes: dict[str, list[int]] = {name: [] for name in ways}
    for conversation in load(path).conversations:
        session_of = {turn.dia_id: turn.session for turn in conversation.turns}
        questions = [question for question in conversation.questions if question.category <= 4]  # noqa: PLR2004  # answerable
        for merged in (None, *thresholds):
            with _told(conversation, embedder) as store:
                if merged is not None:
                    store.consolidate(threshold=merged, strategy=strategy)
                for name, way in ((name, way) for name, (of, way) in ways.items() if of == merged):
                    sizes[name].append(store.count())
                    for question in questions:
                        turns, sessions = way(store, question)
                        gold = {session_of[turn] for turn in question.gold}
                        scores[name].append((recall_at_k(sessions, gold, 10), recall_at_k(turns, question.gold, 10)))
    if not scores["before"]:
        raise InvalidInput("no question has usable evidence; there is nothing to measure")
    return [
        Row(
            name=name,
            memories=float(np.mean(sizes[name])),
            questions=len(each),
            session_recall=float(np.mean([score[0] for score in each])),
            recall=float(np.mean([score[1] for score in each])),
        )
        for name, each in scores.items()
    ]


@contextmanager
def _told(conversation: Conversation, embedder: str | None) -> Iterator[LocalStore]:
    """A store that was told a conversation when it was said, a day after its end."""
    moments = [turn.occurred_at for turn in conversation.turns if turn.occurred_at is not None]
    now: datetime = max(moments) + timedelta(days=1)
    with tempfile.TemporaryDirectory(prefix="ums-bench-") as directory:
        settings = UnifiedSettings(
            database={"url": f"sqlite:///{directory}/memory.db"},
            model={} if embedder is None else {"embedder": embedder},
        )
        with open_store(settings, clock=lambda: now) as store:
            store.add(
                [
                    Draft(
                        text=turn.text.strip(),
                        caption=turn.caption or None,
                        id=turn.dia_id,
                        speaker=turn.speaker or None,
                        session=turn.session or None,
                        position=turn.position,
                        occurred_at=turn.occurred_at,
                        created_at=turn.occurred_at,
                    )
                    for turn in conversation.turns
                    if turn.text.strip() or turn.caption
                ]
            )
            yield store


def _asking(*, expand: bool = False, **options: object) -> Way:
    def way(store: LocalStore, question: Question) -> Found:
        hits = store.search(Query(text=question.text, k=_DEPTH, **options))  # type: ignore[arg-type]  # checked by Query
        found = [memory for hit in hits for memory in (_leaves(store, hit.memory) if expand else [hit.memory])]
        turns = dict.fromkeys(memory.id for memory in found if not memory.level)
        sessions = dict.fromkeys(memory.session for memory in found if memory.session is not None)
        return list(turns), list(sessions)

    return way


def _leaves(store: LocalStore, memory: Memory) -> list[Memory]:
    if not memory.level:
        return [memory]
    return [leaf for source in store.expand(memory.id) for leaf in _leaves(store, source)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare PATH and the options."""
    parser.epilog = _EPILOG
    parser.add_argument("path", metavar="PATH", type=Path, help="a JSON file in the format of locomo10.json")
    parser.add_argument(
        "--threshold", type=float, action="append", help="cosine of what is merged (0.8); may be given several times"
    )
    parser.add_argument("--strategy", choices=STRATEGIES, default="head2tail", help="of summaries (%(default)s)")
    parser.add_argument("--embedder", metavar="NAME", help="in place of the default one")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    result = rows(args.path, thresholds=args.threshold or [0.8], strategy=args.strategy, embedder=args.embedder)
    if args.json:
        print(json.dumps({"rows": [asdict(row) for row in result]}, indent=2))
        return 0
    lines = [_line(row) for row in result]
    print_table("LoCoMo, categories 1-4, before and after consolidating", ("", *_HEADERS), lines)
    return 0


_HEADERS = ("memories", "questions", "sess R@10", "R@10")


def _line(row: Row) -> Sequence[str]:
    numbers: Mapping[str, float] = {"session": row.session_recall, "turn": row.recall}
    return (row.name, f"{row.memories:.0f}", str(row.questions), *(f"{100 * value:.1f}" for value in numbers.values()))
