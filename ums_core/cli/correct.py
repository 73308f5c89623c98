"""``ums supersede``, ``ums expand`` and ``ums reinforce``: what is true now, what it was made from, what was used."""

from typing import Annotated

import typer

from ums_core import Draft, Memory
from ums_core.cli.context import namespace_of, of
from ums_core.cli.options import AsJson, Exactly
from ums_core.cli.show import print_json, print_table, tell

__all__ = ["expand", "reinforce", "supersede"]


def supersede(  # noqa: PLR0913  # each is an option of the command line
    ctx: typer.Context,
    old_id: Annotated[str, typer.Argument(help="Id of a memory that is true no more.")],
    text: Annotated[str, typer.Argument(help="What is true in its place.")],
    *,
    namespace: Exactly = "",
    key: Annotated[
        str | None, typer.Option("--key", help="The same key with the same correction makes it once.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Store what is true now, and archive what was; a search as of an earlier moment still finds that."""
    with of(ctx).channel() as store:
        new = store.supersede(old_id, Draft(text=text), namespace=namespace_of(namespace), idempotency_key=key)
    if as_json:
        print_json(new)
    else:
        tell(f"{new.id} is true from {new.valid_from:%Y-%m-%d %H:%M:%S}, in place of {old_id}")


def expand(
    ctx: typer.Context,
    id: Annotated[str, typer.Argument(help="Id of a summary, alive or archived.")],  # noqa: A002  # as in every record
    *,
    namespace: Exactly = "",
    as_json: AsJson = False,
) -> None:
    """Print what a summary was made from."""
    with of(ctx).channel() as store:
        sources = store.expand(id, namespace=namespace_of(namespace))
    if as_json:
        print_json(sources)
    elif not sources:
        tell("it was made from nothing that is there")
    else:
        print_table(("when", "who", "id", "text"), [_line(memory) for memory in sources])


def reinforce(
    ctx: typer.Context,
    ids: Annotated[list[str], typer.Argument(help="Ids of memories that were used.")],
    *,
    namespace: Exactly = "",
) -> None:
    """Note that memories were used: they fade later."""
    with of(ctx).channel() as store:
        tell(f"{store.reinforce(ids, namespace=namespace_of(namespace))} memories reinforced")


def _line(memory: Memory) -> tuple[str, ...]:
    when = memory.occurred_at or memory.created_at
    return f"{when:%Y-%m-%d}", memory.speaker or memory.role or "", memory.id, memory.text or memory.caption or ""
