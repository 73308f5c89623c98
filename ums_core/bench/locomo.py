"""``python -m ums_core.bench locomo PATH``: does a search find the turns that answer the question?

Retrieval only, without an LLM and without the network. Every contestant ranks the turns of one conversation for each
of its questions; the first 200 count, so MRR is that of the first 200.
"""

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TextIO

import numpy as np

from ums_core import Draft, MemoryStore, Query, UnifiedSettings, open_store
from ums_core.bench.locomo_data import Conversation, Dataset, Question, Turn, load
from ums_core.bench.metrics import (
    any_at_k,
    ndcg_at_k,
    recall_at_k,
    reciprocal_rank,
    session_ranking,
    session_recall_at_k,
)
from ums_core.errors import InvalidInput, MissingExtra

__all__ = ["Bm25Ranker", "RandomRanker", "Ranker", "Row", "UmsRanker", "add_arguments", "rows", "run"]

DEPTH = 200
DRAWS = 10
ANSWERABLE = (1, 2, 3, 4)
ADVERSARIAL = (5,)
GRANULARITIES = ("turn", "session")
_EPILOG = """\
PATH is LoCoMo's locomo10.json or a part of it. The data are CC BY-NC 4.0 and do not come with UMS:
https://github.com/snap-research/locomo

rows, in this order: ums on categories 1-4, on 5, and on each of 1 to 4; random and bm25 on 1-4 and on 5
categories: 1 multi-hop, 2 temporal, 3 open-domain, 4 single-hop, 5 adversarial
R@k: fraction of the gold turns among the first k; any@10: share of questions with at least one of them there
sess R@k: the same over sessions, each ranked by its best turn
Questions without usable evidence are skipped and counted on stderr."""


class Ranker(Protocol):
    """Ranks the turns of one conversation at a time."""

    def prepare(self, conversation: Conversation) -> None:
        """Take up a conversation in place of the last one."""
        ...

    def rank(self, question: str) -> list[str]:
        """Distinct dia_ids of the conversation, best first; at most ``DEPTH`` of them count."""
        ...

    def close(self) -> None:
        """Let go of everything; ``prepare`` is not called again."""
        ...


class UmsRanker:
    """UMS in its default configuration, one fresh database a conversation.

    Args:
        embedder: name of another embedder than the default one.
    """

    def __init__(self, embedder: str | None = None) -> None:
        self._embedder = embedder
        self._namespace: tuple[str, ...] = ()
        self._open = contextlib.ExitStack()
        self._store: MemoryStore | None = None

    def prepare(self, conversation: Conversation) -> None:
        """Store every turn as one memory of a new database."""
        self.close()
        directory = self._open.enter_context(tempfile.TemporaryDirectory(prefix="ums-bench-"))
        model = {} if self._embedder is None else {"embedder": self._embedder}
        settings = UnifiedSettings(database={"url": f"sqlite:///{directory}/memory.db"}, model=model)
        self._store = self._open.enter_context(open_store(settings))
        self._namespace = ("locomo", conversation.sample_id)
        self._store.add(
            [
                Draft(
                    text=spoken(turn),
                    id=turn.dia_id,
                    namespace=self._namespace,
                    speaker=turn.speaker,
                    session=turn.session,
                    position=turn.position,
                    occurred_at=turn.occurred_at,
                )
                for turn in conversation.turns
                if spoken(turn)
            ]
        )

    def rank(self, question: str) -> list[str]:
        """The ids of the hits."""
        assert self._store is not None, "prepare() comes before rank()"
        hits = self._store.search(Query(text=question, namespace=self._namespace, k=DEPTH))
        return [hit.memory.id for hit in hits]

    def close(self) -> None:
        """Close the store and delete its directory."""
        self._open.close()


