"""Made-up memories whose vectors lie in clusters, with namespaces and sources of known size; the same for one seed."""

import string
from collections.abc import Mapping
from dataclasses import dataclass
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

    def truth(self, scope: Scope, k: int) -> list[list[int]]:
        """For each query, the k nearest of the first ``n`` rows in a scope by brute force, best first."""
        rows = self.rows(scope)
        scores = self.queries @ self.vectors[rows].T
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return [found.tolist() for found in rows[best]]


def make_corpus(n: int, *, extra: int, queries: int, dim: int, seed: int) -> Corpus:
    """A corpus of ``n`` rows and ``extra`` more. Costs about 60 us a row."""
    rng = np.random.default_rng([seed, n])
    centres = _unit(rng.standard_normal((max(2, n // ROWS_A_CLUSTER), dim)).astype(np.float32))
    cluster = rng.integers(len(centres), size=n + extra)
    vectors = _around(rng, centres[cluster])
    namespaces = _namespaces(rng, centres, cluster[:n], extra)
    sources = _sources(rng, n, extra)
    drafts = [
        Draft(text=text, embedding=vector, namespace=namespace, metadata={"source": source})
        for text, vector, namespace, source in zip(_texts(rng, n + extra), vectors, namespaces, sources, strict=True)
    ]
    asked = _around(rng, centres[rng.integers(len(centres), size=queries)])
    corpus = Corpus(n, vectors, centres, drafts, asked)
    assert len(corpus.row_of) == n + extra, "two rows have the same text"
    return corpus


def _unit(rows: Floats) -> Floats:
    unit: Floats = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def _around(rng: np.random.Generator, centres: Floats) -> Floats:
    noise = rng.standard_normal(centres.shape, dtype=np.float32)
    return _unit(centres + np.float32(_NOISE / np.sqrt(centres.shape[1])) * noise)


def _namespaces(rng: np.random.Generator, centres: Floats, cluster: Rows, extra: int) -> list[Namespace]:
    """One a row: two whose rows lie together, two whose rows are spread at random, and the others."""
    n = len(cluster)
    named = np.array([("others", str(number)) for number in rng.integers(_OTHERS, size=n + extra)], dtype=object)
    free = np.arange(n)
    for kind, place, share in (
        ("together", "many", _MANY), ("together", "few", _FEW), ("spread", "many", _MANY), ("spread", "few", _FEW),
    ):  # fmt: skip
        if kind == "together":
            first = centres[cluster[free[0]]]
            order = np.argsort(-(centres @ first)[cluster[free]], kind="stable")
        else:
            order = rng.permutation(len(free))
        chosen = free[order[: round(share * n)]]
        named[chosen] = [(kind, place)]
        free = np.setdiff1d(free, chosen)
    return [tuple(labels) for labels in named]


def _sources(rng: np.random.Generator, n: int, extra: int) -> list[str]:
    others = [_OTHER_SOURCES[place] for place in rng.integers(len(_OTHER_SOURCES), size=n + extra)]
    order = rng.permutation(n).tolist()
    few, many = round(_FEW * n), round(_MANY * n)
    for place, row in enumerate(order[: few + many]):
        others[row] = _FEW_SOURCE if place < few else _MANY_SOURCE
    return others


def _texts(rng: np.random.Generator, count: int) -> list[str]:
    """About 200 characters each, of words whose frequency falls with their rank as in natural language.

    Source: Zipf, Human Behavior and the Principle of Least Effort, 1949.
    """
    letters = list(string.ascii_lowercase)
    lengths = np.minimum(2 + np.sqrt(np.arange(_WORDS)) / 8, 9).astype(int) + rng.integers(2, size=_WORDS)
    words = ["".join(rng.choice(letters, length)) for length in lengths]
    frequency = np.arange(1, _WORDS + 1, dtype=np.float64) ** -_ZIPF_EXPONENT
    drawn = rng.choice(_WORDS, size=(count, _WORDS_A_TEXT), p=frequency / frequency.sum())
    return [" ".join(words[place] for place in row) for row in drawn.tolist()]
