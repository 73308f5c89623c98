"""``python -m ums_core.bench tune PATH``: weights of the ranking signals, fitted to labelled conversations.

Every question is asked with all weights at one, so that a hit's parts are the signals themselves; conditional logistic
regression then finds the weights under which the gold turns stand out among the candidates of their question. For each
conversation the weights are also fitted on the others alone, and measured on it.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ums_core.bench.locomo import ANSWERABLE
from ums_core.bench.locomo_data import Dataset, load
from ums_core.bench.metrics import recall_at_k
from ums_core.bench.rankers import UmsRanker
from ums_core.errors import InvalidInput
from ums_core.ranking.profile import DIALOGUE
from ums_core.records.query import SHARES, SIGNALS

__all__ = ["Asked", "add_arguments", "asked_of", "fit", "recalls", "run"]

Floats = npt.NDArray[np.float64]

_CANDIDATES = 1000
_SETTLED = 1e-6
_DEPTHS = (5, 10, 20)
_EPILOG = """\
PATH is LoCoMo's locomo10.json, or any file of that format: your own conversations with questions and the turns that
answer them. At least two conversations are needed.

prints recall of the default weights, of weights fitted on all other conversations, and of those fitted on all, and the
latter as JSON for Query(weights=...)."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """The candidates of one question.

    Attributes:
        conversation: number of the conversation.
        ids: of the candidates.
        signals: shape (n, number of signals), in the order of ``SIGNALS``.
        gold: whether each candidate answers, shape (n,).
        answers: ids of all turns that answer, candidates or not.
    """

    conversation: int
    ids: tuple[str, ...]
    signals: Floats
    gold: npt.NDArray[np.bool_]
    answers: tuple[str, ...]


def asked_of(dataset: Dataset, ranker: UmsRanker) -> list[Asked]:
    """Every answerable question with its candidates."""
    ones = dict.fromkeys(SIGNALS, 1.0)
    asked: list[Asked] = []
    try:
        for number, conversation in enumerate(dataset.conversations):
            ranker.prepare(conversation)
            for question in conversation.questions:
                if question.category not in ANSWERABLE:
                    continue
                hits = ranker.hits(question.text, k=_CANDIDATES, weights=ones, kind="dialogue", explain=True)
                hits = [hit for hit in hits if "behind" not in (hit.signals or {})]
                signals = np.array([[(hit.signals or {}).get(name, 0.0) for name in SIGNALS] for hit in hits])
                ids = tuple(hit.memory.id for hit in hits)
                if ids:
                    gold = np.isin(ids, question.gold)
                    asked.append(Asked(number, ids, signals, gold, question.gold))
    finally:
        ranker.close()
    return asked


def fit(asked: Sequence[Asked], *, penalty: float = 10.0) -> Floats:
    """Weights, shape (number of signals,), the two shares adding up to one.

    Maximises the likelihood that a gold candidate is chosen among those of its question, less half the penalty times
    the square of the weights, by Newton's method; the function is concave, so there is one maximum.

    Source: McFadden, Conditional logit analysis of qualitative choice behavior, 1974.

    Raises:
        InvalidInput: no question has a gold turn among its candidates.
    """
    useful = [each for each in asked if each.gold.any()]
    if not useful:
        raise InvalidInput("no question has a turn that answers it among its candidates; there is nothing to fit")
    size = len(SIGNALS)
    weights = np.zeros(size)
    step: Floats = np.ones(size)
    while np.abs(step).max() >= _SETTLED:
        gradient, curvature = -penalty * weights, penalty * np.eye(size)
        for each in useful:
            scores = each.signals @ weights
            chance = np.exp(scores - scores.max())
            chance /= chance.sum()
            mean = chance @ each.signals
            gradient += each.signals[each.gold].mean(axis=0) - mean
            curvature += (each.signals * chance[:, None]).T @ each.signals - np.outer(mean, mean)
        step = np.asarray(np.linalg.solve(curvature, gradient), np.float64)
        # Far from the maximum a whole step may overshoot.
        weights += step / max(1.0, float(np.abs(step).max()))
    shares = float(weights[: len(SHARES)].sum())
    return np.asarray(weights / shares if shares > 0 else weights)


def recalls(asked: Sequence[Asked], weights: Floats) -> list[float]:
    """Mean recall at 5, 10 and 20, in [0, 1]."""
    rankings = [[each.ids[place] for place in np.argsort(-(each.signals @ weights), kind="stable")] for each in asked]
    return [
        float(np.mean([recall_at_k(ranking, each.answers, k) for ranking, each in zip(rankings, asked, strict=True)]))
        for k in _DEPTHS
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare PATH, --embedder and --penalty."""
    parser.epilog = _EPILOG
    parser.add_argument("path", metavar="PATH", type=Path, help="a JSON file in the format of locomo10.json")
    parser.add_argument("--embedder", metavar="NAME", help="another embedder than the default one")
    parser.add_argument("--penalty", type=float, default=10.0, help="of large weights (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Fit, print the recalls on stderr and the weights on stdout.

    Raises:
        InvalidInput: the file cannot be used, or holds fewer than two conversations.
    """
    dataset = load(args.path)
    if len(dataset.conversations) < 2:  # noqa: PLR2004  # one to fit on, one to measure on
        raise InvalidInput("cross-validation needs at least two conversations; give a file with more")
    asked = asked_of(dataset, UmsRanker(args.embedder))
    default = np.array([getattr(DIALOGUE, name) for name in SIGNALS])
    # With all weights at one, each share counts half.
    default[: len(SHARES)] *= len(SHARES)
    fitted = fit(asked, penalty=args.penalty)
    held = [(each.conversation, each) for each in asked]
    apart: list[list[float]] = []
    for number in sorted({number for number, _ in held}):
        mine = [each for conversation, each in held if conversation == number]
        others = fit([each for conversation, each in held if conversation != number], penalty=args.penalty)
        apart += [recalls([each], others) for each in mine]
    for name, values in (
        ("default", recalls(asked, default)),
        ("fitted on the others", np.mean(apart, axis=0).tolist()),
        ("fitted on all", recalls(asked, fitted)),
    ):
        print(f"{name:22}", *(f"R@{k} {value:.3f}" for k, value in zip(_DEPTHS, values, strict=True)), file=sys.stderr)
    print(json.dumps({name: round(float(value), 3) for name, value in zip(SIGNALS, fitted, strict=True)}, indent=2))
    return 0
