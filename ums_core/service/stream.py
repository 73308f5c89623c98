"""The two streams: drafts that go in over a WebSocket, and a tenant's changes that come out as server-sent events."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio
from starlette.responses import Response, StreamingResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from ums_core.errors import InvalidQuery, Overloaded, TooLarge, TryLater, UMSError, Unauthenticated
from ums_core.service.answers import problem
from ums_core.service.auth import Caller
from ums_core.service.desk import Desk
from ums_core.wire.stream import dump_ack, dump_event, dump_refusal, key_of, load_draft

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

__all__ = ["EVENTS", "STREAM", "Streams"]

STREAM, EVENTS = "/v1/stream", "/v1/events"
# As many drafts as this are under way for one stream; then the sender waits.
_WINDOW = 32
_LOOK_S = 0.25
_BREATH_S = 10.0
_PAGE = 100
# Why a WebSocket is closed (RFC 6455): a token that holds no longer.
_POLICY = 1008
_SEQ_DIGITS = 18


class Streams:
    """Both streams of all callers in this process."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._open = 0
        # Streams wait for room where a request would be turned away, and leave half of it to requests.
        self._room = asyncio.Semaphore(max(1, desk.settings.max_in_flight // 2))

    async def take(self, socket: WebSocket) -> None:
        """Store drafts as they come, and answer each in its order."""
        try:
            caller = await self._desk.admit(socket, "memory:write")
            with self._counted():
                await socket.accept()
                await self._take(socket, caller)
        except UMSError as error:
            self._desk.watch.error(error.code)
            await socket.send_denial_response(problem(error))

    async def follow(self, request: "Request") -> Response:
        """The changes of the caller's store from a number on; ends after the time budget, to be asked for again.

        Raises:
            InvalidQuery: the number is none.
        """
        caller = await self._desk.admit(request, "memory:read")
        told = (request.headers.get("last-event-id"), request.query_params.get("after"))
        given = [place for place in told if place is not None]
        if not all(place.isascii() and place.isdecimal() and len(place) <= _SEQ_DIGITS for place in given):
            raise InvalidQuery("a change is followed from a number on")
        allowance = await self._desk.gate.spend(caller, 1)
        after = int(given[0]) if given else await self._desk.carry_out(caller, "seq", {})
        if self._open >= self._desk.settings.max_streams:
            raise Overloaded("too many streams")
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        answer = StreamingResponse(self._changes(caller, after), headers=headers, media_type="text/event-stream")
        answer.raw_headers += allowance.fields()
        return answer

    async def _changes(self, caller: Caller, after: int) -> AsyncIterator[str]:
        clock = asyncio.get_running_loop().time
        end = clock() + self._desk.settings.time_budget
        breath = 0.0
        with self._counted():
            yield "retry: 1000\n\n"
            while clock() < end and not self._desk.stopping and self._holds(caller):
                try:
                    events = await self._desk.carry_out(caller, "events", {"after": after, "limit": _PAGE})
                except TryLater:
                    # Whoever waits loses nothing.
                    events = []
                except UMSError as error:
                    # The answer has begun, and can tell no error; the next one will.
                    self._desk.watch.error(error.code)
                    return
                for event in events:
                    after = event.seq
                    yield f"id: {event.seq}\nevent: change\ndata: {dump_event(event)}\n\n"
                if not events:
                    if clock() > breath:
                        # Lets a proxy, and this side, notice that the other has gone.
                        breath = clock() + _BREATH_S
                        yield ": still here\n\n"
                    await asyncio.sleep(_LOOK_S)

    async def _take(self, socket: WebSocket, caller: Caller) -> None:
        waiting: asyncio.Queue[asyncio.Task[str]] = asyncio.Queue(_WINDOW)

        async def answer() -> None:
            while True:
                task = await waiting.get()
                await socket.send_text(await task)

        async def watch() -> None:
            while True:
                await asyncio.sleep(_LOOK_S)
                self._desk.gate.recheck(caller)

        try:
            # Whichever of them ends first takes the others with it.
            # Not asyncio's group: in Python 3.13 that forgets who cancelled it, if its body ends at the same moment.
            async with anyio.create_task_group() as group:
                group.start_soon(answer)
                group.start_soon(watch)
                while True:
                    message = await _received(socket)
                    self._desk.gate.recheck(caller)
                    # Full: nothing more is read, and the sender's own buffers fill up.
                    await waiting.put(asyncio.create_task(self._store(caller, message)))
        except* WebSocketDisconnect:
            # Whatever was not answered comes again, by its key.
            pass
        except* Unauthenticated:
            await socket.close(_POLICY)

    async def _store(self, caller: Caller, message: bytes) -> str:
        try:
            if len(message) > self._desk.settings.max_body_bytes:
                raise TooLarge(f"a message is at most {self._desk.settings.max_body_bytes} bytes")
            key, draft = load_draft(message)
            await self._desk.gate.spend(caller, 1)
            async with self._room:
                (memory,) = await self._desk.carry_out(caller, "add", {"drafts": [draft], "idempotency_key": key})
                seq = await self._desk.carry_out(caller, "seq", {})
        except UMSError as error:
            self._desk.watch.error(error.code)
            return dump_refusal(key_of(message), error)
        return dump_ack(key, memory, seq)

    def _holds(self, caller: Caller) -> bool:
        try:
            self._desk.gate.recheck(caller)
        except Unauthenticated:
            return False
        return True

    @contextmanager
    def _counted(self) -> "Iterator[None]":
        if self._open >= self._desk.settings.max_streams:
            raise Overloaded("too many streams")
        self._open += 1
        self._desk.watch.streams(1)
        try:
            yield
        finally:
            self._open -= 1
            self._desk.watch.streams(-1)


async def _received(socket: WebSocket) -> bytes:
    """The next message, as text or not.

    Raises:
        WebSocketDisconnect: there is none.
    """
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message["code"])
    text = message.get("text")
    told: bytes = message["bytes"] if text is None else text.encode(errors="replace")
    return told
