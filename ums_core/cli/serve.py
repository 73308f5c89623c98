"""``ums serve``: the service over HTTP."""

import os
from typing import Annotated

import typer

from ums_core.cli.context import of
from ums_core.cli.show import tell

__all__ = ["serve"]


def serve(
    ctx: typer.Context,
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default=False)] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.", show_default=False)] = None,
    workers: Annotated[int | None, typer.Option(help="Number of server processes.", show_default=False)] = None,
) -> None:
    """Serve the database over HTTP until a signal ends it; requests that were accepted are finished."""
    from ums_core.service.run import run  # noqa: PLC0415  # extra `api`
    from ums_core.service.tokens import Tokens, tokens_path  # noqa: PLC0415  # with it

    settings = of(ctx).settings()
    given = {"host": host, "port": port, "workers": workers}
    for name, value in given.items():
        if value is not None:
            setattr(settings.service, name, value)
            # For the workers, which read the environment anew.
            os.environ[f"AI_SERVICE__{name.upper()}"] = str(value)
    os.environ["AI_DATABASE__URL"] = settings.database.url
    if not Tokens(tokens_path(settings.database.path)).all():
        tell("nobody can come in yet: ums tokens create --tenant NAME --scopes memory:read,memory:write makes a token")
    run(settings)
