"""Connections that are slow, endless, broken or garbled: none hangs, none is kept, none is an error of ours."""

import gzip
import json
import os
import re
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from services import EVERYTHING, listening, settings_in
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from ums_core import Draft, RemoteStore
from ums_core.errors import Unauthenticated
from ums_core.service.patience import WHOLE
from ums_core.service.run import Guarded
from ums_core.service.tokens import Tenant, Tokens, tokens_path
from ums_core.wire.stream import dump_draft, load_ack

MUCH = 20
BODY = json.dumps({"text": "tea"}).encode()


class Quick(Guarded):
    """As patient as a test can wait."""

    header_s, body_s, stall_s, look_s = 0.5, 0.8, 0.8, 0.05


@dataclass(frozen=True)
class Place:
    url: str
    tokens: Tokens
    known: dict[str, str] = field(default_factory=dict)

    def token(self, tenant: str = "acme") -> str:
        return self.tokens.create(Tenant(tenant), EVERYTHING, env="test")

    def head(self, path: str, *fields: str, tenant: str = "acme") -> bytes:
        # One that is made already: a connection is not waited for while a token is written to the disk.
        lines = (f"POST {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {self.known[tenant]}", *fields)
        return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"

    def connect(self) -> socket.socket:
        parts = urlsplit(self.url)
        return socket.create_connection((str(parts.hostname), parts.port or 0), timeout=20)

    def metrics(self) -> str:
        return httpx.get(f"{self.url}/metrics", headers={"Authorization": f"Bearer {self.token()}"}).text


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with at_place(tmp_path_factory, Quick) as made:
        yield made


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """As patient as it is: what comes slowly is not late here on a busy machine either."""
    with at_place(tmp_path_factory, Guarded) as made:
        yield made


@contextmanager
def at_place(tmp_path_factory: pytest.TempPathFactory, protocol: type[Guarded]) -> Iterator[Place]:
    limits = {"auth_failure_limit": "1000/second", "max_body_bytes": 100_000}
    settings = settings_in(tmp_path_factory.mktemp("place"), service=limits)
    with listening(settings, protocol) as url:
        made = Place(url, Tokens(tokens_path(settings.database.path)))
        made.known.update({tenant: made.token(tenant) for tenant in ("acme", "large")})
        yield made


