"""The rows as tables for people, and where a long run stands."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ums_core.bench.store_rows import Row, growth
from ums_core.bench.store_stage import Say

__all__ = ["print_report", "progress"]

_WIDTH = 140
_UNITS = {"us": "us", "s": "s", "mib": "MiB"}


@contextmanager
def progress(stream: TextIO, total: int) -> Iterator[tuple[Say, Callable[[], None]]]:
    """A function that says what is being measured, and one that counts a step as done; shown only on a terminal.

    The bar is drawn only when one of them is called: a thread that draws would take time from what is measured.
    """
    bar = Progress(console=Console(file=stream), auto_refresh=False, transient=True, disable=not stream.isatty())
    with bar:
        task = bar.add_task("", total=total)
        yield (
            lambda what: bar.update(task, description=what, refresh=True),
            lambda: bar.update(task, advance=1, refresh=True),
        )


def print_report(machine: Mapping[str, object], rows: Sequence[Row]) -> None:
    """The machine, the rows, and how they grow, on stdout."""
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    console.print(", ".join(f"{name} {value}" for name, value in machine.items() if value is not None))
    table = Table(title="UMS beside a hand-written FAISS + SQLite script, and beside Chroma", box=box.SIMPLE)
    for header in ("what", "n", "ours", "ours / reference", "ours / own", "Chroma / ours", "recall@10", "met"):
        table.add_column(header, justify="left" if header == "what" else "right", no_wrap=header == "what")
    for row in rows:
        goals = row.goals
        table.add_row(
            row.what,
            f"{row.n:,}",
            f"{_short(row.ours)} {_UNITS[row.unit]}",
            _beside(row.ratio_reference, "<=", goals.reference),
            _beside(row.ratio_base, "<=", goals.base),
            _beside(row.ratio_chroma, ">=", goals.chroma),
            _beside(row.recall, ">=", goals.recall, places=4),
            {True: "yes", False: "no", None: ""}[row.met],
        )
    console.print(table)
    grown = growth(rows)
    if grown:
        table = Table(title="Growth of ours from the smallest to the largest size", box=box.SIMPLE)
        for header in ("what", "from", "to", "rows", "cost"):
            table.add_column(header, justify="left" if header == "what" else "right")
        for line in grown:
            table.add_row(line.what, f"{line.from_n:,}", f"{line.to_n:,}", f"x {line.rows:g}", f"x {line.cost:.2f}")
        console.print(table)


def _beside(value: float | None, sign: str, goal: float | None, *, places: int = 2) -> str:
    """A number with its goal, such as ``1.20 (<= 1.5)``."""
    if value is None:
        return ""
    return f"{value:.{places}f}" if goal is None else f"{value:.{places}f} ({sign} {goal:g})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004  # three digits
