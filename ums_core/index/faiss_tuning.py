"""When a graph pays, how wide to search it, and how to search a part of it. Pure; numbers of rows in, decisions out."""

import math
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "DEFAULT_PARAMS",
    "Growth",
    "HnswParams",
    "build_threads",
    "growth",
    "is_bulk",
    "probe_pays",
    "probe_width",
    "save_is_due",
    "walk_width",
    "wider",
]

Growth = Literal["none", "merge", "rebuild"]

# Costs of one row in us at 384 components, of which only the ratios matter: one more candidate of a walk, a gathered
# float32 row, a contiguous float32 row, a contiguous half-precision row.
_WALK, _GATHER, _STREAM, _HALF = 3.0, 0.2, 0.1, 0.03


# Whoever brings rows in bulk brings the next ones within this time.
_LULL_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class HnswParams:
    """How the graph is built and searched, and when there is one.

    The graph: M 24, efConstruction 100, efSearch 96. Recall@10 and p50 of one search in one thread, two cores, 2026-11;
    clusters of 100 vectors with a noise of 0.7 sigma, and sentences of Python documentation:

    ============  ===================  ====================  ====================  ==========
    M / efC / ef  clustered, 100k x    MiniLM, 30k x 384     static, 60k x 256     build
                  384
    ============  ===================  ====================  ====================  ==========
    16/100/64     .9998, 145 us        .986, 130 us          .965, 115 us          1
    16/200/96                          .996, 178 us          .984, 167 us          1.5 to 2
    24/100/96     1.000, 255 us        .996, 211 us          .982, 176 us          1.1
    32/100/96     .9998, 265 us        .997, 235 us          .982, 212 us          1.3
    32/200/64                          .995, 175 us          .984, 144 us          2 to 3
    ============  ===================  ====================  ====================  ==========

    Clusters of noise are easy: any of them will do there. Texts in the embedding space of a static model are not, and
    0.98 on those decides; efConstruction 200 would buy the same for about twice the time of building.

    Attributes:
        m: neighbours of a node; twice as many on the lowest layer.
        ef_construction: breadth of the walk that places a new vector.
        ef_search: breadth of the walk of a search.
        exact_below: up to this many vectors there is no graph. A product of 4,000 takes 0.2 ms, as long as a search of
            a graph of 100,000, and misses nothing; in time alone a graph wins from 1,000 on.
        merge_rows: a tail of so many vectors is merged into the graph; 1,024 cost a search 0.1 ms.
        merge_share: or of this share of the graph, whichever is more.
        dead_share: the graph is rebuilt when more of it is dead.
        few: so many allowed rows are compared one by one, without any plan.
        probe_width: how many of the nearest of all are looked through for allowed ones, at most.
        hot_share: bytes of half-precision copies kept for row sets that are searched often, of the vectors' bytes.
    """

    m: int = 24
    ef_construction: int = 100
    ef_search: int = 96
    exact_below: int = 4000
    merge_rows: int = 1024
    merge_share: float = 0.01
    dead_share: float = 0.25
    few: int = 1000
    probe_width: int = 1024
    hot_share: float = 0.4

    @property
    def build(self) -> dict[str, int]:
        """What a graph on disk was made with; another value means another graph."""
        return {"m": self.m, "ef_construction": self.ef_construction}


DEFAULT_PARAMS = HnswParams()


def growth(params: HnswParams, *, graph: int, dead: int, tail: int) -> Growth:
    """What is due: nothing, to merge the tail into the graph, or to build one graph of all that lives.

    Args:
        params: the thresholds.
        graph: vectors in the graph, 0 for none.
        dead: how many of them are removed.
        tail: live vectors outside it.
    """
    if not graph:
        return "rebuild" if tail > params.exact_below else "none"
    if dead > params.dead_share * graph:
        return "rebuild"
    return "merge" if tail > max(params.merge_rows, params.merge_share * graph) else "none"


def is_bulk(*, graph: int, tail: int) -> bool:
    """Whether so much is to be built that all cores should do it, at the price of slower searches meanwhile."""
    return 2 * tail > graph


def build_threads(cores: int, *, idle_s: float) -> int:
    """Threads for a part of a bulk build: all cores once no row came for a while, and until then one fewer.

    That one is for whoever brings the rows. FAISS's threads wait for each other after every part: where there were more
    of them than free cores, an ingest of 10,000 rows took 5.0 s instead of 4.0 until nothing was left to do.
    """
    return cores if idle_s > _LULL_S else max(1, cores - 1)


def save_is_due(*, changed: int, rows: int) -> bool:
    """Whether enough changed since the last snapshot for another one, which costs its bytes."""
    return 10 * changed > rows


def walk_width(params: HnswParams, k: int, rows: int) -> int | None:
    """Breadth of the walk for the k nearest of all, or None where the product of all rows costs less."""
    ef = max(params.ef_search, 2 * k)
    return ef if ef == params.ef_search or ef * _WALK < rows * _STREAM else None


def wider(width: int, rows: int) -> int | None:
    """Breadth of the next try after too few rows came, or None where the product of all rows costs less."""
    return 4 * width if 4 * width * _WALK < rows * _STREAM else None


def probe_width(params: HnswParams, k: int, *, allowed: int, rows: int) -> int | None:
    """How many of the nearest of all rows hold k allowed ones 19 times in 20, or None where that is too many.

    Were the allowed rows spread at random, the number among the nearest w would be binomial with mean w * allowed /
    rows; a mean of k + 2 sqrt(k) leaves fewer than k in one of 20 cases. The walk itself must be twice as broad, or it
    misses too many of the farther ones: recall@10 of 10 % of the rows .98 instead of .96 for a namespace of neighbours.
    """
    width = max(params.ef_search, math.ceil((k + 2 * math.sqrt(k)) * rows / allowed))
    return width if width <= params.probe_width else None


def probe_pays(width: int, *, allowed: int, misses: int, scanned: bool) -> bool:
    """Whether to look for the allowed rows among the nearest of all before all of them are compared.

    Args:
        width: how many of the nearest; the walk is twice as broad.
        allowed: number of allowed rows.
        misses: how often such a walk found too few of this set.
        scanned: whether a half-precision copy of the allowed rows is at hand.
    """
    walk, scan = 2 * width * _WALK, allowed * (_HALF if scanned else _GATHER)
    return walk < (scan if misses < 2 else scan / 4)  # noqa: PLR2004  # once is chance