class Bm25Ranker:
    """Okapi BM25 (k1 1.5, b 0.75) over ``[date] Speaker: text caption``, English stop words dropped, stems compared.

    A turn that shares no term with the question is not ranked; ties keep the order of the conversation.

    Raises:
        MissingExtra: bm25s or its stemmer is not installed.

    Source: Robertson, Zaragoza, FnTIR 3(4), 2009; the variant is bm25s' default, that of Lucene.
    """

    def __init__(self) -> None:
        try:
            import bm25s  # type: ignore[import-untyped]  # noqa: PLC0415  # of the extra "bench"; it ships no types
            import Stemmer  # type: ignore[import-not-found]  # noqa: PLC0415  # as above; a C module without stubs
        except ImportError as e:
            raise MissingExtra(f"{e.name} is not installed; pip install 'ums-core[bench]'") from e
        self._bm25s = bm25s
        self._stemmer = Stemmer.Stemmer("english")
        self._ids: list[str] = []

    def prepare(self, conversation: Conversation) -> None:
        """Index the turns."""
        self._ids = [turn.dia_id for turn in conversation.turns]
        self._index = self._bm25s.BM25(k1=1.5, b=0.75)
        self._index.index(self._terms([_dated(turn) for turn in conversation.turns]), show_progress=False)

    def rank(self, question: str) -> list[str]:
        """The turns of positive score."""
        (terms,) = self._terms([question])
        if not terms:
            return []
        scores = self._index.get_scores(terms)
        best = np.argsort(-scores, kind="stable")[:DEPTH]
        return [self._ids[place] for place in best if scores[place] > 0]

    def close(self) -> None:
        """Nothing to let go of."""

    def _terms(self, texts: list[str]) -> list[list[str]]:
        return list(
            self._bm25s.tokenize(
                texts, stopwords="en_plus", stemmer=self._stemmer, return_ids=False, show_progress=False
            )
        )


class RandomRanker:
    """A fresh permutation a question; the mean over several seeds estimates what chance finds."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._ids: list[str] = []

    def prepare(self, conversation: Conversation) -> None:
        """Note the ids."""
        self._ids = [turn.dia_id for turn in conversation.turns]

    def rank(self, question: str) -> list[str]:  # noqa: ARG002  # chance does not read the question
        """Turns in random order."""
        return [self._ids[place] for place in self._random.permutation(len(self._ids))[:DEPTH]]

    def close(self) -> None:
        """Nothing to let go of."""


def spoken(turn: Turn) -> str:
    """The turn as it is remembered: what was said, and what the photo showed."""
    return f"{turn.text} [shares a photo: {turn.caption}]".strip() if turn.caption else turn.text.strip()


def _dated(turn: Turn) -> str:
    return f"[{turn.occurred_at.day} {turn.occurred_at:%B %Y}] {turn.speaker}: {turn.text} {turn.caption}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one contestant reached on the questions of some categories.

    Attributes:
        means: mean over the questions by name of the measure, in [0, 1].
    """

    name: str
    granularity: str
    categories: tuple[int, ...]
    questions: int
    means: dict[str, float]

    def as_json(self) -> dict[str, object]:
        """One flat object."""
        return {
            "name": self.name,
            "granularity": self.granularity,
            "categories": list(self.categories),
            "questions": self.questions,
            **self.means,
        }


@dataclass(frozen=True, slots=True)
class _Scored:
    """The measures of one answer, in the order of ``_MEASURES``."""

    category: int
    values: tuple[float, ...]


_Measure = Callable[[Sequence[str], Collection[str], dict[str, str]], float]
_MEASURES: dict[str, _Measure] = {
    "recall@5": lambda ranking, gold, _: recall_at_k(ranking, gold, 5),
    "recall@10": lambda ranking, gold, _: recall_at_k(ranking, gold, 10),
    "recall@20": lambda ranking, gold, _: recall_at_k(ranking, gold, 20),
    "any@10": lambda ranking, gold, _: any_at_k(ranking, gold, 10),
    "ndcg@10": lambda ranking, gold, _: ndcg_at_k(ranking, gold, 10),
    "mrr": lambda ranking, gold, _: reciprocal_rank(ranking, gold),
    "session_recall@5": lambda ranking, gold, session_of: session_recall_at_k(ranking, gold, session_of, 5),
    "session_recall@10": lambda ranking, gold, session_of: session_recall_at_k(ranking, gold, session_of, 10),
}
_HEADERS = ("R@5", "R@10", "R@20", "any@10", "nDCG@10", "MRR", "sess R@5", "sess R@10")


class _Bar:
    """A progress bar, drawn only where the stream is a terminal."""

    def __init__(self, total: int, stream: TextIO | None) -> None:
        self._total = total
        self._stream = stream if stream is not None and stream.isatty() else None
        self._done = 0
        self._percent = -1

    def step(self) -> None:
        self._done += 1
        percent = 100 * self._done // self._total
        if self._stream is not None and percent != self._percent:
            self._percent = percent
            end = "\n" if self._done == self._total else ""
            self._stream.write(f"\r[{'#' * (percent // 4):25}] {percent:3} %{end}")
            self._stream.flush()


