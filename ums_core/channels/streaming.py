"""The two streams of a service: drafts that go in one by one, and changes that come out, across broken connections."""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from socket import SO_SNDTIMEO, SOL_SOCKET
from struct import Struct
from types import ModuleType
from typing import TYPE_CHECKING

from ums_core.channels.transport import Transport
from ums_core.errors import MissingExtra, RemoteError, ServiceUnreachable, TooLarge, TryLater, UMSError
from ums_core.records import Draft
from ums_core.records.event import Event
from ums_core.wire.problem import load_problem
from ums_core.wire.stream import Ack, dump_draft, load_ack, load_event

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

__all__ = ["follow", "send"]

# Unanswered drafts at one moment; the service takes twice as many before it reads no more.
_WINDOW = 16
# Why a peer closes a WebSocket (RFC 6455).
_TOO_BIG = 1009
_TIMEVAL = Struct("@ll")
_STREAM, _EVENTS = "/v1/stream", "/v1/events"


def send(transport: Transport, drafts: Iterable[tuple[str, Draft]]) -> Iterator[Ack]:
    """Send drafts, each under its idempotency key, and give the answers in their order.

    What a broken connection left unanswered is sent again, and so is what the service has no room for yet.

    Raises:
        TryLater, ServiceUnreachable: as many connections in a row as ``attempts`` brought no answer.
        TooLarge: a draft is more than twice as large as the service takes.
        UMSError: the service lets this token send none.
    """
    coming = iter(drafts)
    waiting: deque[tuple[str, str]] = deque()
    failures = 0
    while True:
        try:
            with _connected(transport) as socket:
                for ack in _answers(socket, coming, waiting):
                    failures = 0
                    yield ack
                return
        except (ServiceUnreachable, TryLater) as error:
            failures += 1
            transport.pause(failures, error)


def follow(transport: Transport, after: int) -> Iterator[Event]:
    """The changes after a number, each once, for as long as the caller goes on asking.

    Raises:
        TryLater, ServiceUnreachable: as many connections in a row as ``attempts`` brought no change.
        UMSError: the service lets this token follow none.
    """
    failures = 0
    while True:
        try:
            for line in transport.lines(_EVENTS, {"Last-Event-ID": str(after)}):
                if line.startswith("data:"):
                    event = load_event(line.removeprefix("data:"))
                    after, failures = event.seq, 0
                    yield event
        except (ServiceUnreachable, TryLater) as error:
            failures += 1
            transport.pause(failures, error)
        else:
            # The service ends each answer after a while.
            transport.pause(0, None)


class _Socket:
    def __init__(self, socket: "ClientConnection", timeout_s: float, broken: tuple[type[Exception], ...]) -> None:
        self._socket = socket
        self._timeout_s = timeout_s
        self._broken = broken

    def send(self, message: str) -> None:
        with self._whole():
            self._socket.send(message)

    def receive(self) -> str | bytes:
        with self._whole():
            return self._socket.recv(timeout=self._timeout_s)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        try:
            yield
        except self._broken as error:
            if getattr(getattr(error, "rcvd", None), "code", None) == _TOO_BIG:
                raise TooLarge("a draft is far larger than the service takes; split it") from error
            raise ServiceUnreachable("the service broke off a stream") from error


def _answers(socket: _Socket, coming: Iterator[tuple[str, Draft]], waiting: deque[tuple[str, str]]) -> Iterator[Ack]:
    for _, message in waiting:
        socket.send(message)
    while True:
        while len(waiting) < _WINDOW and (item := next(coming, None)) is not None:
            waiting.append((item[0], dump_draft(*item)))
            socket.send(waiting[-1][1])
        if not waiting:
            return
        ack = load_ack(socket.receive())
        if ack.key != waiting[0][0]:
            raise RemoteError("the service answered another draft than the one that was due")
        if isinstance(ack.error, TryLater):
            raise ack.error
        waiting.popleft()
        yield ack


@contextmanager
def _connected(transport: Transport) -> Iterator[_Socket]:
    transport.check_open()
    websockets = _websockets()
    broken = (websockets.WebSocketException, OSError)
    url = "ws" + transport.url.removeprefix("http") + _STREAM
    try:
        opened = websockets.sync.client.connect(
            url,
            additional_headers=transport.authorization,
            open_timeout=transport.options.timeout_s,
            close_timeout=transport.options.connect_timeout_s,
            ssl=transport.tls if url.startswith("wss") else None,
            proxy=None if transport.loopback else True,
            create_connection=_straight(websockets),
        )
    except UMSError:
        # Some are an OSError as well.
        raise
    except broken as error:
        raise ServiceUnreachable(f"{transport.url} takes no stream ({type(error).__name__})") from error
    # Else a service that reads nothing would hold a sender for ever: the library's own pings wait behind it.
    opened.socket.setsockopt(SOL_SOCKET, SO_SNDTIMEO, _timeval(transport.options.timeout_s))
    with opened:
        yield _Socket(opened, transport.options.timeout_s, broken)


def _timeval(seconds: float) -> bytes:
    whole, millionths = divmod(max(1, int(seconds * 1_000_000)), 1_000_000)
    return _TIMEVAL.pack(whole, millionths)


def _straight(websockets: ModuleType) -> "type[ClientConnection]":
    """The kind of connection that is refused where it is not taken; it would be redirected, and the drafts with it."""

    class Straight(websockets.sync.client.ClientConnection):  # type: ignore[misc,name-defined]  # optional
        def handshake(self, *arguments: object, **options: object) -> None:
            try:
                super().handshake(*arguments, **options)
            except websockets.InvalidStatus as denied:
                raise load_problem(denied.response.status_code, denied.response.body) from denied

    return Straight


def _websockets() -> ModuleType:
    try:
        import websockets.sync.client  # noqa: PLC0415  # optional: extra `http`
    except ModuleNotFoundError as missing:
        raise MissingExtra("a stream needs websockets: pip install 'ums-core[http]'") from missing
    return websockets
