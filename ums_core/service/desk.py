"""What every route does for a verb: let the caller in, read, bound, carry out within the time budget, answer."""

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from ums_core.errors import InvalidInput, Overloaded
from ums_core.records.actor import acting_as
from ums_core.service.auth import Caller, Gate
from ums_core.service.limits import bounded, inflated, items_of, read_body
from ums_core.service.metrics import Watch, timed
from ums_core.service.tenants import Tenants
from ums_core.service.tokens import Tokens
from ums_core.settings import ServiceSettings
from ums_core.wire.schema import JSON, VERBS, Verb

__all__ = ["SCOPE_OF", "Desk"]

SCOPE_OF = {
    **{name: "memory:write" if verb.writes else "memory:read" for name, verb in VERBS.items()},
    **dict.fromkeys(("delete", "forget", "maintain"), "memory:forget"),
}
# They stop by themselves before the time budget is over, and tell what they did; a next call goes on.
_STOPPED = frozenset({"consolidate", "maintain"})
_BUDGET_SHARE = 0.8
# Larger bodies and answers are turned into JSON and back in a thread, so that nobody waits for them.
_LARGE_BYTES = 65_536
_LARGE_ITEMS = 50
# Tells clients that they may compress what they send (RFC 9110, 12.5.3).
_TAKEN = {"Accept-Encoding": "gzip"}

Turn = Callable[[bytes], dict[str, Any]]


class Desk:
    """Carries verbs out for callers, each on its own tenant's store.

    Args:
        gate: who comes in.
        tenants: whose store.
        settings: how much.
        watch: who counts.
        tokens: for the tenant's name in logs.
    """

    def __init__(self, gate: Gate, tenants: Tenants, settings: ServiceSettings, watch: Watch, tokens: Tokens) -> None:
        self.gate = gate
        self.tenants = tenants
        self.settings = settings
        self.watch = watch
        self._tokens = tokens
        self._in_flight: set[asyncio.Task[Any]] = set()
        self.stopping = False

    async def admit(self, request: HTTPConnection, scope: str) -> Caller:
        """The caller of a request, noted for the log by a keyed hash of the tenant."""
        caller = await self.gate.admit(request, scope)
        request.scope["state"]["note"]["tenant"] = self._tokens.pseudonym(caller.tenant.name)
        return caller

    async def serve(self, request: Request, verb: Verb, turn: Turn) -> Response:
        """Carry a verb out and answer.

        Args:
            request: with a token.
            verb: which.
            turn: from the body to the verb's arguments.
        """
        caller = await self.admit(request, SCOPE_OF[verb.name])
        body = await read_body(request.stream(), request.headers.get("content-length"), self.settings.max_body_bytes)
        encoding = request.headers.get("content-encoding", "").strip().lower()
        if encoding:
            body = await asyncio.to_thread(inflated, body, encoding, self.settings.max_body_bytes)
        given = await asyncio.to_thread(turn, body) if len(body) > _LARGE_BYTES else turn(body)
        arguments = bounded(_keyed(given, request, verb), self.settings)
        items = items_of(arguments)
        request.scope["state"]["note"]["items"] = items
        allowance = await self.gate.spend(caller, items)
        result = await self.carry_out(caller, verb.name, arguments)
        size = len(result) if isinstance(result, list) else 1
        told = await asyncio.to_thread(verb.dump_reply, result) if size > _LARGE_ITEMS else verb.dump_reply(result)
        return Response(told, headers={**allowance.headers(), **_TAKEN}, media_type=JSON)

    async def carry_out(self, caller: Caller, name: str, arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401  # what the verb returns
        """What the verb returns on the caller's store.

        Raises:
            Overloaded: too much is under way, or it took longer than the time budget; a write may still be committed.
        """
        if self.stopping or len(self._in_flight) >= self.settings.max_in_flight:
            raise Overloaded("too many requests under way", retry_after_s=1.0)

        if name in _STOPPED:
            deadline = monotonic() + _BUDGET_SHARE * self.settings.time_budget
            arguments = {**arguments, "cancel": lambda: self.stopping or monotonic() > deadline}

        async def work() -> Any:  # noqa: ANN401  # as above
            async with self.tenants.store(caller.tenant) as store:
                with timed(self.watch, name):
                    return await getattr(store, name)(**arguments)

        # A task takes the context that it is made in along.
        with acting_as(f"token:{caller.token.key_id}"):
            task = asyncio.create_task(work())
        self._in_flight.add(task)
        task.add_done_callback(self._landed)
        try:
            async with asyncio.timeout(self.settings.time_budget):
                # What has begun in a thread goes on to its end, and counts as under way until then.
                return await asyncio.shield(task)
        except TimeoutError as error:
            raise Overloaded("it took too long", retry_after_s=self.settings.time_budget) from error

    async def drain(self) -> None:
        """Return when nothing is under way."""
        self.stopping = True
        if self._in_flight:
            await asyncio.wait(self._in_flight)

    def _landed(self, task: "asyncio.Task[Any]") -> None:
        self._in_flight.discard(task)
        # Told to the caller, who may have gone: nobody else is to be told that nobody asked.
        _ = task.cancelled() or task.exception()


def _keyed(arguments: dict[str, Any], request: Request, verb: Verb) -> dict[str, Any]:
    """The arguments, with an idempotency key from the header where the body has none."""
    key = request.headers.get("idempotency-key")
    if key is None or verb.request is None or "idempotency_key" not in verb.request.model_fields:
        return arguments
    if arguments.get("idempotency_key", key) != key:
        raise InvalidInput("the body and the Idempotency-Key header name different keys; give one")
    return {**arguments, "idempotency_key": key}
