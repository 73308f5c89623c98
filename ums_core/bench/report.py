"""What the benchmarks of quality share: rows with intervals, a bar, a table, a plot."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np
import numpy.typing as npt

from ums_core.errors import InvalidInput, MissingExtra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Bar", "Interval", "draw", "interval", "new_figure", "plot", "print_table"]

Interval = tuple[float, float]
_RESAMPLES = 1000
_LEVEL = 95.0
_COLOURS = 10  # after which the usual ones begin again


@dataclass(slots=True)
class Bar:
    """A progress bar, drawn only where the stream is a terminal."""

    total: int
    stream: TextIO | None
    _done: int = field(default=0, init=False)
    _percent: int = field(default=-1, init=False)

    def step(self) -> None:
        """One more is done."""
        self._done += 1
        percent = 100 * self._done // self.total
        if self.stream is not None and self.stream.isatty() and percent != self._percent:
            self._percent = percent
            end = "\n" if self._done == self.total else ""
            self.stream.write(f"\r[{'#' * (percent // 4):25}] {percent:3} %{end}")
            self.stream.flush()


def interval(values: npt.NDArray[np.float64]) -> list[Interval]:
    """Where the mean of each column lies with 95 % confidence, shape (n, m) to m pairs; the same for the same values.

    Questions are drawn anew a thousand times; that those of one conversation resemble each other is not accounted for.

    Source: Efron, Annals of Statistics 7(1), 1979; percentile intervals.
    """
    rng = np.random.default_rng(0)
    n = len(values)
    means = np.array([values[rng.integers(n, size=n)].mean(axis=0) for _ in range(_RESAMPLES)])
    tail = (100.0 - _LEVEL) / 2
    low, high = np.percentile(means, [tail, 100.0 - tail], axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def print_table(title: str, headers: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """A table on stdout, by Rich where it is installed."""
    try:
        from rich import box  # noqa: PLC0415  # of the extra "bench"
        from rich.console import Console  # noqa: PLC0415  # as above
        from rich.table import Table  # noqa: PLC0415  # as above
    except ImportError:
        widths = [max(map(len, column)) for column in zip(headers, *lines, strict=True)]
        print(title)
        for line in (headers, *lines):
            print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
        return
    table = Table(title=title, box=box.SIMPLE)
    for header in headers:
        table.add_column(header, justify="right")
    for line in lines:
        table.add_row(*line)
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def plot(path: Path, title: str, bars: Mapping[str, Mapping[str, tuple[float, Interval]]]) -> None:
    """Draw means with their intervals, a group of bars a measure and one a contestant.

    Args:
        path: its ending names the format, such as ``.png`` or ``.svg``.
        title: above the plot.
        bars: mean and interval by measure, by contestant.

    Raises:
        MissingExtra: matplotlib is not installed.
        InvalidInput: as ``draw``.
    """
    try:
        from matplotlib import colormaps  # noqa: PLC0415  # of the extra "bench"
        from matplotlib.figure import Figure  # noqa: PLC0415  # as above
    except ImportError as e:
        raise MissingExtra("matplotlib is not installed; pip install 'ums-core[bench]'") from e
    measures = list(next(iter(bars.values())))
    figure = Figure(figsize=(4 + 1.6 * len(measures), 4), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(bars)
    places = np.arange(len(measures))
    for number, (name, values) in enumerate(bars.items()):
        means = np.array([values[measure][0] for measure in measures])
        ends = np.array([values[measure][1] for measure in measures]).T
        axes.bar(
            places + (number - (len(bars) - 1) / 2) * width,
            means,
            width,
            yerr=np.abs(ends - means),
            label=name,
            color=f"C{number}" if len(bars) <= _COLOURS else colormaps["tab20"](number % (2 * _COLOURS)),
            error_kw={"elinewidth": 0.8},
        )
    axes.set_xticks(places, measures)
    axes.set_ylim(0, 1)
    axes.set_title(title)
    figure.legend(loc="outside right upper", fontsize="small")
    draw(figure, path)


def draw(figure: "Figure", path: Path) -> None:
    """Write a figure into a file whose ending names the format.

    Raises:
        InvalidInput: no such format, or the file cannot be written.
    """
    try:
        figure.savefig(path)
    except (OSError, ValueError) as e:
        raise InvalidInput(f"the plot cannot be written: {e}; name a file such as recall.png") from e


def new_figure(width: float) -> "Figure":
    """A figure so many inches wide, without a window.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415  # of the extra "bench"
    except ImportError as e:
        raise MissingExtra("matplotlib is not installed; pip install 'ums-core[bench]'") from e
    return Figure(figsize=(width, 4), layout="constrained")
