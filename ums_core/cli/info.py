"""``ums info``: what a database holds, and how it is."""

import typer
from pydantic_core import to_jsonable_python

from ums_core.cli.context import TRY_AGAIN, of
from ums_core.cli.options import AsJson
from ums_core.cli.show import print_json, print_table

__all__ = ["info"]


def info(
    ctx: typer.Context,
    *,
    as_json: AsJson = False,
) -> None:
    """Print what the database holds and how it is; the exit status is 4 while it takes no writes."""
    context = of(ctx)
    path = context.settings().database.path
    with context.store() as store:
        health = store.health()
        facts = {"path": str(path), "bytes": path.stat().st_size, **to_jsonable_python(health)}
    if as_json:
        print_json(facts)
    else:
        print_table(("", ""), [(name.replace("_", " "), _words(value)) for name, value in facts.items()])
    if health.status != "ok":
        raise typer.Exit(TRY_AGAIN)


def _words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {entry}" for name, entry in value.items())
    if isinstance(value, int):
        return f"{value:,}"
    return ", ".join(value) if isinstance(value, list) else str(value)
