"""``ums history``: who did what to a memory."""

from typing import Annotated

import typer

from ums_core.cli.context import namespace_of, of
from ums_core.cli.options import AsJson, Exactly
from ums_core.cli.show import print_json, print_table, tell

__all__ = ["history"]

# Enough to tell one hash from another by eye; --json has them whole.
_SHOWN = 8


def history(
    ctx: typer.Context,
    id: Annotated[str, typer.Argument(help="Id of a memory, alive, archived or gone.")],  # noqa: A002  # as in every record
    *,
    namespace: Exactly = "",
    as_json: AsJson = False,
) -> None:
    """Print who did what to a memory, and when, with hashes of what it said before and after."""
    with of(ctx).channel() as store:
        changes = store.history(id, namespace=namespace_of(namespace))
    if as_json:
        print_json(changes)
    elif not changes:
        tell("nothing is recorded: it is older than the history, or that is pruned")
    else:
        print_table(
            ("change#", "when", "who", "what", "before", "after", "batch"),
            [
                (
                    str(change.seq),
                    f"{change.at:%Y-%m-%d %H:%M:%S}",
                    change.actor,
                    change.action,
                    (change.before or "")[:_SHOWN],
                    (change.after or "")[:_SHOWN],
                    change.batch or "",
                )
                for change in changes
            ],
        )
