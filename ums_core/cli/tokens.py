"""``ums tokens``: who may use the service."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from ums_core.cli.context import Group, of
from ums_core.cli.options import AsJson
from ums_core.cli.show import print_json, print_table, tell

__all__ = ["tokens"]

tokens = typer.Typer(cls=Group, help="Make, list and revoke the tokens of the service.", no_args_is_help=True)


@tokens.command("create")
def create(
    ctx: typer.Context,
    *,
    tenant: Annotated[str, typer.Option(help="Whose memories it opens; the tenant exists from then on.")],
    scopes: Annotated[str, typer.Option(help="What it may do, separated by commas.")] = "memory:read,memory:write",
    ttl: Annotated[
        str | None, typer.Option(help="How long it holds, such as 30d or 12h; never ends without.", show_default=False)
    ] = None,
) -> None:
    """Make a token and print it, alone and this once; only its hash is kept."""
    from ums_core.service.tokens import Tenant, Tokens, tokens_path, ttl_of  # noqa: PLC0415  # needs no extra, but time

    settings = of(ctx).settings()
    registry = Tokens(tokens_path(settings.database.path))
    wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    span = None if ttl is None else ttl_of(ttl)
    typer.echo(registry.create(Tenant(tenant), wanted, env=settings.env, ttl=span))
    tell("this token is not shown again")


@tokens.command("list")
def list_tokens(ctx: typer.Context, *, as_json: AsJson = False) -> None:
    """List the tokens: key id, tenant, scopes, times; never a secret."""
    from ums_core.service.tokens import Tokens, tokens_path  # noqa: PLC0415  # as above

    found = Tokens(tokens_path(of(ctx).settings().database.path)).all()
    if as_json:
        print_json([{name: value for name, value in asdict(token).items() if name != "digest"} for token in found])
        return
    now = datetime.now(UTC)
    lines = [
        (
            token.key_id,
            token.tenant,
            ", ".join(token.scopes),
            "revoked" if token.revoked_at else ("holds" if token.holds(now) else "expired"),
            f"{token.created_at:%Y-%m-%d}",
            f"{token.expires_at:%Y-%m-%d %H:%M}" if token.expires_at else "never",
            token.last_used or "never",
        )
        for token in found
    ]
    print_table(("key id", "tenant", "scopes", "state", "created", "expires", "last used"), lines)


@tokens.command("revoke")
def revoke(ctx: typer.Context, key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="As listed.")]) -> None:
    """Take a token back, at once and for every running service."""
    from ums_core.service.tokens import Tokens, tokens_path  # noqa: PLC0415  # as above

    token = Tokens(tokens_path(of(ctx).settings().database.path)).revoke(key_id)
    tell(f"token {token.key_id} of {token.tenant} is revoked")