def rows(dataset: Dataset, ours: Ranker, *, granularity: str = "turn", progress: TextIO | None = None) -> list[Row]:
    """One row a contestant and set of categories, ours first; a set without a question has no row.

    Args:
        dataset: see :func:`ums_core.bench.locomo_data.load`.
        ours: what the baselines stand beside.
        granularity: what is gold and retrieved, ``turn`` or ``session``; a session ranks by its best turn.
        progress: where a bar is drawn if it is a terminal.

    Raises:
        MissingExtra: bm25s is not installed.
        InvalidInput: no question of the data has usable evidence.
    """
    pairs = (ANSWERABLE, ADVERSARIAL)
    contestants: list[tuple[str, list[Ranker], tuple[tuple[int, ...], ...]]] = [
        ("ums", [ours], (*pairs, *((category,) for category in ANSWERABLE))),
        ("random", [RandomRanker(seed) for seed in range(DRAWS)], pairs),
        ("bm25", [Bm25Ranker()], pairs),
    ]
    questions = sum(len(conversation.questions) for conversation in dataset.conversations)
    if not questions:
        raise InvalidInput("no question has usable evidence; there is nothing to measure")
    bar = _Bar(questions * sum(len(rankers) for _, rankers, _ in contestants), progress)
    out: list[Row] = []
    for name, rankers, splits in contestants:
        scored = [answer for ranker in rankers for answer in _evaluate(ranker, dataset, granularity, bar)]
        for categories in splits:
            values = [answer.values for answer in scored if answer.category in categories]
            if values:
                row = Row(
                    name=name,
                    granularity=granularity,
                    categories=categories,
                    questions=len(values) // len(rankers),
                    means=dict(zip(_MEASURES, np.mean(values, axis=0).tolist(), strict=True)),
                )
                out.append(row)
    return out


def _evaluate(ranker: Ranker, dataset: Dataset, granularity: str, bar: _Bar) -> list[_Scored]:
    scored: list[_Scored] = []
    with contextlib.closing(ranker):
        for conversation in dataset.conversations:
            ranker.prepare(conversation)
            session_of = {turn.dia_id: turn.session for turn in conversation.turns}
            for question in conversation.questions:
                ranking = ranker.rank(question.text)[:DEPTH]
                scored.append(_score(question, ranking, session_of, granularity))
                bar.step()
    return scored


def _score(question: Question, ranking: Sequence[str], session_of: dict[str, str], granularity: str) -> _Scored:
    gold: Collection[str] = question.gold
    if granularity == "session":
        ranking = session_ranking(ranking, session_of)
        gold = {session_of[turn] for turn in question.gold}
        session_of = {session: session for session in session_of.values()}
    values = tuple(measure(ranking, gold, session_of) for measure in _MEASURES.values())
    return _Scored(question.category, values)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare PATH, --granularity, --json and --embedder."""
    parser.epilog = _EPILOG
    parser.add_argument("path", metavar="PATH", type=Path, help="a JSON file in the format of locomo10.json")
    parser.add_argument(
        "--granularity", choices=GRANULARITIES, default="turn", help="what is retrieved (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help='print {"rows": [...]}, fractions from 0 to 1')
    parser.add_argument("--embedder", metavar="NAME", help="another embedder than the default one")


def run(args: argparse.Namespace) -> int:
    """Measure, print the rows on stdout, and say on stderr what was skipped.

    Raises:
        InvalidInput: the file or the embedder cannot be used.
        MissingExtra: a package is not installed.
    """
    dataset = load(args.path)
    result = rows(dataset, UmsRanker(args.embedder), granularity=args.granularity, progress=sys.stderr)
    print(dataset.skipped, file=sys.stderr)
    if args.json:
        print(json.dumps({"rows": [row.as_json() for row in result]}, indent=2))
    else:
        _print_table(result, f"LoCoMo, {args.granularity}s, the first {DEPTH} ranked")
    return 0


def _print_table(result: Sequence[Row], title: str) -> None:
    headers = ("", "categories", "questions", *_HEADERS)
    lines = [
        (row.name, ", ".join(map(str, row.categories)), str(row.questions), *(f"{x:.3f}" for x in row.means.values()))
        for row in result
    ]
    try:
        from rich import box  # noqa: PLC0415  # of the extra "bench"
        from rich.console import Console  # noqa: PLC0415  # as above
        from rich.table import Table  # noqa: PLC0415  # as above
    except ImportError:
        widths = [max(map(len, column)) for column in zip(headers, *lines, strict=True)]
        print(title)
        for line in (headers, *lines):
            print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
        return
    table = Table(title=title, box=box.SIMPLE)
    for header in headers:
        table.add_column(header, justify="right")
    for line in lines:
        table.add_row(*line)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
