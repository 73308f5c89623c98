"""``python -m ums_core.bench locomo PATH``: does a search find the turns that answer the question?

Retrieval only, without an LLM and without the network. Every contestant ranks the turns of one conversation for each
of its questions; the first 200 count, so MRR is that of the first 200.
"""

import argparse
import json
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from ums_core.bench.locomo_data import Conversation, Dataset, Question, load
from ums_core.bench.metrics import (
    any_at_k,
    ndcg_at_k,
    recall_at_k,
    reciprocal_rank,
    session_ranking,
    session_recall_at_k,
)
from ums_core.bench.quality import evaluate
from ums_core.bench.rankers import DEPTH, DRAWS, Bm25Ranker, RandomRanker, Ranker, RrfRanker, UmsRanker
from ums_core.bench.report import Bar, Interval, interval, plot, print_table
from ums_core.errors import InvalidInput

__all__ = ["Row", "add_arguments", "contestants", "rows", "run"]

ANSWERABLE = (1, 2, 3, 4)
ADVERSARIAL = (5,)
GRANULARITIES = ("turn", "session")
_EPILOG = """\
PATH is LoCoMo's locomo10.json or a part of it. The data are CC BY-NC 4.0 and do not come with UMS:
https://github.com/snap-research/locomo

rows: ums on categories 1-4, on 5, and on each of 1 to 4, once an embedder; the others on 1-4 and on 5:
  vector     the same store by vectors alone            keyword  by words alone
  z-scores   both, without the place in a conversation  rrf      vector and bm25 by their ranks, the usual default
  reranked   ums with a cross-encoder on the best twenty, where --cross-encoder names one
  bm25       a library's BM25 over date, speaker, text and caption
  random     the mean of ten orders
categories: 1 multi-hop, 2 temporal, 3 open-domain, 4 single-hop, 5 adversarial
R@k: fraction of the gold turns among the first k; any@10: share of questions with at least one of them there
sess R@k: the same over sessions, each ranked by its best turn
+-: half the 95 % interval of R@10, by drawing the questions anew; JSON has the interval of every measure
Questions without usable evidence are skipped and counted on stderr."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one contestant reached on the questions of some categories.

    Attributes:
        means: mean over the questions by name of the measure, in [0, 1].
        intervals: where each of them lies with 95 % confidence.
    """

    name: str
    granularity: str
    categories: tuple[int, ...]
    questions: int
    means: dict[str, float]
    intervals: dict[str, Interval]

    def as_json(self) -> dict[str, object]:
        """One flat object."""
        return {
            "name": self.name,
            "granularity": self.granularity,
            "categories": list(self.categories),
            "questions": self.questions,
            **self.means,
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
        }


_Measure = Callable[[Sequence[str], Collection[str], dict[str, str]], float]
_MEASURES: dict[str, _Measure] = {
    "recall@5": lambda ranking, gold, _: recall_at_k(ranking, gold, 5),
    "recall@10": lambda ranking, gold, _: recall_at_k(ranking, gold, 10),
    "recall@20": lambda ranking, gold, _: recall_at_k(ranking, gold, 20),
    "any@5": lambda ranking, gold, _: any_at_k(ranking, gold, 5),
    "any@10": lambda ranking, gold, _: any_at_k(ranking, gold, 10),
    "any@20": lambda ranking, gold, _: any_at_k(ranking, gold, 20),
    "ndcg@10": lambda ranking, gold, _: ndcg_at_k(ranking, gold, 10),
    "mrr": lambda ranking, gold, _: reciprocal_rank(ranking, gold),
    "session_recall@5": lambda ranking, gold, session_of: session_recall_at_k(ranking, gold, session_of, 5),
    "session_recall@10": lambda ranking, gold, session_of: session_recall_at_k(ranking, gold, session_of, 10),
}
_SHOWN = {
    "recall@5": "R@5",
    "recall@10": "R@10",
    "recall@20": "R@20",
    "any@10": "any@10",
    "ndcg@10": "nDCG@10",
    "mrr": "MRR",
    "session_recall@5": "sess R@5",
    "session_recall@10": "sess R@10",
}
_PLOTTED = ("recall@5", "recall@10", "recall@20", "any@10", "ndcg@10", "session_recall@5")


def contestants(embedders: Sequence[str | None], cross_encoder: str | None = None) -> dict[str, Ranker]:
    """Who stands beside chance and BM25: the store by each embedder, asked in several ways.

    Args:
        embedders: names as in the settings; None is the default one.
        cross_encoder: name or folder; None for none.
    """
    found: dict[str, Ranker] = {}
    for name in embedders:
        ours = UmsRanker(name, cross_encoder=cross_encoder)
        mark = f" {name}" if len(embedders) > 1 else ""
        found[f"ums{mark}"] = ours
        if cross_encoder is not None:
            found[f"reranked{mark}"] = ours.view(use_cross_encoder=True)
        if name != "none":
            vector = ours.view(mode="vector")
            found[f"vector{mark}"] = vector
            found[f"z-scores{mark}"] = ours.view(kind="notes")
            found[f"rrf{mark}"] = RrfRanker(vector, Bm25Ranker())
        if name == embedders[0]:
            found["keyword"] = ours.view(mode="keyword")
    return found


