"""``ums search``: the memories that answer a question."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import cycle
from typing import Annotated, Literal

import typer

from ums_core import Hit, Query
from ums_core.cli.context import namespace_of, of
from ums_core.cli.options import Under
from ums_core.cli.show import label, print_json, print_table, tell
from ums_core.errors import InvalidFilter, InvalidQuery
from ums_core.records.query import Hits

__all__ = ["condition_of", "search"]

_BAR = 24
_SIGNS = "█▓▒░▞▚▤▥"

_Level = Annotated[int | None, typer.Option(help="Only of this level: 0 is what was said, 1 its summaries.")]
_Recency = Annotated[
    float | None, typer.Option(metavar="SHARE", help="The most that age may take from a score, from 0 to 1.")
]
_AsOf = Annotated[
    str | None, typer.Option(metavar="TIME", help="What was true then: ISO 8601, UTC where no zone is said.")
]
_Archived = Annotated[
    bool, typer.Option("--archived", help="Also what was merged, superseded, or can still be brought back.")
]


def search(  # noqa: PLR0913  # each is an option of the command line
    ctx: typer.Context,
    text: Annotated[str, typer.Argument(help="The question, in words.")],
    *,
    namespace: Under = "",
    k: Annotated[int, typer.Option("-k", help="How many hits at most.")] = 10,
    mode: Annotated[Literal["hybrid", "vector", "keyword"], typer.Option(help="What is compared.")] = "hybrid",
    where: Annotated[
        str | None,
        typer.Option("--filter", metavar="JSON", help='A condition on fields, such as \'{"role": "user"}\'.'),
    ] = None,
    level: _Level = None,
    recency: _Recency = None,
    as_of: _AsOf = None,
    archived: _Archived = False,
    channel: Annotated[
        Literal["personal", "global", "both"],
        typer.Option(help="Which side of a dual store is asked, where AI_CHANNEL=dual."),
    ] = "personal",
    rerank: Annotated[
        bool | None,
        typer.Option(
            "--rerank/--no-rerank", help="Whether a cross-encoder reorders the best; else as the settings say."
        ),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say what each signal contributed to each score, as a table and a bar.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the hits as JSON, with every field.")] = False,
) -> None:
    """Print the memories that answer a question, best first."""
    query = Query(
        text=text,
        namespace=namespace_of(namespace),
        k=k,
        mode=mode,
        filter=condition_of(where),
        level=level,
        recency=recency,
        as_of=_moment(as_of),
        include_archived=archived,
        use_cross_encoder=rerank,
        explain=explain,
        channel=channel,
    )
    with of(ctx).channel() as store:
        hits = store.search(query)
    _print(hits, as_json=as_json, explain=explain)
    if isinstance(hits, Hits) and hits.degraded is not None:
        tell(f"the global side did not answer: {hits.degraded}")
    if any(hit.reranked is False for hit in hits):
        tell("the cross-encoder ran out of time; the hits keep the order without it")


def _print(hits: Sequence[Hit], *, as_json: bool, explain: bool) -> None:
    if as_json:
        print_json(hits)
    elif not hits:
        tell("nothing found")
    elif explain:
        _print_explained(hits)
    else:
        sides = [(hit.channel,) if hit.channel else () for hit in hits]
        headers = ("score#", *(("side",) if any(sides) else ()), "when", "who", "namespace", "id", "text")
        print_table(headers, [_line(hit, *side) for hit, side in zip(hits, sides, strict=True)])


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as e:
        raise InvalidQuery(f"--as-of takes a time such as 2026-03-01 or 2026-03-01T09:30:00+01:00, got {text!r}") from e
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def condition_of(text: str | None, option: str = "--filter") -> dict[str, object] | None:
    """A condition on fields, written as JSON on the command line.

    Raises:
        InvalidFilter: it is no JSON object.
    """
    if text is None:
        return None
    try:
        condition = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise InvalidFilter(f'{option} takes JSON such as \'{{"role": "user"}}\', got {text!r:.200}: {e}') from e
    if not isinstance(condition, dict):
        raise InvalidFilter(f'{option} takes a JSON object such as \'{{"role": "user"}}\', got {text!r}')
    return condition


def _line(hit: Hit, *side: str) -> tuple[str, ...]:
    memory = hit.memory
    when = memory.occurred_at or memory.created_at
    return (
        f"{hit.score:.3f}",
        *side,
        f"{when:%Y-%m-%d}",
        memory.speaker or memory.role or "",
        label(memory.namespace),
        memory.id,
        memory.text or memory.caption or "",
    )


def _print_explained(hits: Sequence[Hit]) -> None:
    """A column a signal, and a bar in which each has its sign and a width in proportion."""
    names = list(dict.fromkeys(name for hit in hits for name in hit.signals or {}))
    signs = dict(zip(names, cycle(_SIGNS), strict=False))
    most = max(sum(value for value in (hit.signals or {}).values() if value > 0) for hit in hits)
    lines = []
    for hit in hits:
        signals = hit.signals or {}
        bar = "".join(signs[name] * round(_BAR * max(0.0, signals.get(name, 0.0)) / (most or 1.0)) for name in names)
        numbers = [f"{signals[name]:+.2f}" if name in signals else "" for name in names]
        lines.append(
            (
                f"{hit.score:.3f}",
                *numbers,
                bar,
                hit.memory.speaker or hit.memory.role or "",
                hit.memory.text or hit.memory.caption or "",
            )
        )
    print_table(("score#", *(f"{name} {signs[name]}#" for name in names), "bar", "who", "text"), lines)
