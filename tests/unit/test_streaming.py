"""The streams of a service through its client: nothing lost and nothing twice, whatever breaks off."""

import base64
import random
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from itertools import islice
from threading import Event, Thread, Timer
from typing import Any

import certifi
import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from ums_core import Draft, RemoteOptions, RemoteStore
from ums_core.errors import (
    Forbidden,
    InvalidVector,
    MissingExtra,
    RateLimited,
    RemoteError,
    ServiceUnreachable,
    StoreClosed,
    Unauthenticated,
)
from ums_core.testing.serving import Served, roomy, serving

QUICK = RemoteOptions(timeout_s=5, attempts=2)


@pytest.fixture(scope="module")
def service() -> Iterator[Served]:
    with serving(roomy(service={"rate_limit": "1000000/second", "max_streams": 4})) as served:
        yield served


@contextmanager
def cutting(url: str, *limits: int) -> Iterator[str]:
    """An address that leads to another one, and breaks off each connection after so many bytes of answers."""
    host, _, port = url.removeprefix("http://").partition(":")
    left = list(limits)
    threads: list[Thread] = []

    def start(work: Callable[..., None], *arguments: object) -> Thread:
        threads.append(Thread(target=work, args=arguments))
        threads[-1].start()
        return threads[-1]

    def pump(source: socket.socket, target: socket.socket, limit: int) -> None:
        with suppress(OSError):
            while limit > 0 and (data := source.recv(4096)):
                target.sendall(data[:limit])
                limit -= len(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def pass_on(near: socket.socket, limit: int) -> None:
        with near, socket.create_connection((host, int(port))) as far:
            there = start(pump, near, far, 1 << 40)
            pump(far, near, limit)
            there.join()

    def listen(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                start(pass_on, listening.accept()[0], left.pop(0) if left else 1 << 40)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        start(listen, listening)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join()


def numbered(count: int) -> Iterator[tuple[str, Draft]]:
    return ((f"k{n}", Draft(id=f"{n}", text=f"note {n}")) for n in range(count))


def test_drafts_are_answered_in_their_order_and_what_cannot_be_is_refused_alone(service: Served) -> None:
    with service.store("order") as store:
        drafts = [*numbered(40), ("bad", Draft(embedding=[1.0])), ("last", Draft(text="last"))]
        acks = list(store.stream(iter(drafts)))
        assert [ack.key for ack in acks] == [key for key, _ in drafts]
        assert isinstance(acks[40].error, InvalidVector)
        assert store.count() == 41
        assert list(store.stream([])) == []


def test_a_stream_that_breaks_off_goes_on_where_it_was(service: Served) -> None:
    token = service.token("broken")
    with cutting(service.url, 600, 900, 20) as url, RemoteStore(url, token, QUICK) as store:
        acks = list(store.stream(numbered(50)))
    assert [ack.id for ack in acks] == [f"{n}" for n in range(50)]
    with service.store("broken") as store:
        assert store.count() == 50


def test_a_service_that_stays_away_is_unreachable(service: Served) -> None:
    token = service.token("away")
    with cutting(service.url, *[0] * 9) as url, RemoteStore(url, token, QUICK) as store:
        with pytest.raises(ServiceUnreachable):
            next(store.stream(numbered(1)))
        with pytest.raises(ServiceUnreachable):
            next(store.events(0))


def test_who_may_not_is_told_so(service: Served) -> None:
    with RemoteStore(service.url, service.token("reader", ["memory:read"])) as store, pytest.raises(Forbidden):
        next(store.stream(numbered(1)))
    with RemoteStore(service.url, "nobody") as store:
        for stream in (store.stream(numbered(1)), store.events(0)):
            with pytest.raises(Unauthenticated):
                next(stream)


@pytest.mark.parametrize(
    ("rate", "options", "stored"),
    [("5/second", RemoteOptions(attempts=9), 12), ("2/hour", RemoteOptions(attempts=1), 2)],
)
def test_a_service_without_room_is_asked_again_for_a_while(rate: str, options: RemoteOptions, stored: int) -> None:
    with ExitStack() as stack:
        service = stack.enter_context(serving(roomy(service={"rate_limit": rate})))
        store = stack.enter_context(RemoteStore(service.url, service.token("slow"), options))
        answered: list[str] = []
        with pytest.raises(RateLimited) if stored < 12 else nullcontext():
            for ack in store.stream(numbered(12)):
                assert ack.error is None
                answered.append(ack.key)
        assert len(answered) == stored


def test_changes_come_from_a_number_on_each_once_across_answers() -> None:
    with ExitStack() as stack:
        service = stack.enter_context(serving(roomy(service={"time_budget": 1.0})))
        url = stack.enter_context(cutting(service.url, 700))
        store = stack.enter_context(RemoteStore(url, service.token("changes"), RemoteOptions(attempts=5)))
        writer = stack.enter_context(service.store("changes"))
        writer.add([Draft(text="before")])
        after = writer.health().seq
        for n in range(3):
            writer.add([Draft(id=f"{n}", text="x")])
        changes = store.events(after)
        assert [next(changes).seq for _ in range(3)] == [after + 1, after + 2, after + 3]
        # Longer than an answer lasts, so that another one is asked for.
        later = Timer(1.5, lambda: writer.add([Draft(id="late", text="x")]))
        later.start()
        assert next(changes).seq == after + 4
        later.join()
        assert [event.seq for event in islice(store.events(0), 5)] == list(range(1, 6))
        changes.close()


def test_a_stream_ends_with_its_store(service: Served) -> None:
    store = service.store("closed")
    changes = store.events(0)
    store.close()
    with pytest.raises(StoreClosed):
        next(changes)


def test_no_stream_begins_after_its_store_was_closed(service: Served) -> None:
    store = service.store("closed")
    store.close()
    with pytest.raises(StoreClosed):
        next(store.stream(numbered(1)))


@contextmanager
def answering(work: Callable[[ServerConnection], None], **options: Any) -> Iterator[str]:  # noqa: ANN401  # those of serve
    """The address of something that takes WebSockets."""
    with serve(work, "127.0.0.1", 0, **options) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join()


def mistaken(connection: ServerConnection) -> None:
    connection.recv()
    connection.send('{"key": "other", "id": "a", "namespace": [], "seq": 1}')


def test_an_answer_to_something_else_is_an_error() -> None:
    with (
        answering(mistaken) as url,
        RemoteStore(url, "token", QUICK) as store,
        pytest.raises(RemoteError, match="another draft"),
    ):
        next(store.stream(numbered(1)))


def test_no_draft_goes_where_a_service_sends_it_on_to() -> None:
    asked: list[str] = []

    def away(_: ServerConnection, request: Request) -> Response:
        asked.append(request.path)
        place = f"ws://localhost:{request.headers['Host'].rpartition(':')[2]}/elsewhere"
        return Response(307, "Temporary Redirect", Headers(Location=place, Content_Length="0"))

    with (
        answering(mistaken, process_request=away) as url,
        RemoteStore(url, "token", QUICK) as store,
        pytest.raises(RemoteError, match="status 307"),
    ):
        next(store.stream(numbered(1)))
    assert asked == ["/v1/stream"]


def test_certificates_are_for_where_there_is_encryption() -> None:
    with (
        answering(mistaken) as url,
        RemoteStore(url, "token", RemoteOptions(attempts=1, ca_file=certifi.where())) as store,
        pytest.raises(RemoteError, match="another draft"),
    ):
        next(store.stream(numbered(1)))


def test_a_service_that_reads_nothing_holds_no_sender() -> None:
    done, waited_for = Event(), Event()

    def unmoved(_: ServerConnection) -> None:
        if not done.wait(20):
            waited_for.set()

    # Several times what the buffers between both sides hold.
    text = base64.b64encode(random.Random(1).randbytes(12 << 20)).decode()
    options = RemoteOptions(attempts=1, timeout_s=0.2, connect_timeout_s=0.2)
    with (
        answering(unmoved, max_queue=1, max_size=None, compression=None) as url,
        RemoteStore(url, "token", options) as store,
    ):
        with pytest.raises(ServiceUnreachable):
            next(store.stream([("k", Draft(text=text))]))
        done.set()
    assert not waited_for.is_set()


def test_without_websockets_the_extra_is_named(service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "websockets.sync.client", None)
    with service.store() as store, pytest.raises(MissingExtra, match=r"ums-core\[http\]"):
        next(store.stream(numbered(1)))