@pytest.fixture(autouse=True)
def unharmed(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever was tried, the service answers, was surprised by nothing, and keeps no stream open."""
    place: Place = request.getfixturevalue("patient" if "patient" in request.fixturenames else "place")
    yield
    assert not [r for r in caplog.get_records("call") if r.name.startswith("ums_core") and r.levelname == "ERROR"]
    assert httpx.get(f"{place.url}/health/live").status_code == 200
    deadline = time.monotonic() + 60
    while "ums_open_streams 0.0" not in (told := place.metrics()):
        assert time.monotonic() < deadline, told
        time.sleep(0.05)
    assert 'status="500"' not in told


def everything(peer: socket.socket) -> bytes:
    """What comes until the other side closes; a connection that is cut has said all that it will."""
    told = bytearray()
    try:
        while part := peer.recv(65_536):
            told += part
    except ConnectionResetError:
        pass
    return bytes(told)


def statuses(answers: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]


def add(body: bytes = BODY) -> tuple[str, bytes]:
    return f"Content-Length: {len(body)}", body


@pytest.mark.parametrize(
    "part",
    [b"", b"POST /memory/add HT", b"POST /memory/add HTTP/1.1\r\nHost: x\r\nX-A: "],
    ids=["none", "line", "field"],
)
def test_whoever_does_not_end_a_header_is_not_waited_for(place: Place, part: bytes) -> None:
    with place.connect() as peer:
        peer.sendall(part)
        assert statuses(everything(peer)) == [408]


def test_a_header_that_comes_byte_by_byte_has_no_more_time(place: Place) -> None:
    started = time.monotonic()
    with place.connect() as peer:
        try:
            for byte in place.head("/memory/add", "X-Slow: " + "a" * 1000):
                peer.sendall(bytes([byte]))
                time.sleep(0.02)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert statuses(everything(peer)) in ([408], [])
    assert time.monotonic() - started < 15


def test_whoever_does_not_end_a_body_is_not_waited_for(place: Place) -> None:
    with place.connect() as peer:
        peer.sendall(place.head("/memory/add", "Content-Length: 50") + b'{"text": ')
        assert statuses(everything(peer)) == [408]


def test_a_second_request_has_as_much_time_as_the_first(place: Place) -> None:
    field, body = add()
    with place.connect() as peer:
        peer.sendall(place.head("/memory/add", field) + body)
        time.sleep(0.3)
        peer.sendall(b"GET /health/li")
        assert statuses(everything(peer)) == [200, 408]


def asked_for_much(place: Place, peer: socket.socket) -> None:
    """Ask for more than all buffers between hold."""
    auth = {"Authorization": f"Bearer {place.known['large']}"}
    for n in range(8):
        told = httpx.post(f"{place.url}/memory/add", headers=auth, json={"id": str(n), "text": "a" * 90_000})
        assert told.status_code == 200
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.settimeout(20)
    parts = urlsplit(place.url)
    peer.connect((parts.hostname, parts.port))
    request = place.head("/v1/memories/scan", "Content-Length: 2", tenant="large") + b"{}"
    for _ in range(MUCH):
        peer.sendall(request)


def test_an_answer_that_nobody_reads_is_given_up(place: Place) -> None:
    def given_up() -> bool:
        here = peer.getsockname()
        return not any(each.raddr == here for each in psutil.Process().net_connections("tcp4"))

    with socket.socket() as peer:
        asked_for_much(place, peer)
        deadline = time.monotonic() + 60
        # Taken up, and let go of.
        for over in (False, True):
            while given_up() != over:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        told = everything(peer)
    assert 0 < len(told) < MUCH * 8 * 90_000


def test_an_answer_that_is_read_late_comes_whole(patient: Place) -> None:
    with socket.socket() as peer:
        asked_for_much(patient, peer)
        time.sleep(0.2)
        told = 0
        while told < MUCH * 8 * 90_000:
            part = peer.recv(1 << 20)
            assert part, "cut off"
            told += len(part)


def test_a_header_without_end_is_refused_and_not_kept(place: Place) -> None:
    with place.connect() as peer:
        sent = 0
        try:
            peer.sendall(b"GET /health HTTP/1.1\r\nX-Long: ")
            for _ in range(160):
                peer.sendall(b"a" * 65_536)
                sent += 65_536
        except (BrokenPipeError, ConnectionResetError):
            pass
        # What was not read when the connection was closed may have taken the answer with it.
        assert statuses(everything(peer)) in ([431], [])
    assert sent < 160 * 65_536


def test_many_fields_without_end_are_refused(place: Place) -> None:
    with place.connect() as peer:
        try:
            peer.sendall(b"GET /health HTTP/1.1\r\n")
            for n in range(1000):
                peer.sendall(b"".join(b"X-%d-%d: a\r\n" % (n, m) for m in range(100)))
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert statuses(everything(peer)) in ([431], [])


def test_an_answer_says_that_the_connection_ends_where_the_caller_asks_for_that(place: Place) -> None:
    fields = (f"Content-Length: {len(BODY)}", "Content-Type: application/json")
    answers = []
    for more in ((), ("Connection: close",)):
        with place.connect() as caller:
            caller.sendall(place.head("/memory/add", *fields, *more) + BODY)
            answer = b""
            while not answer.endswith(b"}"):
                answer += caller.recv(65_536)
            answers.append(answer)
            if more:
                assert caller.recv(1) == b""
    heads = [answer.partition(b"\r\n\r\n")[0].lower().split(b"\r\n") for answer in answers]
    named = [{line.partition(b":")[0] for line in head} for head in heads]
    assert [head[0] for head in heads] == [b"http/1.1 200 ok"] * 2
    assert b"date" in named[0]
    assert named[1] - named[0] == {b"connection"}


def test_requests_that_come_at_once_are_answered_in_their_order(place: Place) -> None:
    field, body = add()
    one = place.head("/memory/add", field) + body
    two = place.head("/v1/memories/count", "Content-Length: 2", "Connection: close") + b"{}"
    with place.connect() as peer:
        peer.sendall(one * 20 + two)
        told = everything(peer)
    assert statuses(told) == [200] * 21
    assert told.count(b'"memories"') == 20
    assert told.endswith(b"}")
    assert b'{"count":' in told[told.rfind(b"HTTP/1.1 ") :]


def test_whoever_has_nothing_more_to_send_may_hang_up(place: Place) -> None:
    field, body = add()
    with place.connect() as peer:
        peer.sendall(place.head("/memory/add", field) + body)
        peer.shutdown(socket.SHUT_WR)
        assert statuses(everything(peer)) in ([200], [])
    with place.connect() as peer:
        peer.sendall(place.head("/memory/add", "Content-Length: 5000") + body)
        peer.shutdown(socket.SHUT_WR)
        assert statuses(everything(peer)) == []


@pytest.mark.parametrize(
    "chunks",
    [
        b"zz\r\n",
        b"-5\r\nabc",
        b"ffffffffffffffffffff\r\na",
        b'5\r\n{"tex',
        b"3\r\nabcdef\r\n0\r\n\r\n",
        b"5;\x00\x01=\x02\r\nabcde\r\n0\r\n\r\n",
        b"\xff\xfe" * 50,
    ],
)
def test_chunks_that_are_none_are_refused(place: Place, chunks: bytes) -> None:
    with place.connect() as peer:
        peer.sendall(place.head("/memory/add", "Transfer-Encoding: chunked", "Connection: close") + chunks)
        found = statuses(everything(peer))
    assert len(found) == 1
    assert 400 <= found[0] < 500


def test_a_body_in_chunks_is_bounded_as_it_comes(place: Place) -> None:
    chunk = b"ffff\r\n" + b"a" * 65_535 + b"\r\n"
    with place.connect() as peer:
        peer.sendall(place.head("/memory/add", "Transfer-Encoding: chunked"))
        try:
            for _ in range(200):
                peer.sendall(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert statuses(everything(peer)) in ([413], [])


def test_a_body_that_comes_in_pieces_is_one(patient: Place) -> None:
    with patient.connect() as peer:
        peer.sendall(patient.head("/memory/add", "Transfer-Encoding: chunked", "Connection: close"))
        for part in (BODY[:5], BODY[5:]):
            peer.sendall(b"%x\r\n%s\r\n" % (len(part), part))
            time.sleep(0.1)
        peer.sendall(b"0\r\n\r\n")
        told = everything(peer)
    assert statuses(told) == [200]
    assert b'"text":"tea"' in told


def test_lengths_that_contradict_each_other_are_refused(place: Place) -> None:
    for fields in (("Content-Length: 5", "Content-Length: 50"), ("Content-Length: 5", "Transfer-Encoding: chunked")):
        with place.connect() as peer:
            peer.sendall(place.head("/memory/add", *fields) + b"0\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n")
            assert statuses(everything(peer)) == [400]


def test_a_bomb_of_many_layers_or_members_is_no_body(place: Place) -> None:
    bomb = gzip.compress(b"a" * 50_000_000)
    for body in (bomb, gzip.compress(bomb), bomb[:-20], gzip.compress(BODY) * 2, b"\x1f\x8b" + os.urandom(5000)):
        told = httpx.post(
            f"{place.url}/memory/add",
            headers={"Authorization": f"Bearer {place.token()}", "Content-Encoding": "gzip"},
            content=body,
        )
        assert 400 <= told.status_code < 500


GARBAGE = [
    b"\xff" * 50,
    b"\x81\x05hello",  # a client's frames are masked
    b"\x81\xff" + b"\xff" * 8 + b"mask",  # of 2^64 bytes
    b"\x81\x82mask\x9c\x9e",  # no UTF-8
    b"\xf1\x80mask",  # reserved bits
    b"\x80\x80mask",  # goes on from nothing
    b"\x88\x81mask\x00",  # a reason for closing of one byte
    b"\x89\xfe\x00\x7emask" + b"a" * 126,  # a ping of more than 125 bytes
    b"GET / HTTP/1.1\r\n\r\n",
]


@pytest.mark.parametrize("frames", GARBAGE)
def test_frames_that_are_none_end_a_stream(place: Place, frames: bytes) -> None:
    lines = (
        "GET /v1/stream HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {place.token()}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    )
    with place.connect() as peer:
        peer.sendall("".join(f"{line}\r\n" for line in lines).encode() + b"\r\n")
        assert b"101" in peer.recv(4096)
        peer.sendall(frames)
        peer.shutdown(socket.SHUT_WR)
        everything(peer)


def test_a_binary_message_is_no_draft(place: Place) -> None:
    with connect(
        f"ws{place.url[4:]}/v1/stream", additional_headers={"Authorization": f"Bearer {place.token()}"}
    ) as peer:
        peer.send(b"\x00\xff")
        peer.send(dump_draft("k", Draft(text="tea")))
        refused, taken = load_ack(peer.recv()), load_ack(peer.recv())
    assert (type(refused.error).code if refused.error else "", taken.error) == ("invalid_input", None)


def test_a_stream_ends_with_its_token(place: Place) -> None:
    token = place.token("revoked")
    with connect(f"ws{place.url[4:]}/v1/stream", additional_headers={"Authorization": f"Bearer {token}"}) as peer:
        peer.send(dump_draft("before", Draft(text="tea")))
        assert load_ack(peer.recv()).error is None
        place.tokens.revoke(token.split("_")[2])
        peer.send(dump_draft("after", Draft(text="coffee")))
        with pytest.raises(ConnectionClosed) as closed:
            peer.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008
    with RemoteStore(place.url, place.token("revoked")) as store:
        assert [memory.text for memory in store.scan().memories] == ["tea"]
    with RemoteStore(place.url, token) as store, pytest.raises(Unauthenticated):
        list(store.stream([("again", Draft(text="coffee"))]))
    with pytest.raises(InvalidStatus):
        connect(f"ws{place.url[4:]}/v1/stream", additional_headers={"Authorization": f"Bearer {token}"})


def test_a_stream_that_is_idle_ends_with_its_token_too(place: Place) -> None:
    token = place.token()
    with connect(f"ws{place.url[4:]}/v1/stream", additional_headers={"Authorization": f"Bearer {token}"}) as peer:
        place.tokens.revoke(token.split("_")[2])
        with pytest.raises(ConnectionClosed):
            peer.recv(timeout=60)


def test_changes_are_told_as_long_as_the_token_holds(place: Place) -> None:
    token, writer = place.token("followed"), place.token("followed")
    seen: list[str] = []
    with (
        RemoteStore(place.url, writer) as store,
        httpx.stream("GET", f"{place.url}/v1/events?after=0", headers={"Authorization": f"Bearer {token}"}) as told,
    ):
        for line in told.iter_lines():
            if line.startswith("retry"):
                store.add([Draft(text="told")])
            if line.startswith("id"):
                seen.append(line)
                place.tokens.revoke(token.split("_")[2])
                store.add([Draft(text="not told")])
    assert seen in (["id: 1"], ["id: 1", "id: 2"])
    with RemoteStore(place.url, token) as store, pytest.raises(Unauthenticated):
        next(store.events(0))


def test_a_service_without_connections_has_nothing_left_of_them(place: Place) -> None:
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir()))
    for _ in range(50):
        with place.connect() as peer:
            peer.sendall(b"POST /memory/add HTTP/1.1\r\nContent-Length: 5\r\n\r\n")
    deadline = time.monotonic() + 60
    while len(list(descriptors.iterdir())) > before + 5 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(list(descriptors.iterdir())) <= before + 5


class Without:
    """A request of uvicorn's that calls one thing otherwise."""

    def __init__(self, cycle: object, lacks: str, holds: str) -> None:
        self.__dict__.update(cycle=cycle, lacks=lacks, holds=holds)

    def __getattr__(self, name: str) -> object:
        if name == self.lacks:
            raise AttributeError(name)
        return name == self.holds or getattr(self.cycle, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self.cycle, name, value)


class Other(Guarded):
    """Speaks as a uvicorn would of which one thing that a short answer needs is called otherwise."""

    lacks = holds = ""
    short: ClassVar[list[bool]] = []

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:  # noqa: ANN401  # uvicorn's own
        super()._start_asgi_task(cycle, app)
        told = cycle.scope[WHOLE].func

        def short(fields: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
            self.short.append(told(Without(cycle, self.lacks, self.holds), fields, body))
            return self.short[-1]

        cycle.scope[WHOLE] = short


def test_another_uvicorn_than_this_knows_answers_as_well(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    token = Tokens(tokens_path(settings.database.path)).create(Tenant("acme"), EVERYTHING, env="test")
    needed = (
        "", "disconnected", "response_started", "response_complete", "waiting_for_100_continue", "flow", "keep_alive",
        "transport", "message_event", "on_response", "default_headers",
    )  # fmt: skip
    with listening(settings, Other) as url, httpx.Client(headers={"Authorization": f"Bearer {token}"}) as client:
        for lacks in needed:
            Other.lacks = lacks
            told = client.post(f"{url}/v1/memories/count", json={})
            assert (told.status_code, told.json()) == (200, {"count": 0}), lacks
        assert Other.short == [name == "" for name in needed]
        Other.lacks = ""
        for Other.holds in ("disconnected", "response_started", "response_complete", "waiting_for_100_continue"):
            assert client.post(f"{url}/v1/memories/count", json={}).json() == {"count": 0}
            assert not Other.short[-1]
