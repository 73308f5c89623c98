"""All measurements of a plan, size by size."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

from ums_core.bench.chroma import chroma_version
from ums_core.bench.store_files import memory_rows, open_rows
from ums_core.bench.store_rows import Plan, Row
from ums_core.bench.store_search import busy_rows, filter_rows, search_rows
from ums_core.bench.store_stage import Say, Stage, prepared
from ums_core.bench.store_write import add_rows

__all__ = ["measured", "step_count"]

# Those that add rows come last.
_STEPS: dict[str, Callable[[Stage, Say], list[Row]]] = {
    "search": search_rows,
    "filter": filter_rows,
    "open": open_rows,
    "memory": memory_rows,
    "add": add_rows,
    "busy": busy_rows,
}


def step_count(plan: Plan) -> int:
    """How many times ``measured`` yields."""
    at_each = len(plan.only & set(_STEPS)) + 1
    return at_each * len(plan.sizes) - ("filter" in plan.only) * (len(plan.sizes) - 1)


def measured(plan: Plan, say: Say) -> Iterator[list[Row]]:
    """The rows, step by step; without chromadb they have no Chroma part, and a line on stderr says so.

    Raises:
        AssertionError: an answer was wrong.
    """
    if plan.chroma_max >= plan.sizes[0] and chroma_version() is None:
        print("chromadb is not installed: no row has a Chroma part; pip install 'ums-core[bench]'", file=sys.stderr)
        plan = replace(plan, chroma_max=0)
    for n in plan.sizes:
        with prepared(plan, n, say) as (stage, ingested):
            yield ingested
            for name, step in _STEPS.items():
                if name in plan.only and (name != "filter" or n == plan.sizes[-1]):
                    yield step(stage, say)
