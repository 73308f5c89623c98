"""``python -m ums_core.bench tune PATH``: weights of the ranking signals, fitted to labelled conversations.

Every question is asked with all weights at one, so that a hit's parts are the signals themselves; conditional logistic
regression then finds the weights under which the gold turns stand out among the candidates of their question. For each
conversation the weights are also fitted on the others alone, and measured on it.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ums_core.bench.locomo import ADVERSARIAL
from ums_core.bench.locomo_data import Dataset, load
from ums_core.bench.metrics import recall_at_k, session_recall_at_k
from ums_core.bench.rankers import UmsRanker
from ums_core.errors import InvalidInput
from ums_core.ranking.profile import DIALOGUE
from ums_core.records.query import SHARES, SIGNALS

__all__ = ["Asked", "add_arguments", "asked_of", "fit", "recalls", "run"]

Floats = npt.NDArray[np.float64]

_CANDIDATES = 1000
_SETTLED = 1e-6
_MEASURES = ("R@5", "R@10", "R@20", "sess R@5", "sess R@10")
_DEPTH = _MEASURES.index("R@10")
_EPILOG = """\
PATH is LoCoMo's locomo10.json, or any file of that format: your own conversations with questions and the turns that
answer them. At least two conversations are needed.

prints recall of the default weights, of weights fitted on all other conversations, and of those fitted on all, and the
latter as JSON for Query(weights=...). Weights are fitted to questions that have an answer (categories 1 to 4); those of
category 5 are measured as well. --without also measures the default weights with each signal left out."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """The candidates of one question.

    Attributes:
        conversation: number of the conversation.
        ids: of the candidates.
        signals: shape (n, number of signals), in the order of ``SIGNALS``.
        gold: whether each candidate answers, shape (n,).
        answers: ids of all turns that answer, candidates or not.
        session_of: the session of every turn of the conversation.
        adversarial: whether it is only measured, not fitted to.
    """

    conversation: int
    ids: tuple[str, ...]
    signals: Floats
    gold: npt.NDArray[np.bool_]
    answers: tuple[str, ...]
    session_of: Mapping[str, str]
    adversarial: bool = False


def asked_of(dataset: Dataset, ranker: UmsRanker) -> list[Asked]:
    """Every question with its candidates."""
    ones = dict.fromkeys(SIGNALS, 1.0)
    asked: list[Asked] = []
    try:
        for number, conversation in enumerate(dataset.conversations):
            ranker.prepare(conversation)
            session_of = {turn.dia_id: turn.session for turn in conversation.turns}
            for question in conversation.questions:
                hits = ranker.hits(question.text, k=_CANDIDATES, weights=ones, kind="dialogue", explain=True)
                hits = [hit for hit in hits if "behind" not in (hit.signals or {})]
                signals = np.array([[(hit.signals or {}).get(name, 0.0) for name in SIGNALS] for hit in hits])
                signals = signals.reshape(len(hits), len(SIGNALS))
                ids = tuple(hit.memory.id for hit in hits)
                gold = np.isin(ids, question.gold)
                adversarial = question.category in ADVERSARIAL
                asked.append(Asked(number, ids, signals, gold, question.gold, session_of, adversarial))
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
    useful = [each for each in asked if each.gold.any() and not each.adversarial]
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


def recalls(each: Asked, weights: Floats) -> list[float]:
    """Recall of turns at 5, 10 and 20, and of sessions at 5 and 10, in [0, 1]."""
    ranking = [each.ids[place] for place in np.argsort(-(each.signals @ weights), kind="stable")]
    return [
        *(recall_at_k(ranking, each.answers, k) for k in (5, 10, 20)),
        *(session_recall_at_k(ranking, each.answers, each.session_of, k) for k in (5, 10)),
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare PATH and the options."""
    parser.epilog = _EPILOG
    parser.add_argument("path", metavar="PATH", type=Path, help="a JSON file in the format of locomo10.json")
    parser.add_argument("--embedder", metavar="NAME", help="another embedder than the default one")
    parser.add_argument("--penalty", type=float, default=10.0, help="of large weights (default: %(default)s)")
    parser.add_argument("--without", action="store_true", help="measure also without each signal")


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
    apart = {
        number: fit([each for each in asked if each.conversation != number], penalty=args.penalty)
        for number in range(len(dataset.conversations))
    }
    _say("default", asked, [default] * len(asked))
    _say("fitted on the others", asked, [apart[each.conversation] for each in asked])
    _say("fitted on all", asked, [fitted] * len(asked))
    if args.without:
        for name, weights in _each_left_out(default):
            _say(f"without {name}", asked, [weights] * len(asked))
    print(json.dumps({name: round(float(value), 3) for name, value in zip(SIGNALS, fitted, strict=True)}, indent=2))
    return 0


def _each_left_out(weights: Floats) -> Iterator[tuple[str, Floats]]:
    """The weights without each that counts; the shares stay, as neighbours take over what they make up."""
    for place in range(len(SHARES), len(SIGNALS)):
        if weights[place]:
            yield SIGNALS[place], np.where(np.arange(len(weights)) == place, 0.0, weights)


def _say(name: str, asked: Sequence[Asked], weights: Sequence[Floats]) -> None:
    """A line on stderr: how good weights are, one set a question."""
    pairs = list(zip(asked, weights, strict=True))
    means = np.mean([recalls(*pair) for pair in pairs if not pair[0].adversarial], axis=0)
    told = [f"{measure} {value:.3f}" for measure, value in zip(_MEASURES, means.tolist(), strict=True)]
    adversarial = [recalls(*pair)[_DEPTH] for pair in pairs if pair[0].adversarial]
    if adversarial:
        told.append(f"category 5 R@10 {np.mean(adversarial):.3f}")
    print(f"{name:22}", *told, sep="  ", file=sys.stderr)
