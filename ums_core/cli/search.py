"""``ums search``: the memories that answer a question."""

import json
from typing import Annotated, Literal

import typer

from ums_core import Hit, Query
from ums_core.cli.context import namespace_of, of
from ums_core.cli.show import label, print_json, print_table, tell
from ums_core.errors import InvalidFilter

__all__ = ["search"]


def search(  # noqa: PLR0913  # each is an option of the command line
    ctx: typer.Context,
    text: Annotated[str, typer.Argument(help="The question, in words.")],
    *,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", metavar="A/B", help="Only under this prefix; %2F is a slash in a label.")
    ] = "",
    k: Annotated[int, typer.Option("-k", help="How many hits at most.")] = 10,
    mode: Annotated[Literal["hybrid", "vector", "keyword"], typer.Option(help="What is compared.")] = "hybrid",
    where: Annotated[
        str | None,
        typer.Option("--filter", metavar="JSON", help='A condition on fields, such as \'{"role": "user"}\'.'),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the hits as JSON, with every field.")] = False,
) -> None:
    """Print the memories that answer a question, best first."""
    query = Query(text=text, namespace=namespace_of(namespace), k=k, mode=mode, filter=_filter(where))
    with of(ctx).store() as store:
        hits = store.search(query)
    if as_json:
        print_json(hits)
    elif hits:
        print_table(("score#", "when", "who", "namespace", "id", "text"), [_line(hit) for hit in hits])
    else:
        tell("nothing found")


def _filter(text: str | None) -> dict[str, object] | None:
    if text is None:
        return None
    try:
        condition = json.loads(text)
    except ValueError as e:
        raise InvalidFilter(f'--filter takes JSON such as \'{{"role": "user"}}\', got {text!r}: {e}') from e
    if not isinstance(condition, dict):
        raise InvalidFilter(f'--filter takes a JSON object such as \'{{"role": "user"}}\', got {text!r}')
    return condition


def _line(hit: Hit) -> tuple[str, ...]:
    memory = hit.memory
    when = memory.occurred_at or memory.created_at
    return (
        f"{hit.score:.3f}",
        f"{when:%Y-%m-%d}",
        memory.speaker or memory.role or "",
        label(memory.namespace),
        memory.id,
        memory.text,
    )
