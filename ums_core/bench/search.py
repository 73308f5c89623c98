"""``python -m ums_core.bench search``: how long a search takes, by each way to rank and elsewhere, in one run."""

import argparse
import json
import sys
from dataclasses import asdict, dataclass

from ums_core.bench.report import print_table
from ums_core.bench.search_measure import Plan, Row, measured
from ums_core.bench.store import machine, positive

__all__ = ["Goal", "add_arguments", "goals", "run"]

_EPILOG = """\
rows: ums by vectors, by words, by both (hybrid, the default); both with an explanation, with maximal marginal relevance
  (lambda 0.7) and with a cross-encoder on the best twenty; the same in a namespace of 1 % of the memories; a FAISS
  index with rows in SQLite; Chroma; LangGraph's InMemoryStore
Memories are turns of conversations; their vectors are clustered and given by the caller, so that nothing is embedded. A
question has five telling words of a memory. Without --cross-encoder a model of MiniLM-L6's shape with random weights
stands in: it costs the same.
first: median of the first time that each question is asked, after the rows above asked it
p50, p95: of later times, one thread, the contestants in turns, query by query: a processor that changes its pace does
  so for all, and each finds the caches as others left them; with --in-a-row 100 as it left them itself
QPS: of one thread, and of one thread a core, in searches a second"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A ratio or a time that was aimed at, and what came out."""

    n: int
    what: str
    measured: float
    most: float


def goals(rows: list[Row]) -> list[Goal]:
    """The ratios and times that were aimed at, for each size."""
    found: list[Goal] = []
    for n in sorted({row.n for row in rows}):
        p50 = {row.name: row.p50_us for row in rows if row.n == n}
        first = {row.name: row.first_us for row in rows if row.n == n}
        sums = p50["ums vector"] + p50["ums words"]
        ratios = [
            ("hybrid / (vector + words)", p50["ums hybrid"] / sums, 1.3),
            ("hybrid / vector, namespace 1 %", p50["ums hybrid, 1 %"] / p50["ums vector, 1 %"], 2.0),
            ("words, ms, every question asked before", p50["ums words"] / 1e3, 3.0),
            ("words, ms, a new question", first["ums words"] / 1e3, 3.0),
            ("explained / hybrid", p50["ums hybrid, explained"] / p50["ums hybrid"], float("inf")),
        ]
        found += [Goal(n=n, what=what, measured=value, most=most) for what, value, most in ratios]
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sizes and the other options."""
    plan = Plan()
    parser.epilog = _EPILOG
    parser.add_argument(
        "--sizes", type=_sizes, default=plan.sizes, metavar="N,N",
        help="numbers of memories (default: 1000,10000,100000)",
    )  # fmt: skip
    parser.add_argument(
        "--others-max", type=int, default=plan.others_max, metavar="N",
        help="largest size at which Chroma and LangGraph's store take part (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--cross-encoder", metavar="NAME_OR_PATH", help="a trained one; 'none' leaves the row out")
    parser.add_argument(
        "--queries", type=positive, default=plan.queries, metavar="N", help="how many (default: %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=positive, default=plan.rounds, metavar="N", help="how many (default: %(default)s)"
    )
    parser.add_argument(
        "--in-a-row", type=positive, default=plan.in_a_row, metavar="N",
        help="queries of one before the next one's turn (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help='print {"machine": …, "rows": […], "goals": […]}')


def run(args: argparse.Namespace) -> int:
    """Measure, and print the rows on stdout.

    Raises:
        MissingExtra: a package is not installed.
        AssertionError: a search found nothing.
    """
    plan = Plan(
        sizes=args.sizes,
        others_max=args.others_max,
        cross_encoder=args.cross_encoder,
        queries=args.queries,
        rounds=args.rounds,
        in_a_row=args.in_a_row,
    )
    rows = list(measured(plan, lambda what: print(what, file=sys.stderr)))
    aims = goals(rows)
    if args.json:
        told = {"rows": [asdict(row) for row in rows], "goals": [asdict(goal) for goal in aims]}
        print(json.dumps({"machine": machine(), **told}, indent=2))
        return 0
    lines = [
        (row.name, f"{row.n:,}", *(f"{x:,.0f}" for x in (row.first_us, row.p50_us, row.p95_us, row.qps, row.qps_all)))
        for row in rows
    ]
    print_table("search, k 10", ("", "memories", "first us", "p50 us", "p95 us", "QPS", "QPS, all cores"), lines)
    print_table("goals", ("", "memories", "measured", "at most"), [_line(goal) for goal in aims])
    return 0


def _line(goal: Goal) -> tuple[str, ...]:
    most = "" if goal.most == float("inf") else f"{goal.most:g}"
    return goal.what, f"{goal.n:,}", f"{goal.measured:.2f}", most


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(sorted({int(part) for part in text.split(",")}))
