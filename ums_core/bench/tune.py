"""``python -m ums_core.bench tune PATH``: weights of the ranking signals, fitted to labelled conversations.

Every question is asked with all weights at one, so that a hit's parts are the signals themselves; conditional logistic
regression then finds the weights under which the gold turns stand out among the candidates of their question, and which
are not far from the default ones unless the answers say so. For each conversation the weights are also fitted on the
others alone, and the questions about it asked with them.
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
from ums_core.ranking.profile import DIALOGUE, Profile
from ums_core.records.query import SHARES, SIGNALS

__all__ = ["Asked", "add_arguments", "answered", "asked_of", "chosen", "fit", "recalls", "run", "weights_of"]

Floats = npt.NDArray[np.float64]

_CANDIDATES = 1000
_SETTLED = 1e-6
# From weights that stay as they are to those that follow a few hundred answers wherever they lead.
_PENALTIES = (1000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0)
# The penalty on multiples of the prior: they rank alike, and only must not grow without end where all answers are told.
_ON_LENGTH = 0.1
_PARTS = 5
_MEASURES = ("R@5", "R@10", "R@20", "sess R@5", "sess R@10")
_DEPTH = _MEASURES.index("R@10")
_EPILOG = """\
PATH is LoCoMo's locomo10.json, or any file of that format: your own conversations with questions and the turns that
answer them. At least two conversations are needed.