def rows(
    dataset: Dataset, ours: Mapping[str, Ranker], *, granularity: str = "turn", progress: TextIO | None = None
) -> list[Row]:
    """One row a contestant and set of categories, ours first; a set without a question has no row.

    Args:
        dataset: see :func:`ums_core.bench.locomo_data.load`.
        ours: what the baselines stand beside; those whose names begin with ``ums`` on each category as well.
        granularity: what is gold and retrieved, ``turn`` or ``session``; a session ranks by its best turn.
        progress: where a bar is drawn if it is a terminal.

    Raises:
        MissingExtra: bm25s is not installed.
        InvalidInput: no question of the data has usable evidence.
    """
    everyone: dict[str, list[Ranker]] = {name: [ranker] for name, ranker in ours.items()}
    everyone |= {"random": [RandomRanker(seed) for seed in range(DRAWS)], "bm25": [Bm25Ranker()]}
    questions = [question for conversation in dataset.conversations for question in conversation.questions]
    if not questions:
        raise InvalidInput("no question has usable evidence; there is nothing to measure")
    bar = Bar(len(questions) * sum(map(len, everyone.values())), progress)
    scored = evaluate(
        [(conversation, conversation.questions) for conversation in dataset.conversations],
        everyone,
        lambda question: question.text,
        lambda question, ranking, conversation: _score(question, ranking, conversation, granularity),
        bar,
    )
    categories = np.array([question.category for question in questions])
    pairs = (ANSWERABLE, ADVERSARIAL)
    out: list[Row] = []
    for name, values in scored.items():
        splits = (*pairs, *((category,) for category in ANSWERABLE)) if name.startswith("ums") else pairs
        for split in splits:
            chosen = values[np.isin(categories, split)]
            if len(chosen):
                means = chosen.mean(axis=0).tolist()
                row = Row(
                    name=name,
                    granularity=granularity,
                    categories=split,
                    questions=len(chosen),
                    means=dict(zip(_MEASURES, means, strict=True)),
                    intervals=dict(zip(_MEASURES, interval(chosen), strict=True)),
                )
                out.append(row)
    return out


def _score(
    question: Question, ranking: Sequence[str], conversation: Conversation, granularity: str
) -> tuple[float, ...]:
    session_of = {turn.dia_id: turn.session for turn in conversation.turns}
    gold: Collection[str] = question.gold
    if granularity == "session":
        ranking = session_ranking(ranking, session_of)
        gold = {session_of[turn] for turn in question.gold}
        session_of = {session: session for session in session_of.values()}
    return tuple(measure(ranking, gold, session_of) for measure in _MEASURES.values())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare PATH and the options."""
    parser.epilog = _EPILOG
    parser.add_argument("path", metavar="PATH", type=Path, help="a JSON file in the format of locomo10.json")
    parser.add_argument(
        "--granularity", choices=GRANULARITIES, default="turn", help="what is retrieved (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help='print {"rows": [...]}, fractions from 0 to 1')
    parser.add_argument("--plot", metavar="FILE", type=Path, help="draw categories 1-4 as bars, such as locomo.png")
    parser.add_argument(
        "--embedder", metavar="NAME", action="append", help="in place of the default one; may be given several times"
    )
    parser.add_argument("--cross-encoder", metavar="NAME_OR_PATH", help="rerank by it as well")


def run(args: argparse.Namespace) -> int:
    """Measure, print the rows on stdout, and say on stderr what was skipped.

    Raises:
        InvalidInput: the file or the embedder cannot be used.
        MissingExtra: a package is not installed.
    """
    dataset = load(args.path)
    ours = contestants(args.embedder or [None], args.cross_encoder)
    result = rows(dataset, ours, granularity=args.granularity, progress=sys.stderr)
    print(dataset.skipped, file=sys.stderr)
    title = f"LoCoMo, {args.granularity}s, the first {DEPTH} ranked"
    if args.json:
        print(json.dumps({"rows": [row.as_json() for row in result]}, indent=2))
    else:
        _print(title, result)
    if args.plot is not None:
        chosen = [row for row in result if row.categories == ANSWERABLE]
        plot(
            args.plot,
            title,
            {row.name: {name: (row.means[name], row.intervals[name]) for name in _PLOTTED} for row in chosen},
        )
    return 0


def _print(title: str, result: Sequence[Row]) -> None:
    headers = ("", "categories", "questions", *_SHOWN.values(), "+-")
    lines = []
    for row in result:
        low, high = row.intervals["recall@10"]
        numbers = [*(row.means[name] for name in _SHOWN), (high - low) / 2]
        lines.append(
            (row.name, ", ".join(map(str, row.categories)), str(row.questions), *(f"{x:.3f}" for x in numbers))
        )
    print_table(title, headers, lines)
