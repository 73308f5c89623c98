"""Who calls, and whether they may: the token decides, and the tenant comes from it alone."""

import asyncio
from dataclasses import dataclass

from starlette.requests import HTTPConnection
from starlette.types import Scope

from ums_core.errors import Forbidden, Unauthenticated
from ums_core.service.rates import Allowance, Rates
from ums_core.service.tokens import Tenant, Token, Tokens

__all__ = ["Caller", "Gate", "field_of", "shown_token"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody with a token that holds.

    Attributes:
        tenant: whose memories are theirs.
        token: what was shown.
    """

    tenant: Tenant
    token: Token

    def needs(self, scope: str) -> None:
        """Pass where the token has the scope.

        Raises:
            Forbidden: it has not.
        """
        if scope not in self.token.scopes and "admin" not in self.token.scopes:
            raise Forbidden(f"this needs the scope {scope}; the token has {', '.join(self.token.scopes)}")


class Gate:
    """Lets in whoever shows a token that holds, as often as the limit says."""

    def __init__(self, tokens: Tokens, rates: Rates) -> None:
        self._tokens = tokens
        self._rates = rates
        self._known: dict[str, Caller] = {}

    async def admit(self, connection: HTTPConnection, scope: str) -> Caller:
        """The caller of a request.

        Raises:
            Unauthenticated: no token that holds.
            RateLimited: too many failures from the caller's network.
            Forbidden: the token has not the scope.
        """
        try:
            token = self._tokens.authenticate(shown_token(connection.scope))
        except Unauthenticated:
            await self._rates.failed(connection.client.host if connection.client else "")
            raise
        caller = self._known.get(token.key_id)
        if caller is None or caller.token is not token:
            caller = self._known[token.key_id] = Caller(Tenant(token.tenant), token)
        caller.needs(scope)
        if not self._tokens.used_today(token):
            await asyncio.to_thread(self._tokens.note_use, token)
        return caller

    def recheck(self, caller: Caller) -> None:
        """Pass as long as the token that somebody came in with holds.

        Raises:
            Unauthenticated: it has expired, or was revoked.
        """
        self._tokens.recheck(caller.token)

    async def spend(self, caller: Caller, items: int) -> Allowance:
        """Take from the caller's limit: one unit for each ten items, at least one.

        Raises:
            RateLimited: too little is left.
        """
        return await self._rates.spend(caller.token.key_id, -(-items // 10))


def shown_token(scope: Scope) -> str | None:
    """The token in the header fields; one in a URL would end up in logs, and is not looked at."""
    scheme, _, value = field_of(scope, b"authorization").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    return field_of(scope, b"x-api-token")


def field_of(scope: Scope, name: bytes) -> str:
    """A field of a request's header, the first of its name; empty where there is none.

    Args:
        scope: of the request.
        name: in lower case, as servers give them.
    """
    for known, value in scope["headers"]:
        if known == name:
            return str(value, "latin-1")
    return ""
