"""An end to the patience with connections that send too slowly, send a header without end, or read nothing.

And a short way out for answers that are at hand as a whole.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as Spoken
else:
    # What it is mixed into; the one file that runs uvicorn does that.
    Spoken = object

__all__ = ["WHOLE", "Patience"]

# Where an application finds, in the scope of a request, what takes an answer as a whole.
WHOLE = "ums.whole"
_OK = b"HTTP/1.1 200 OK\r\n"
_LATE = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class Patience(Spoken):
    """Of one connection; uvicorn by itself waits for a header or a body as long as the other side likes.

    Attributes:
        header_s: seconds from the connection, or the first byte of a request, to the end of its header.
        body_s: seconds from there to the end of its body.
        stall_s: seconds that an answer may wait for room in the other side's buffers.
        header_bytes: of a header, beyond what comes at once.
        look_s: seconds between two looks at all that.
    """

    header_s = 10.0
    body_s = 60.0
    stall_s = 30.0
    header_bytes = 16_384
    look_s = 2.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Wait for a first request, but not for long."""
        super().connection_made(transport)
        self._due: Literal["header", "body", ""] = "header"
        self._since = self.loop.time()
        self._stalled_at: float | None = None
        self._unfinished = 0
        self._at_work: Any = None
        self._look = self.loop.call_later(self.look_s, self._look_around)

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more, and let the request at work know."""
        self._look.cancel()
        # Uvicorn tells the last request that came, which is another one where several came at once.
        if self._at_work is not None and not self._at_work.response_complete:
            self._at_work.disconnected = True
            self._at_work.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:  # noqa: ANN401  # uvicorn's own
        self._at_work = cycle
        cycle.scope[WHOLE] = partial(_told_whole, cycle)
        super()._start_asgi_task(cycle, app)

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to the protocol of WebSockets, which has pings of its own."""
        self._look.cancel()
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        """Take what comes, as long as a header does not go on and on."""
        before = self._due
        super().data_received(data)
        if before == self._due == "header":
            self._unfinished += len(data)
            if self._unfinished > self.header_bytes:
                self._refuse(_LONG)

    def on_message_begin(self) -> None:
        """Note that a header has begun."""
        super().on_message_begin()
        self._wait_for("header")
        self._unfinished = 0

    def on_headers_complete(self) -> None:
        """Note that the body has begun."""
        self._wait_for("body")
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that nothing is due."""
        self._due = ""
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Note that the other side reads more slowly than it is told."""
        self._stalled_at = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that it has caught up."""
        self._stalled_at = None
        super().resume_writing()

    def _wait_for(self, part: Literal["header", "body"]) -> None:
        self._due = part
        self._since = self.loop.time()

    def _look_around(self) -> None:
        now = self.loop.time()
        patience: dict[Any, float] = {"header": self.header_s, "body": self.body_s}
        if self._stalled_at is not None and now - self._stalled_at > self.stall_s:
            self.transport.abort()
        elif self._due and now - self._since > patience[self._due]:
            self._refuse(_LATE)
        else:
            self._look = self.loop.call_later(self.look_s, self._look_around)

    def _refuse(self, answer: bytes) -> None:
        # Not in the middle of an answer, nor after the one that this request has had already.
        cycle = self.cycle
        if cycle is None or (cycle.response_complete if self._due == "header" else not cycle.response_started):
            self.transport.write(answer)
        self.transport.close()


def _told_whole(cycle: Any, fields: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:  # noqa: ANN401  # uvicorn's own
    """Answer 200 at once: the two messages of ASGI cost uvicorn two turns, and two regular expressions a header field.

    Args:
        cycle: the request at work, with no other method than GET or POST.
        fields: of the header, with the length of the body; no character in them is the caller's.
        body: as it is sent.

    Returns:
        False where nothing was done: the connection asks for more than this knows, or another uvicorn calls
        one of these otherwise. All are looked at before anything is written.
    """
    try:
        if cycle.disconnected or cycle.response_started or cycle.response_complete or cycle.waiting_for_100_continue:
            return False
        if cycle.flow.write_paused or not cycle.keep_alive:
            return False
        write, set_event, done = cycle.transport.write, cycle.message_event.set, cycle.on_response
        default = cycle.default_headers
    except AttributeError:
        return False
    lines = [b"%b: %b\r\n" % field for field in (*default, *fields)]
    write(b"".join((_OK, *lines, b"\r\n", body)))
    cycle.response_started = cycle.response_complete = True
    set_event()
    done()
    return True
