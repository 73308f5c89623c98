"""What is asked, and what comes back."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ums_core.errors import InvalidQuery
from ums_core.records.check import check_label, check_namespace, check_text
from ums_core.records.filter import Filter
from ums_core.records.memory import TEXT, Memory, Namespace, Vector

__all__ = ["MODES", "Health", "Hit", "Mode", "Page", "Query"]

Mode = Literal["hybrid", "vector", "keyword"]
MODES: tuple[Mode, ...] = ("hybrid", "vector", "keyword")
SIGNALS = ("dense", "lexical")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A question to a store.

    Attributes:
        text: the question in words; embedded by the store unless ``vector`` is given.
        vector: the question as a vector, shape (d,); alone, it makes a pure vector search.
        namespace: a prefix, matched label by label; ``()`` searches everything.
        k: how many hits at most, from 1.
        filter: a :class:`Filter`, or a plain dict that means equality.
        mode: ``hybrid`` fuses vectors and keywords; ``vector`` and ``keyword`` use one alone.
        modality: which vectors to compare with.
        level: only memories of this level; None is all.
        weights: share of each signal in the fusion, ``dense`` and ``lexical``, non-negative; None is the default.

    Raises:
        InvalidQuery, InvalidNamespace, InvalidText, InvalidFilter: by the part that is unusable.
    """

    text: str | None = None
    vector: "Vector | None" = field(default=None, compare=False, repr=False)
    namespace: Namespace = ()
    k: int = 10
    filter: Filter | Mapping[str, object] | None = None
    mode: Mode = "hybrid"
    modality: str = TEXT
    level: int | None = None
    weights: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        """Check every field once and bring the filter into its one form."""
        put = object.__setattr__
        if self.text is not None:
            check_text(self.text, "query text")
        if self.vector is None and not (self.text or "").strip():
            raise InvalidQuery("a query needs a text or a vector; this one has neither")
        if self.mode not in MODES:
            raise InvalidQuery(f"mode must be one of {', '.join(MODES)}, got {self.mode!r}")
        if self.mode == "keyword" and not (self.text or "").strip():
            raise InvalidQuery("a keyword search needs a text; give text=, or use mode='vector'")
        if isinstance(self.k, bool) or not isinstance(self.k, int) or self.k < 1:
            raise InvalidQuery(f"k must be an integer of at least 1, got {self.k!r}")
        if self.namespace or not isinstance(self.namespace, tuple):
            put(self, "namespace", check_namespace(self.namespace))
        check_label(self.modality, "modality")
        if self.level is not None and (isinstance(self.level, bool) or not isinstance(self.level, int)):
            raise InvalidQuery(f"level must be an integer or None, got {self.level!r}")
        if self.filter is not None:
            put(self, "filter", Filter.parse(self.filter))
        if self.weights is not None:
            put(self, "weights", _weights(self.weights))


def _weights(weights: Mapping[str, float]) -> dict[str, float]:
    if not isinstance(weights, Mapping) or not weights:
        raise InvalidQuery(f"weights must map {' and '.join(SIGNALS)} to numbers, got {weights!r}")
    for name, value in weights.items():
        if name not in SIGNALS:
            raise InvalidQuery(f"unknown signal {name!r} in weights; known are {', '.join(SIGNALS)}")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
            raise InvalidQuery(f"the weight of {name!r} must be a finite number of at least 0, got {value!r}")
    if not any(weights.values()):
        raise InvalidQuery("at least one weight must be greater than 0")
    return dict(weights)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One answer.

    Attributes:
        memory: what was found.
        score: higher is better; comparable only within one result.
        similarity: cosine of the query and the best passage, in [-1, 1]; None where no vector was compared.
        passage: which of the memory's passages matched best.
    """

    memory: Memory
    score: float
    similarity: float | None = None
    passage: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a scan, in the order in which the identities were first stored.

    Attributes:
        memories: at most as many as were asked for.
        cursor: give it to the next ``scan``; None after the last page.
    """

    memories: list[Memory]
    cursor: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a store is.

    Attributes:
        status: ``ok``; ``recovering`` while an index is rebuilt: reads are answered, writes are refused.
        memories: how many are stored.
        seq: number of the last committed change.
        index_seq: number of the last change that the index has taken up, by modality.
        index: kind of index that answers, by modality, such as ``exact`` or ``hnsw``.
        embedder: what the database is bound to, by modality.
        dim: how many components a vector has, by modality; of text also before the first one.
        driver: name and SQLite version of the driver.
        detail: anything else worth a look, in words.
    """

    status: Literal["ok", "recovering"]
    memories: int
    seq: int
    index_seq: dict[str, int]
    index: dict[str, str]
    embedder: dict[str, str]
    driver: str
    dim: dict[str, int] = field(default_factory=dict)
    detail: tuple[str, ...] = ()
