"""``python -m ums_core.bench beir PATH``: a data set in the folder format of BEIR, judged as BEIR does."""

import argparse
import csv
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from ums_core.bench.locomo_data import Conversation, Turn
from ums_core.bench.metrics import recall_at_k, reciprocal_rank
from ums_core.bench.quality import Asked, Haystack, baselines, judged, print_scores
from ums_core.errors import InvalidInput

__all__ = ["add_arguments", "load", "ndcg_graded", "run"]

_EPILOG = """\
PATH holds corpus.jsonl ({"_id", "title", "text"}), queries.jsonl ({"_id", "text"}) and qrels/SPLIT.tsv
(query-id, corpus-id, score, with a header), as every data set of BEIR does: https://github.com/beir-cellar/beir

nDCG@10 takes the grades as gains, as trec_eval does; R@k is the fraction of the relevant documents among the first k;
MRR@10 counts the first relevant one. Every document is one memory without a conversation. Queries without a relevant
document are skipped and counted on stderr."""


def ndcg_graded(ranking: Sequence[str], grades: dict[str, float], k: int = 10) -> float:
    """Discounted gain of the first k over that of the best order.

    A document of grade g at rank r, from 1, gains g / log2(1 + r).

    Source: Jarvelin, Kekalainen, ACM TOIS 20(4), 2002; the gain is the grade itself, as in trec_eval.
    """
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    gains = np.array([grades.get(name, 0.0) for name in ranking[:k]])
    best = np.sort(np.array(list(grades.values())))[::-1][:k]
    return float(gains @ discounts[: len(gains)] / (best @ discounts[: len(best)]))


def load(path: Path, split: str) -> tuple[Haystack, int]:
    """The corpus and its queries, and how many of these have no relevant document.

    Raises:
        InvalidInput: a file is missing or not in this format; the message says where.
    """
    grades: dict[str, dict[str, float]] = defaultdict(dict)
    qrels = path / "qrels" / f"{split}.tsv"
    with _opened(qrels) as file:
        for number, row in enumerate(csv.reader(file, delimiter="\t")):
            if number:
                query, document, score = _judgement(qrels, number + 1, row)
                if score > 0:
                    grades[query][document] = score
    documents = tuple(
        Turn(
            dia_id=entry["_id"],
            session=entry["_id"],
            position=0,
            speaker="",
            text=f"{entry.get('title') or ''} {entry['text']}".strip(),
            caption="",
            occurred_at=None,
        )
        for entry in _entries(path / "corpus.jsonl")
    )
    known = {document.dia_id for document in documents}
    questions, skipped = [], 0
    for entry in _entries(path / "queries.jsonl"):
        gold = {name: grade for name, grade in grades.get(entry["_id"], {}).items() if name in known}
        if gold:
            questions.append(Asked(text=entry["text"], group=split, gold=gold))
        elif entry["_id"] in grades:
            skipped += 1
    conversation = Conversation(sample_id=path.name, turns=documents, questions=())
    return Haystack(conversation, tuple(questions)), skipped


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare PATH, --split, --embedder and --json."""
    parser.epilog = _EPILOG
    parser.add_argument("path", metavar="PATH", type=Path, help="the folder of a data set")
    parser.add_argument("--split", default="test", help="which judgements (default: %(default)s)")
    parser.add_argument("--embedder", metavar="NAME", help="another embedder than the default one")
    parser.add_argument("--json", action="store_true", help='print {"rows": [...]}, fractions from 0 to 1')


def run(args: argparse.Namespace) -> int:
    """Measure, print the rows on stdout, and say on stderr what was skipped.

    Raises:
        InvalidInput: the folder or the embedder cannot be used.
        MissingExtra: a package is not installed.
    """
    haystack, skipped = load(args.path, args.split)
    measures = {
        "nDCG@10": lambda ranking, asked, _: ndcg_graded(ranking, dict(asked.gold)),
        "R@10": lambda ranking, asked, _: recall_at_k(ranking, asked.gold, 10),
        "R@100": lambda ranking, asked, _: recall_at_k(ranking, asked.gold, 100),
        "MRR@10": lambda ranking, asked, _: reciprocal_rank(ranking[:10], asked.gold),
    }
    scores = judged([haystack], baselines(args.embedder), measures, {args.split: lambda _: True}, sys.stderr)
    print(f"skipped {skipped} queries whose relevant documents are not in the corpus", file=sys.stderr)
    if args.json:
        print(json.dumps({"rows": [score.as_json() for score in scores]}, indent=2))
    else:
        print_scores(f"{args.path.name}, {args.split}", scores, list(measures))
    return 0


def _entries(path: Path) -> Iterator[dict[str, str]]:
    with _opened(path) as file:
        for number, line in enumerate(file, 1):
            try:
                entry = json.loads(line)
            except ValueError as e:
                raise InvalidInput(f"{path}, line {number}, is not JSON: {e}") from e
            if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("_id", "text")):
                raise InvalidInput(f"{path}, line {number}, must be an object with the strings _id and text")
            yield entry


def _judgement(path: Path, number: int, row: Sequence[str]) -> tuple[str, str, float]:
    try:
        query, document, score = row
        return query, document, float(score)
    except ValueError as e:
        raise InvalidInput(f"{path}, line {number}, must be query-id, corpus-id and score between tabs") from e


def _opened(path: Path) -> TextIO:
    try:
        return path.open(encoding="utf-8", newline="")
    except OSError as e:
        raise InvalidInput(f"cannot read {path}: {e.strerror}") from e
