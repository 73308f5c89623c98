"""What commands print: results on stdout, everything else on stderr."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import quote

import typer
from pydantic_core import to_json
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

__all__ = ["complain", "label", "plain", "print_json", "print_table", "progress", "tell"]

_WIDTH = 120  # where there is no terminal to ask


def print_json(value: object) -> None:
    """Print a value as JSON: dataclasses as objects, times in ISO 8601, tuples as lists."""
    typer.echo(to_json(value, indent=2).decode())


def print_table(headers: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Print a table on stdout as wide as the terminal; a header that ends in ``#`` stands over numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        table.add_column(header.removesuffix("#"), justify="right" if header.endswith("#") else "left")
    for line in lines:
        table.add_row(*(Text(plain(cell)) for cell in line))
    Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH).print(table)


def tell(message: str) -> None:
    """Say on stderr what is going on, beside the results."""
    typer.echo(plain(message), err=True)


def complain(message: str, code: str) -> None:
    """Say on stderr what went wrong, in one line."""
    typer.echo(f"ums: error: {plain(' '.join(message.split()))} ({code})", err=True)


def plain(text: str) -> str:
    """The text without characters that command a terminal; line breaks and tabs stay."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def label(namespace: Sequence[str]) -> str:
    """A namespace as a path, the inverse of ``namespace_of``."""
    return "/".join(quote(part, safe=" @:+,;=") for part in namespace)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr for a ``with`` block, where that is a terminal; call what it gives with (done, total)."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
