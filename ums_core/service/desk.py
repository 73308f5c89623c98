"""What every route does for a verb: let the caller in, read, bound, carry out within the time budget, answer."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from time import monotonic, perf_counter
from typing import Any, TypeVar

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from ums_core.errors import InvalidInput, Overloaded
from ums_core.ports import MemoryStore
from ums_core.records.actor import acting_as
from ums_core.service.answers import Told
from ums_core.service.auth import Caller, Gate, field_of
from ums_core.service.limits import bounded, inflated, items_of, read_body
from ums_core.service.metrics import Watch
from ums_core.service.patience import WHOLE
from ums_core.service.tenants import Tenants
from ums_core.service.tokens import Tenant, Tokens
from ums_core.settings import ServiceSettings
from ums_core.wire.schema import VERBS, Verb

__all__ = ["SCOPE_OF", "Desk"]

SCOPE_OF = {
    **{name: "memory:write" if verb.writes else "memory:read" for name, verb in VERBS.items()},
    **dict.fromkeys(("delete", "forget", "maintain"), "memory:forget"),
}
# They stop by themselves before the time budget is over, and tell what they did; a next call goes on.
_STOPPED = frozenset({"consolidate", "maintain"})
_BUDGET_SHARE = 0.8
# Larger bodies are read in a thread, so that nobody waits for them; answers are written where they were found.
_LARGE_BYTES = 65_536
# Tells clients that they may compress what they send (RFC 9110, 12.5.3).
_TAKEN = (b"accept-encoding", b"gzip")

T = TypeVar("T")
Turn = Callable[[bytes], dict[str, Any]]
# What a verb returned, or the error that ended it: handed over as a value, which nobody need fetch.
_Outcome = tuple[Any, BaseException | None]


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
        # Until when and whom to tell, by the future that a caller waits for, in the order in which their patience ends;
        # one may be done, by the time budget, before the work is.
        self._in_flight: dict[asyncio.Future[Any], tuple[float, Callable[[Any], None] | None]] = {}
        # One for all: each timer is a handle of the loop, which is made, cancelled and closed in turns of its own.
        self._patience: asyncio.TimerHandle | None = None
        self._landed_all: asyncio.Future[None] | None = None
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
        scope, most = request.scope, self.settings.max_body_bytes
        body = await read_body(request.receive, field_of(scope, b"content-length"), most)
        encoding = field_of(scope, b"content-encoding").strip().lower()
        if encoding:
            body = await asyncio.to_thread(inflated, body, encoding, most)
        given = await asyncio.to_thread(turn, body) if len(body) > _LARGE_BYTES else turn(body)
        arguments = bounded(_keyed(given, field_of(scope, b"idempotency-key"), verb), self.settings)
        items = items_of(arguments)
        scope["state"]["note"]["items"] = items
        allowance = await self.gate.spend(caller, items)
        answer = Told([*allowance.fields(), _TAKEN], scope.get(WHOLE))
        await self.carry_out(caller, verb.name, arguments, verb.dump_reply, answer.tell)
        return answer

    async def carry_out(
        self,
        caller: Caller,
        name: str,
        arguments: Mapping[str, Any],
        told: Callable[[Any], Any] | None = None,
        tell: Callable[[Any], None] | None = None,
    ) -> Any:  # noqa: ANN401  # what the verb returns
        """What the verb returns on the caller's store, or what is made of that by ``told``, in the verb's own thread.

        ``tell`` is called with it as soon as it is there, a turn of the loop earlier, unless nobody waits any more.

        Raises:
            Overloaded: too much is under way, or it took longer than the time budget; a write may still be committed.
        """
        if self.stopping or len(self._in_flight) >= self.settings.max_in_flight:
            raise Overloaded("too many requests under way", retry_after_s=1.0)

        if name in _STOPPED:
            deadline = monotonic() + _BUDGET_SHARE * self.settings.time_budget
            arguments = {**arguments, "cancel": lambda: self.stopping or monotonic() > deadline}

        def work(store: MemoryStore) -> Any:  # noqa: ANN401  # as above
            started = perf_counter()
            with acting_as(f"token:{caller.token.key_id}"):
                result = getattr(store, name)(**arguments)
            self.watch.verb(name, perf_counter() - started)
            return result if told is None else told(result)

        loop = asyncio.get_running_loop()
        # All that a caller waits for: asyncio.wait costs as much as the hop to the thread.
        waiting: asyncio.Future[_Outcome | None] = loop.create_future()
        self._begin(caller.tenant, work, waiting)
        self._in_flight[waiting] = (loop.time() + self.settings.time_budget, tell)
        if self._patience is None:
            self._patience = loop.call_later(self.settings.time_budget, self._lose_patience, loop)
        outcome = await waiting
        if outcome is None:
            raise Overloaded("it took too long", retry_after_s=self.settings.time_budget)
        result, error = outcome
        if error is not None:
            raise error
        return result

    def _begin(
        self, tenant: Tenant, work: Callable[[MemoryStore], Any], waiting: "asyncio.Future[_Outcome | None]"
    ) -> None:
        """Begin the work on a tenant's store, at once where that is open.

        It goes on to its end, whoever goes away, and counts as under way until then.
        """
        at_hand = self.tenants.at_hand(tenant)
        if at_hand is None:
            task = asyncio.create_task(self._once_open(tenant, work))
            task.add_done_callback(lambda done: self._landed(waiting, _nothing, *_outcome_of(done)))
        else:
            store, give_back = at_hand
            try:
                store.start(work, partial(self._landed, waiting, give_back))
            except BaseException:
                give_back()
                raise

    async def _once_open(self, tenant: Tenant, work: Callable[[MemoryStore], T]) -> T:
        async with self.tenants.store(tenant) as store:
            return await store.run(work)

    async def drain(self) -> None:
        """Return when nothing is under way."""
        self.stopping = True
        if self._in_flight:
            self._landed_all = asyncio.get_running_loop().create_future()
            await self._landed_all
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _landed(
        self,
        waiting: "asyncio.Future[_Outcome | None]",
        give_back: Callable[[], None],
        result: object,
        error: BaseException | None,
    ) -> None:
        _, tell = self._in_flight.pop(waiting)
        try:
            if tell is not None and error is None and not waiting.done():
                tell(result)
        finally:
            # An answer goes out at the end of a turn; what nobody out there waits for comes in the next one.
            asyncio.get_running_loop().call_soon(self._put_away, waiting, (result, error), give_back)

    def _put_away(
        self, waiting: "asyncio.Future[_Outcome | None]", outcome: _Outcome, give_back: Callable[[], None]
    ) -> None:
        try:
            give_back()
        finally:
            _settle(waiting, outcome)
            if self._landed_all is not None and not self._in_flight:
                _settle(self._landed_all, None)

    def _lose_patience(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let nobody wait beyond the time budget, and look again when the next one's is over."""
        self._patience = None
        now = loop.time()
        for waiting, (until, _) in self._in_flight.items():
            if until > now:
                self._patience = loop.call_at(until, self._lose_patience, loop)
                break
            _settle(waiting, None)


def _settle(waiting: "asyncio.Future[T]", outcome: T) -> None:
    """Tell whoever waits; nobody else is to be told where nobody does."""
    if not waiting.done():
        waiting.set_result(outcome)


def _nothing() -> None:
    """Give nothing back."""


def _outcome_of(task: "asyncio.Task[Any]") -> "_Outcome":
    error = asyncio.CancelledError() if task.cancelled() else task.exception()
    return (None, error) if error is not None else (task.result(), None)


def _keyed(arguments: dict[str, Any], key: str, verb: Verb) -> dict[str, Any]:
    """The arguments, with an idempotency key from the header where the body has none."""
    if not key or verb.request is None or "idempotency_key" not in verb.request.model_fields:
        return arguments
    if arguments.get("idempotency_key", key) != key:
        raise InvalidInput("the body and the Idempotency-Key header name different keys; give one")
    return {**arguments, "idempotency_key": key}
