"""What is measured, what a measurement found, what was hoped for, and whether it was reached."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ums_core.index.faiss_tuning import DEFAULT_PARAMS

__all__ = ["Goals", "Growth", "Kind", "Plan", "Row", "growth"]

# How vectors are compared: each of them, or along an HNSW graph.
Kind = Literal["flat", "graph"]
Unit = Literal["us", "s", "mib"]
_PLACES = {"us": 1, "s": 3, "mib": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured, and how often.

    Attributes:
        only: names of the measurements.
        chroma_max: largest size at which Chroma takes part; 0 for none.
        rounds: how often each block is timed.
        queries: how many different ones each search is measured with.
        crossover: largest size at which ours compares with every vector.
    """

    sizes: tuple[int, ...]
    only: frozenset[str]
    chroma_max: int
    dim: int = 384
    seed: int = 0
    rounds: int = 7
    queries: int = 100
    crossover: int = DEFAULT_PARAMS.exact_below

    def native(self, n: int) -> Kind:
        """The kind of index that ours has at a size."""
        return "graph" if n > self.crossover else "flat"


@dataclass(frozen=True, slots=True, kw_only=True)
class Goals:
    """Limits, each None where nothing was hoped for.

    Attributes:
        reference: most that ours may cost, as a multiple of the reference.
        base: the same of another measurement of ours.
        chroma: how many times faster than Chroma ours must be at least.
        recall: least recall@10.
    """

    reference: float | None = None
    base: float | None = None
    chroma: float | None = None
    recall: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table.

    Attributes:
        n: rows in the store.
        ours: in the unit, as are the next three.
        reference: of the hand-written script.
        chroma: of Chroma.
        base: of another measurement of ours; ``base_name`` says which.
        recall: recall@10 of ours against brute force.
    """

    what: str
    n: int
    ours: float
    unit: Unit = "us"
    reference: float | None = None
    chroma: float | None = None
    base: float | None = None
    base_name: str = ""
    recall: float | None = None
    reference_recall: float | None = None
    chroma_recall: float | None = None
    goals: Goals = Goals()

    @property
    def ratio_reference(self) -> float | None:
        """How many times as much as the reference ours costs; lower is better."""
        return None if self.reference is None else self.ours / self.reference

    @property
    def ratio_base(self) -> float | None:
        """How many times as much as ``base`` ours costs; lower is better."""
        return None if self.base is None else self.ours / self.base

    @property
    def ratio_chroma(self) -> float | None:
        """How many times faster than Chroma ours is; higher is better."""
        return None if self.chroma is None else self.chroma / self.ours

    def _judged(self) -> list[tuple[str, bool]]:
        """Each goal that has a measurement beside it, in words, and whether it was reached."""
        goals = self.goals
        at_most = ((self.ratio_reference, goals.reference, "reference"), (self.ratio_base, goals.base, self.base_name))
        judged = [
            (f"<= {limit:g}x {name}", ratio <= limit)
            for ratio, limit, name in at_most
            if ratio is not None and limit is not None
        ]
        if self.ratio_chroma is not None and goals.chroma is not None:
            judged.append((f">= {goals.chroma:g}x faster than Chroma", self.ratio_chroma >= goals.chroma))
        if self.recall is not None and goals.recall is not None:
            judged.append((f"recall >= {goals.recall:g}", self.recall >= goals.recall))
        return judged

    @property
    def goal(self) -> str | None:
        """What was hoped for, as far as it was measured; None for nothing."""
        return ", ".join(words for words, _ in self._judged()) or None

    @property
    def met(self) -> bool | None:
        """Whether all of ``goal`` was reached; None without one."""
        judged = self._judged()
        return all(reached for _, reached in judged) if judged else None

    def as_json(self) -> dict[str, object]:
        """One flat object; what was not measured is null."""
        measured = {"ours": self.ours, "reference": self.reference, "chroma": self.chroma, "base": self.base}
        places = _PLACES[self.unit]
        return {
            "what": self.what,
            "n": self.n,
            **{f"{name}_{self.unit}": _rounded(value, places) for name, value in measured.items()},
            "ratio_reference": _rounded(self.ratio_reference, 3),
            "ratio_chroma": _rounded(self.ratio_chroma, 2),
            "ratio_base": _rounded(self.ratio_base, 3),
            "base_name": self.base_name or None,
            "recall": _rounded(self.recall, 4),
            "reference_recall": _rounded(self.reference_recall, 4),
            "chroma_recall": _rounded(self.chroma_recall, 4),
            "goal": self.goal,
            "met": self.met,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """How much more a measurement costs at the largest size than at the smallest.

    Attributes:
        rows: the sizes' ratio.
        cost: the ratio of what ours costs.
    """

    what: str
    from_n: int
    to_n: int
    rows: float
    cost: float


def growth(rows: Sequence[Row]) -> list[Growth]:
    """One entry for each measurement that was taken at several sizes."""
    by_name: dict[str, list[Row]] = {}
    for row in rows:
        by_name.setdefault(row.what, []).append(row)
    ends = [(min(same, key=_size), max(same, key=_size)) for same in by_name.values()]
    return [
        Growth(what=a.what, from_n=a.n, to_n=b.n, rows=round(b.n / a.n, 2), cost=round(b.ours / a.ours, 3))
        for a, b in ends
        if b.n > a.n
    ]


def _size(row: Row) -> int:
    return row.n


def _rounded(value: float | None, places: int) -> float | None:
    return None if value is None else round(value, places)