prints recall of the default weights, of weights fitted on all other conversations, and of those fitted on all, and the
latter as JSON for Query(weights=...). Weights are fitted to all questions that name turns; those of category 5, which
attribute something to the wrong person, are reported apart. Without labels to the contrary the weights stay near the
default ones; --from-scratch prefers the two shares alone, for data that the default weights have seen. --without also
measures the default weights with each signal left out."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """The candidates of one question.

    Attributes:
        conversation: number of the conversation.
        ids: of the candidates.
        signals: shape (n, number of signals), in the order of ``SIGNALS``; times the weights of a profile, a score.
        gold: whether each candidate answers, shape (n,).
        answers: ids of all turns that answer, candidates or not.
        session_of: the session of every turn of the conversation.
        adversarial: whether it attributes something to the wrong person, and is reported apart.
    """

    conversation: int
    ids: tuple[str, ...]
    signals: Floats
    gold: npt.NDArray[np.bool_]
    answers: tuple[str, ...]
    session_of: Mapping[str, str]
    adversarial: bool = False


def asked_of(dataset: Dataset, ranker: UmsRanker, *, without: str = "") -> list[Asked]:
    """Every question with its candidates; without one of the shares, the other one stands for both."""
    ones = {name: float(name != without) for name in SIGNALS}
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
                shares = signals[:, : len(SHARES)]
                # At equal weights each share counts half; one alone counts whole, and stands for both.
                shares[:] = shares * len(SHARES) if shares.any(axis=0).all() else shares.sum(axis=1, keepdims=True)
                ids = tuple(hit.memory.id for hit in hits)
                gold = np.isin(ids, question.gold)
                adversarial = question.category in ADVERSARIAL
                asked.append(Asked(number, ids, signals, gold, question.gold, session_of, adversarial))
    finally:
        ranker.close()
    return asked


def weights_of(profile: Profile) -> Floats:
    """The weights of a profile, shape (number of signals,), in the order of ``SIGNALS``."""
    return np.array([getattr(profile, name) for name in SIGNALS])


def fit(asked: Sequence[Asked], *, prior: Profile = DIALOGUE, penalty: float | None = None) -> Floats:
    """Weights as those of a profile, shape (number of signals,), the two shares adding up to one.

    Maximises the likelihood that a gold candidate is chosen among those of its question, less half the penalty times
    the squared distance of the weights to the nearest multiple of the prior's, by Newton's method; the function is
    concave, so there is one maximum. A multiple of the prior ranks just as the prior does.

    Args:
        asked: the questions; those without a gold candidate say nothing.
        prior: what the weights are unless the answers say otherwise.
        penalty: above 0; None lets :func:`chosen` find it.

    Raises:
        InvalidInput: no question has a gold turn among its candidates, those are told by being unlike their questions,
            or the penalty is not above 0.

    Source: McFadden, Conditional logit analysis of qualitative choice behavior, 1974; for the prior, Chelba and Acero,
    Adaptation of maximum entropy capitalizer, EMNLP 2004.
    """
    useful = [each for each in asked if each.gold.any()]
    if not useful:
        raise InvalidInput("no question has a turn that answers it among its candidates; there is nothing to fit")
    if penalty is not None and not penalty > 0:
        raise InvalidInput(f"the penalty is {penalty:g}; give one above 0")
    towards = weights_of(prior)
    weights = _likeliest(useful, towards, chosen(useful, prior=prior) if penalty is None else penalty, towards)
    # A share below zero is none; a query takes no other.
    weights[: len(SHARES)] = np.maximum(weights[: len(SHARES)], 0.0)
    shares = float(weights[: len(SHARES)].sum())
    if not shares:
        raise InvalidInput("the turns that answer are less like their questions than others are; are the labels right?")
    return np.asarray(weights / shares)


def chosen(asked: Sequence[Asked], *, prior: Profile = DIALOGUE) -> float:
    """The strongest penalty that is not clearly worse than the best one, judged on conversations not fitted to.

    Best is what makes the answers likeliest; worse by less than one standard error is not clearly worse. Of a single
    conversation, every fifth of the questions is judged by the others. Costs some thirty fits.

    Source: Breiman, Friedman, Olshen, Stone, Classification and Regression Trees, 1984.
    """
    useful = [each for each in asked if each.gold.any()]
    towards = weights_of(prior)
    folds = np.array([each.conversation for each in useful])
    if len(set(folds.tolist())) == 1:
        folds = np.arange(len(useful)) % _PARTS
    told = np.zeros((len(_PENALTIES), len(useful)))
    for fold in sorted(set(folds.tolist())):
        others = [each for each, held in zip(useful, folds == fold, strict=True) if not held]
        weights = towards
        for row, penalty in enumerate(_PENALTIES):
            weights = _likeliest(others, towards, penalty, weights)
            for place in np.flatnonzero(folds == fold):
                told[row, place] = _told(useful[place], weights)
    lost = told[told.mean(axis=1).argmax()] - told
    bearable = lost.mean(axis=1) <= lost.std(axis=1) / np.sqrt(len(useful))
    return _PENALTIES[int(bearable.argmax())]


def _likeliest(useful: Sequence[Asked], towards: Floats, penalty: float, start: Floats) -> Floats:
    """Weights of any length; those to start from change only how long it takes."""
    along = towards / np.linalg.norm(towards)
    pull = penalty * np.eye(len(towards)) + (_ON_LENGTH - penalty) * np.outer(along, along)
    weights = start
    step: Floats = np.ones(len(towards))
    while np.abs(step).max() >= _SETTLED:
        gradient, curvature = -pull @ weights, pull.copy()
        for each in useful:
            chance = _chances(each, weights)
            mean = chance @ each.signals
            gradient += each.signals[each.gold].mean(axis=0) - mean
            curvature += (each.signals * chance[:, None]).T @ each.signals - np.outer(mean, mean)
        step = np.asarray(np.linalg.solve(curvature, gradient), np.float64)
        # Far from the maximum a whole step may overshoot.
        weights = weights + step / max(1.0, float(np.abs(step).max()))
    return weights


def _chances(each: Asked, weights: Floats) -> Floats:
    scores = each.signals @ weights
    chance = np.exp(scores - scores.max())
    return np.asarray(chance / chance.sum())


def _told(each: Asked, weights: Floats) -> float:
    """The mean log-likelihood of the gold candidates."""
    scores = each.signals @ weights
    return float(scores[each.gold].mean() - scores.max() - np.log(np.exp(scores - scores.max()).sum()))


def recalls(each: Asked, weights: Floats) -> list[float]:
    """Recall of turns at 5, 10 and 20, and of sessions at 5 and 10, in [0, 1]; neighbours lend even shares."""
    ranking = [each.ids[place] for place in np.argsort(-(each.signals @ weights), kind="stable")]
    return _recalls(ranking, each.answers, each.session_of)


def answered(dataset: Dataset, ranker: UmsRanker, weights: Sequence[Floats]) -> list[list[float]]:
    """The same of every question, asked of the store with one set of weights a conversation."""
    found: list[list[float]] = []
    try:
        for conversation, its in zip(dataset.conversations, weights, strict=True):
            ranker.prepare(conversation)
            session_of = {turn.dia_id: turn.session for turn in conversation.turns}
            given = dict(zip(SIGNALS, its.tolist(), strict=True))
            for question in conversation.questions:
                ranking = ranker.asked(question.text, weights=given, kind="dialogue")
                found.append(_recalls(ranking, question.gold, session_of))
    finally:
        ranker.close()
    return found


def _recalls(ranking: Sequence[str], answers: Sequence[str], session_of: Mapping[str, str]) -> list[float]:
    return [
        *(recall_at_k(ranking, answers, k) for k in (5, 10, 20)),
        *(session_recall_at_k(ranking, answers, session_of, k) for k in (5, 10)),
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare PATH and the options."""
    parser.epilog = _EPILOG
    parser.add_argument("path", metavar="PATH", type=Path, help="a JSON file in the format of locomo10.json")
    parser.add_argument("--embedder", metavar="NAME", help="another embedder than the default one")
    parser.add_argument(
        "--penalty", type=float, help="on weights away from the default ones (default: found by cross-validation)"
    )
    parser.add_argument(
        "--from-scratch", action="store_true", help="prefer the two shares alone to the default weights"
    )
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
    default = weights_of(DIALOGUE)
    prior = Profile() if args.from_scratch else DIALOGUE
    fitted = fit(asked, prior=prior, penalty=args.penalty)
    numbers = range(len(dataset.conversations))
    rest = [[each for each in asked if each.conversation != number] for number in numbers]
    apart = [fit(others, prior=prior, penalty=args.penalty) for others in rest]
    _say("default", asked, [recalls(each, default) for each in asked])
    _say("fitted on the others", asked, answered(dataset, UmsRanker(args.embedder), apart))
    _say("fitted on all", asked, [recalls(each, fitted) for each in asked])
    if args.without:
        for share in () if args.embedder == "none" else SHARES:
            left = asked_of(dataset, UmsRanker(args.embedder), without=share)
            _say(f"without {share}", left, [recalls(each, default) for each in left])
        for name, weights in _each_left_out(default):
            _say(f"without {name}", asked, [recalls(each, weights) for each in asked])
    print(json.dumps({name: round(float(value), 3) for name, value in zip(SIGNALS, fitted, strict=True)}, indent=2))
    return 0


def _each_left_out(weights: Floats) -> Iterator[tuple[str, Floats]]:
    """The weights without each that counts; the shares stay, as neighbours take over what they make up."""
    for place in range(len(SHARES), len(SIGNALS)):
        if weights[place]:
            yield SIGNALS[place], np.where(np.arange(len(weights)) == place, 0.0, weights)


def _say(name: str, asked: Sequence[Asked], found: Sequence[Sequence[float]]) -> None:
    """A line on stderr: the means of the recalls of the questions."""
    means = np.mean([row for each, row in zip(asked, found, strict=True) if not each.adversarial], axis=0)
    told = [f"{measure} {value:.3f}" for measure, value in zip(_MEASURES, means.tolist(), strict=True)]
    adversarial = [row[_DEPTH] for each, row in zip(asked, found, strict=True) if each.adversarial]
    if adversarial:
        told.append(f"category 5 R@10 {np.mean(adversarial):.3f}")
    print(f"{name:22}", *told, sep="  ", file=sys.stderr)
