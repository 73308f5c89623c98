"""Made-up memories whose vectors lie in clusters, with namespaces and sources of known size; the same for one seed."""

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ums_core import Draft, Filter
from ums_core.records import Namespace

__all__ = ["EVERYTHING", "SCOPES", "Corpus", "Scope", "make_corpus"]

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

ROWS_A_CLUSTER = 100
# Length of the noise beside a centre of length 1: two rows of a cluster have a cosine of about 1 / (1 + 0.7 ** 2).
_NOISE = 0.7
_WORDS = 8_000
_WORDS_A_TEXT = 42
_ZIPF_EXPONENT = 1.07
_FEW, _MANY = 0.01, 0.1
_FEW_SOURCE, _MANY_SOURCE = "mail", "notes"
_OTHER_SOURCES = ("chat", "web", "code", "calendar")
_OTHERS = 20


@dataclass(frozen=True, slots=True)
class Scope:
    """What a search is restricted to: a namespace or a source, or nothing.

    Attributes:
        share: of all rows, 0.01 or 0.1; 1 for no restriction.
    """

    name: str
    share: float = 1.0
    namespace: Namespace = ()
    source: str | None = None

    @property
    def filter(self) -> Filter | None:
        """The source as a filter."""
        return None if self.source is None else Filter.where("source", "eq", self.source)


EVERYTHING = Scope("search")
SCOPES = (
    Scope("namespace 1 %, spread", _FEW, namespace=("spread", "few")),
    Scope("namespace 1 %, together", _FEW, namespace=("together", "few")),
    Scope("filter 1 %", _FEW, source=_FEW_SOURCE),
    Scope("namespace 10 %, spread", _MANY, namespace=("spread", "many")),
    Scope("namespace 10 %, together", _MANY, namespace=("together", "many")),
    Scope("filter 10 %", _MANY, source=_MANY_SOURCE),
)


@dataclass(frozen=True)
class Corpus:
    """The rows that a store starts with, and more of the same kind to add later.

    Attributes:
        n: how many rows the store starts with; those from ``n`` on are for adding.
        vectors: shape (n + extra, d) float32 unit rows.
        centres: shape (c, d) float32 unit rows.
        drafts: one a row, without an id; no two have the same text, so that a text tells its row.
        queries: shape (q, d) float32 unit rows, drawn like the vectors.
    """

    n: int
    vectors: Floats
    centres: Floats
    drafts: list[Draft]
    queries: Floats

    @cached_property
    def row_of(self) -> Mapping[str, int]:
        """The row by its text."""
        return {draft.text: row for row, draft in enumerate(self.drafts)}

    def rows(self, scope: Scope) -> Rows:
        """The first ``n`` rows that a scope allows, ascending."""
        return np.array([row for row in range(self.n) if self.allows(scope, row)], np.int64)

    def allows(self, scope: Scope, row: int) -> bool:
        """Whether a row lies in a scope."""
        draft = self.drafts[row]
        right_place = draft.namespace[: len(scope.namespace)] == scope.namespace
        return right_place and (scope.source is None or draft.metadata["source"] == scope.source)

    def truth(self, scope: Scope, k: int) -> list[Floats]:
        """Cosines of the k nearest of the first ``n`` rows in a scope for each query, by brute force, best first."""
        negated = self.queries @ -self.vectors[self.rows(scope)].T
        least = min(k, negated.shape[1])
        return list(-np.sort(np.partition(negated, least - 1, axis=1)[:, :least], axis=1))

    def asked_anew(self, count: int) -> "Corpus":
        """The same rows with so many other queries, drawn in the same way."""
        rng = np.random.default_rng([self.n, count])
        return replace(self, queries=_around(rng, self.centres[rng.integers(len(self.centres), size=count)]))


