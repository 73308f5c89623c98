"""All commands in one application."""

from importlib.metadata import version
from typing import Annotated

import typer

from ums_core.cli import correct, history, info, ingest, keys, maintain, models, search, serve, tokens
from ums_core.cli import db as databases
from ums_core.cli.context import Context, Group

__all__ = ["app"]

app = typer.Typer(
    cls=Group,
    help="A memory for LLM agents that is theirs: search it, look after it, serve it.",
    epilog="Settings come from AI_… variables and .env; docs/reference/cli.md has every command and exit status.",
    no_args_is_help=True,
    add_completion=False,
    # An error that is not ours is a defect, and a plain traceback says most about it.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("search")(search.search)
app.command("info")(info.info)
app.command("ingest")(ingest.ingest)
app.add_typer(models.models, name="models")
app.command("serve")(serve.serve)
app.add_typer(tokens.tokens, name="tokens")
app.add_typer(keys.keys, name="keys")
app.add_typer(databases.db, name="db")
app.add_typer(maintain.maintain, name="maintain")
app.command("consolidate")(maintain.consolidate)
app.command("forget")(maintain.forget)
app.command("history")(history.history)
app.command("supersede")(correct.supersede)
app.command("expand")(correct.expand)
app.command("reinforce")(correct.reinforce)


def _print_version(wanted: bool) -> None:  # noqa: FBT001  # the signature is Typer's
    if wanted:
        typer.echo(version("ums-core"))
        raise typer.Exit


@app.callback()
def start(
    ctx: typer.Context,
    *,
    db: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="The database: a file, or a URL such as sqlite:///data/memory.db.", show_default=False
        ),
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Note the options that all commands share."""
    ctx.obj = Context(db)
