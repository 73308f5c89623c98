"""Rankings of several contestants over many questions, judged by the same measures."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TextIO, TypeVar

import numpy as np
import numpy.typing as npt

from ums_core.bench.locomo_data import Conversation
from ums_core.bench.rankers import DEPTH, DRAWS, Bm25Ranker, RandomRanker, Ranker, RrfRanker, UmsRanker
from ums_core.bench.report import Bar, Interval, interval, print_table
from ums_core.errors import InvalidInput

__all__ = ["Asked", "Haystack", "Score", "baselines", "evaluate", "judged", "print_scores"]

Q = TypeVar("Q")
Values = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question and what answers it.

    Attributes:
        text: the question.
        group: in which it is reported.
        gold: grades of the ids that answer it, greater than 0; never empty.
    """

    text: str
    group: str
    gold: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Haystack:
    """What is searched, and the questions about it."""

    conversation: Conversation
    questions: tuple[Asked, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What one contestant reached on the questions of a group; ``means`` and ``intervals`` by name of the measure."""

    name: str
    group: str
    questions: int
    means: dict[str, float]
    intervals: dict[str, Interval]

    def as_json(self) -> dict[str, object]:
        """One flat object, with the intervals at its end."""
        head = {"name": self.name, "group": self.group, "questions": self.questions}
        return {**head, **self.means, "intervals": {name: list(ends) for name, ends in self.intervals.items()}}


Measure = Callable[[Sequence[str], Asked, Conversation], float]


def baselines(embedder: str | None) -> dict[str, list[Ranker]]:
    """UMS, the same store by single signals and by their ranks, a library's BM25, and chance."""
    ours = UmsRanker(embedder)
    found: dict[str, list[Ranker]] = {"ums": [ours]}
    if embedder != "none":
        vector = ours.view(mode="vector")
        found |= {"vector": [vector], "rrf": [RrfRanker(vector, Bm25Ranker())]}
    found |= {"keyword": [ours.view(mode="keyword")], "bm25": [Bm25Ranker()]}
    return found | {"random": [RandomRanker(seed) for seed in range(DRAWS)]}


def evaluate(
    haystacks: Sequence[tuple[Conversation, Sequence[Q]]],
    everyone: Mapping[str, Sequence[Ranker]],
    text_of: Callable[[Q], str],
    score: Callable[[Q, list[str], Conversation], Values],
    bar: Bar,
) -> dict[str, npt.NDArray[np.float64]]:
    """The measures of each contestant, shape (questions, measures): the mean of its draws where it has several.

    Args:
        haystacks: searched one after the other, each by all, who may share a store; with the questions about each.
        everyone: one ranker, or several draws; all are closed at the end.
        text_of: a question in words.
        score: the measures of a ranking of at most ``DEPTH`` ids.
        bar: stepped once a ranking.
    """
    scored: dict[str, list[list[Values]]] = {name: [[] for _ in draws] for name, draws in everyone.items()}
    with ExitStack() as open_:
        for draws in everyone.values():
            for ranker in draws:
                open_.enter_context(closing(ranker))
        for conversation, questions in haystacks:
            for name, draws in everyone.items():
                for ranker, found in zip(draws, scored[name], strict=True):
                    ranker.prepare(conversation)
                    for question in questions:
                        found.append(score(question, ranker.rank(text_of(question))[:DEPTH], conversation))
                        bar.step()
    return {name: np.mean(np.array(draws), axis=0) for name, draws in scored.items()}


def judged(
    haystacks: Sequence[Haystack],
    everyone: Mapping[str, Sequence[Ranker]],
    measures: Mapping[str, Measure],
    groups: Mapping[str, Callable[[str], bool]],
    progress: TextIO | None = None,
) -> list[Score]:
    """One score a contestant and group; a group without a question has none.

    Args:
        haystacks: what is searched, with its questions.
        everyone: as for :func:`evaluate`.
        measures: by name.
        groups: by name, which groups of questions belong to it.
        progress: where a bar is drawn if it is a terminal.

    Raises:
        InvalidInput: there is no question.
    """
    questions = [question for haystack in haystacks for question in haystack.questions]
    if not questions:
        raise InvalidInput("no question has an answer to be found; there is nothing to measure")
    values = evaluate(
        [(haystack.conversation, haystack.questions) for haystack in haystacks],
        everyone,
        lambda question: question.text,
        lambda question, ranking, conversation: tuple(
            measure(ranking, question, conversation) for measure in measures.values()
        ),
        Bar(len(questions) * sum(map(len, everyone.values())), progress),
    )
    return list(_scores(values, questions, list(measures), groups))


def print_scores(title: str, scores: Sequence[Score], names: Sequence[str]) -> None:
    """A table of some measures on stdout; the last column is half the interval of the first."""
    lines = []
    for score in scores:
        low, high = score.intervals[names[0]]
        numbers = [*(score.means[name] for name in names), (high - low) / 2]
        lines.append((score.name, score.group, str(score.questions), *(f"{number:.3f}" for number in numbers)))
    print_table(title, ("", "questions of", "number", *names, "+-"), lines)


def _scores(
    values: Mapping[str, npt.NDArray[np.float64]],
    questions: Sequence[Asked],
    measures: Sequence[str],
    groups: Mapping[str, Callable[[str], bool]],
) -> Iterator[Score]:
    for name, all_values in values.items():
        for group, belongs in groups.items():
            chosen = all_values[[belongs(question.group) for question in questions]]
            if len(chosen):
                yield Score(
                    name=name,
                    group=group,
                    questions=len(chosen),
                    means=dict(zip(measures, chosen.mean(axis=0).tolist(), strict=True)),
                    intervals=dict(zip(measures, interval(chosen), strict=True)),
                )