def make_corpus(n: int, *, extra: int, queries: int, dim: int, seed: int) -> Corpus:
    """A corpus of ``n`` rows, the same whatever ``extra`` is, and ``extra`` more. Costs about 60 us a row."""
    rng = np.random.default_rng([seed, n])
    centres = _unit(rng.standard_normal((max(2, n // ROWS_A_CLUSTER), dim)).astype(np.float32))
    words = _words(rng)
    asked = _around(rng, centres[rng.integers(len(centres), size=queries)])
    cluster = rng.integers(len(centres), size=n)
    vectors, texts = [_around(rng, centres[cluster])], _texts(rng, words, n)
    namespaces, sources = _namespaces(rng, centres, cluster), _sources(rng, n)
    vectors.append(_around(rng, centres[rng.integers(len(centres), size=extra)]))
    texts += _texts(rng, words, extra)
    namespaces += _other_namespaces(rng, extra)
    sources += _other_sources(rng, extra)
    rows = np.concatenate(vectors)
    drafts = [
        Draft(text=text, embedding=vector, namespace=namespace, metadata={"source": source})
        for text, vector, namespace, source in zip(texts, rows, namespaces, sources, strict=True)
    ]
    corpus = Corpus(n, rows, centres, drafts, asked)
    assert len(corpus.row_of) == n + extra, "two rows have the same text"
    return corpus


def _unit(rows: Floats) -> Floats:
    unit: Floats = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def _around(rng: np.random.Generator, centres: Floats) -> Floats:
    noise = rng.standard_normal(centres.shape, dtype=np.float32)
    return _unit(centres + np.float32(_NOISE / np.sqrt(centres.shape[1])) * noise)


def _namespaces(rng: np.random.Generator, centres: Floats, cluster: Rows) -> list[Namespace]:
    """One a row: two whose rows lie together, two whose rows are spread at random, and the others."""
    named = _other_namespaces(rng, len(cluster))
    free = np.arange(len(cluster))
    for kind, place, share in (
        ("together", "many", _MANY), ("together", "few", _FEW), ("spread", "many", _MANY), ("spread", "few", _FEW),
    ):  # fmt: skip
        if kind == "together":
            nearness = centres @ centres[cluster[free[0]]]
            order = np.argsort(-nearness[cluster[free]], kind="stable")
        else:
            order = rng.permutation(len(free))
        chosen = free[order[: round(share * len(cluster))]]
        for row in chosen.tolist():
            named[row] = kind, place
        free = np.setdiff1d(free, chosen)
    return named


def _other_namespaces(rng: np.random.Generator, count: int) -> list[Namespace]:
    return [("others", str(number)) for number in rng.integers(_OTHERS, size=count)]


def _sources(rng: np.random.Generator, n: int) -> list[str]:
    sources = _other_sources(rng, n)
    few, many = round(_FEW * n), round(_MANY * n)
    for place, row in enumerate(rng.permutation(n)[: few + many].tolist()):
        sources[row] = _FEW_SOURCE if place < few else _MANY_SOURCE
    return sources


def _other_sources(rng: np.random.Generator, count: int) -> list[str]:
    return [_OTHER_SOURCES[place] for place in rng.integers(len(_OTHER_SOURCES), size=count)]


def _words(rng: np.random.Generator) -> list[str]:
    """Made-up words, the frequent ones short."""
    lengths = np.minimum(2 + np.sqrt(np.arange(_WORDS)) / 8, 9).astype(int) + rng.integers(2, size=_WORDS)
    return ["".join(rng.choice(list(string.ascii_lowercase), length)) for length in lengths]


def _texts(rng: np.random.Generator, words: Sequence[str], count: int) -> list[str]:
    """About 200 characters each, of words whose frequency falls with their rank as in natural language.

    Source: Zipf, Human Behavior and the Principle of Least Effort, 1949.
    """
    frequency = np.arange(1, len(words) + 1, dtype=np.float64) ** -_ZIPF_EXPONENT
    drawn = rng.choice(len(words), size=(count, _WORDS_A_TEXT), p=frequency / frequency.sum())
    return [" ".join(words[place] for place in row) for row in drawn.tolist()]
