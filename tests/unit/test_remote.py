"""The client of a service against a server that answers, stalls, drops, lies and redirects, over real sockets."""

import gzip
import os
import pickle
import ssl
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from threading import Event, Thread

import pytest

from ums_core import (
    Draft,
    DualStore,
    LocalStore,
    Patch,
    Query,
    RemoteOptions,
    RemoteStore,
    UMSError,
    UnifiedSettings,
    open_channel,
    open_store,
)
from ums_core.channels.transport import _forked, check_url
from ums_core.errors import (
    DatabaseBusy,
    IndexRecovering,
    MemoryNotFound,
    MissingExtra,
    Overloaded,
    RateLimited,
    RemoteError,
    ServiceUnreachable,
    SettingsError,
    StoreClosed,
    Unauthenticated,
)
from ums_core.wire.problem import PROBLEM, dump_problem, status_of
from ums_core.wire.schema import VERBS, Verb

TOKEN = "ums_test_k_secret"  # noqa: S105  # of a service that lives for one test
ROUTES = {verb.path: verb for verb in VERBS.values()}
Fault = Callable[["Handler", Callable[[], None]], None]


class Handler(BaseHTTPRequestHandler):
    """Serves a store by the wire; what goes wrong is taken from the server's list first."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.path, dict(self.headers), body))
        fault = self.server.faults.pop(0) if self.server.faults else None
        if fault is None:
            self.serve(body)
        else:
            fault(self, lambda: self.serve(body))

    do_GET = do_POST  # noqa: N815  # as the base class names it

    def serve(self, body: bytes) -> None:
        verb: Verb = ROUTES[self.path]
        try:
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                raise Unauthenticated("no")
            answer = verb.dump_reply(getattr(self.server.store, verb.name)(**verb.load_request(body)))
        except UMSError as error:
            self.fail(error)
            return
        self.answer(200, answer, "application/json")

    def fail(self, error: UMSError) -> None:
        self.answer(status_of(error), dump_problem(error), PROBLEM)

    def answer(self, status: int, body: bytes, kind: str, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing on stderr."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, store: LocalStore) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.store = store
        self.faults: list[Fault] = []
        self.seen: list[tuple[str, dict[str, str], bytes]] = []

    def handle_error(self, *_: object) -> None:
        """A client that went away is no news."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def server() -> Iterator[Server]:
    with open_store(UnifiedSettings.for_testing()) as store, Server(store) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def remote(server: Server) -> Iterator[RemoteStore]:
    with RemoteStore(server.url, TOKEN, RemoteOptions(timeout_s=5, attempts=3)) as store:
        yield store


def dropped(handler: Handler, _: Callable[[], None]) -> None:
    handler.close_connection = True
    handler.connection.close()


def done_but_dropped(handler: Handler, serve: Callable[[], None]) -> None:
    handler.wfile = open("/dev/null", "wb")  # noqa: SIM115, PTH123  # the answer gets lost
    serve()
    dropped(handler, serve)


def failing(error: UMSError) -> Fault:
    return lambda handler, _: handler.fail(error)


def test_every_verb_reaches_the_store_of_the_service(remote: RemoteStore, server: Server) -> None:
    (memory,) = remote.add([Draft(text="water boils", id="a", metadata={"n": [1]})], idempotency_key="k")
    assert remote.get(["a", "b"], vectors=True) == [memory, None]
    (patched,) = remote.update([Patch(id="a", changes={"level": 2})])
    assert remote.search(Query(text="water"))[0].memory == patched
    assert (remote.scan().memories, remote.count(), remote.namespaces()) == ([patched], 1, [()])
    remote.kv_put("c", {"a": b"\0", "b": [1]})
    assert remote.kv_get("c", ["b", "a"]) == [[1], b"\0"]
    assert remote.kv_scan("c", prefix="a") == [("a", b"\0")]
    assert remote.kv_delete("c", ["a"]) == 1
    assert remote.health() == server.store.health()
    assert remote.delete(["a"]) == 1


def test_what_becomes_of_memories_is_asked_for_from_afar(remote: RemoteStore) -> None:
    said = [Draft(id=id_, text=f"the kettle {id_} whistles at noon") for id_ in ("a", "b")]
    assert remote.add_distinct(said, similarity=1.0).stored == 2
    assert remote.reinforce(["a", "b", "x"]) == 2
    plan = remote.consolidate(threshold=0.5, dry_run=True)
    assert remote.count() == 2
    merged = remote.consolidate(threshold=0.5)
    assert len(merged.clusters) == len(plan.clusters) == 1
    (summary,) = remote.scan().memories
    assert sorted(memory.id for memory in remote.expand(summary.id)) == ["a", "b"]
    assert merged.batch is not None
    assert remote.undo(merged.batch) == 2
    new = remote.supersede("a", Draft(id="c", text="the kettle is silent"))
    assert [change.action for change in remote.history(new.id)] == ["added"]
    assert remote.forget(retain_fraction=0.5).removed == 1
    assert remote.maintain(steps=["sweep"]).expired == 0


def test_errors_are_those_that_the_service_raised(remote: RemoteStore, server: Server) -> None:
    with pytest.raises(MemoryNotFound):
        remote.update([Patch(id="no")])
    with RemoteStore(server.url, "another") as stranger, pytest.raises(Unauthenticated):
        stranger.count()


def test_an_answer_that_is_lost_is_asked_for_again(remote: RemoteStore, server: Server) -> None:
    server.faults = [dropped, done_but_dropped]
    assert remote.count() == 0
    assert len(server.seen) == 3
    server.faults = [done_but_dropped]
    (memory,) = remote.add([Draft(text="a")], idempotency_key="k")
    assert server.store.get([memory.id]) == [memory]
    assert server.store.count() == 1


def test_a_write_without_a_key_is_sent_once(remote: RemoteStore, server: Server) -> None:
    server.faults = [done_but_dropped]
    with pytest.raises(ServiceUnreachable) as caught:
        remote.add([Draft(text="a")])
    assert not caught.value.nothing_sent
    assert (len(server.seen), server.store.count()) == (1, 1)


@pytest.mark.parametrize(
    ("draft", "sent"),
    [
        (Draft(text="a"), 2),
        (Draft(caption="a cat", metadata={"n": 1}), 2),
        (Draft(id="a", metadata={"n": 1}), 2),
        (Draft(metadata={"n": 1}), 1),
    ],
)
def test_what_would_not_be_known_again_is_added_once(
    remote: RemoteStore, server: Server, draft: Draft, sent: int
) -> None:
    server.faults = [done_but_dropped]
    with nullcontext() if sent > 1 else pytest.raises(ServiceUnreachable):
        remote.add_distinct([draft])
    assert (len(server.seen), server.store.count()) == (sent, 1)


def test_repetitions_end(remote: RemoteStore, server: Server) -> None:
    server.faults = [dropped] * 9
    with pytest.raises(ServiceUnreachable, match="does not answer"):
        remote.count()
    assert len(server.seen) == 3


@pytest.mark.parametrize("error", [IndexRecovering, RateLimited, Overloaded])
def test_a_busy_service_is_asked_again_after_the_time_it_names(
    remote: RemoteStore, server: Server, error: type[IndexRecovering]
) -> None:
    server.faults = [failing(error("busy", retry_after_s=0.01))] * 2
    assert remote.count() == 0
    server.faults = [failing(error("busy", retry_after_s=0.01))]
    with pytest.raises(error):
        remote.add([Draft(text="a")])
    server.faults = [failing(error("busy", retry_after_s=60))]
    with pytest.raises(error) as caught:
        remote.count()
    assert caught.value.retry_after_s == 60
    assert len(server.seen) == 5


def test_what_will_not_pass_is_not_tried_again(remote: RemoteStore, server: Server) -> None:
    server.faults = [failing(MemoryNotFound("no"))]
    with pytest.raises(MemoryNotFound):
        remote.count()
    assert len(server.seen) == 1
    server.faults = [failing(DatabaseBusy("busy"))]
    assert remote.count() == 0


def test_an_answer_of_something_else_is_an_error_of_its_own(remote: RemoteStore, server: Server) -> None:
    server.faults = [
        lambda handler, _: handler.answer(302, b"", "text/html", Location="http://127.0.0.1:9/elsewhere"),
        lambda handler, _: handler.answer(200, b"<html>", "text/html"),
        lambda handler, _: handler.answer(404, b"nothing here", "text/plain"),
        lambda handler, _: handler.answer(200, b"not gzip", "application/json", Content_Encoding="gzip"),
    ]
    for _ in range(4):
        with pytest.raises(RemoteError) as caught:
            remote.count()
        assert caught.value.code == "remote_error"
    assert len(server.seen) == 4


def test_a_compressed_answer_is_read(remote: RemoteStore, server: Server) -> None:
    body = gzip.compress(b'{"count": 7}')
    server.faults = [lambda handler, _: handler.answer(200, body, "application/json", Content_Encoding="gzip")]
    assert remote.count() == 7
    assert "gzip" in server.seen[0][1]["Accept-Encoding"]


def test_an_answer_without_end_is_cut(server: Server) -> None:
    def dripping(handler: Handler, _: Callable[[], None]) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        while True:
            handler.wfile.write(b" ")
            handler.wfile.flush()
            threading.Event().wait(0.01)

    server.faults = [dripping, dripping]
    for options, error, match in (
        (RemoteOptions(timeout_s=1, attempts=1), ServiceUnreachable, "did not end its answer"),
        (RemoteOptions(max_answer_bytes=3, attempts=1), RemoteError, "larger"),
    ):
        with RemoteStore(server.url, TOKEN, options) as remote, pytest.raises(error, match=match):
            remote.count()


def test_a_service_that_is_not_there_is_unreachable_and_tried_again_even_to_write() -> None:
    with Server(open_store(UnifiedSettings.for_testing())) as gone:
        url = gone.url
    with RemoteStore(url, TOKEN, RemoteOptions(attempts=2)) as remote:
        for act in (remote.count, lambda: remote.add([Draft(text="a")])):
            with pytest.raises(ServiceUnreachable, match="does the service run") as caught:
                act()
            assert caught.value.nothing_sent


def test_a_silent_service_costs_the_timeout(server: Server) -> None:
    release = Event()
    server.faults = [lambda _handler, _serve: release.wait(30) and None]
    with RemoteStore(server.url, TOKEN, RemoteOptions(timeout_s=0.1, attempts=1)) as remote:
        with pytest.raises(ServiceUnreachable, match="Timeout"):
            remote.count()
        release.set()


def test_a_forked_child_has_connections_of_its_own(remote: RemoteStore, server: Server) -> None:
    ports: list[int] = []

    def noted(handler: Handler, serve: Callable[[], None]) -> None:
        ports.append(handler.client_address[1])
        serve()

    server.faults = [noted] * 3
    remote.count()
    with warnings.catch_warnings():
        # The threads of the server stay with the parent, and the child needs none of them.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        os._exit(remote.count())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    remote.count()
    assert ports[0] == ports[2] != ports[1]


def test_what_python_calls_in_a_child_makes_all_connections_anew() -> None:
    with RemoteStore("https://memory.example.org", TOKEN) as remote:
        former = remote._transport._client
        _forked()
        assert remote._transport._client is not former


def test_repetitions_end_whatever_number_they_were_given(server: Server) -> None:
    server.faults = [dropped] * 9
    with (
        RemoteStore(server.url, TOKEN, RemoteOptions(attempts=1.5)) as remote,  # type: ignore[arg-type]  # on purpose
        pytest.raises(ServiceUnreachable),
    ):
        remote.count()
    assert len(server.seen) == 2


def test_closing_lets_calls_end_and_stops_those_that_wait(server: Server) -> None:
    remote = RemoteStore(server.url, TOKEN, RemoteOptions(timeout_s=20))
    entered, release = Event(), Event()

    def slow(_: Handler, serve: Callable[[], None]) -> None:
        entered.set()
        release.wait(20)
        serve()

    server.faults = [slow]
    answers: list[int] = []
    asking = Thread(target=lambda: answers.append(remote.count()))
    asking.start()
    entered.wait(20)
    closing = Thread(target=remote.close)
    closing.start()
    release.set()
    closing.join()
    asking.join()
    assert answers == [0]
    remote.close()
    with pytest.raises(StoreClosed):
        remote.count()


def test_closing_ends_a_pause_between_attempts(server: Server) -> None:
    remote = RemoteStore(server.url, TOKEN)
    paused = Event()

    def busy(handler: Handler, _: Callable[[], None]) -> None:
        handler.fail(Overloaded("busy", retry_after_s=4))
        paused.set()

    server.faults = [busy]
    closing = Thread(target=lambda: paused.wait(20) and remote.close())
    closing.start()
    with pytest.raises(StoreClosed):
        remote.count()
    closing.join()


def test_the_token_is_in_no_repr_no_error_and_no_pickle(remote: RemoteStore, server: Server) -> None:
    assert TOKEN not in repr(remote) + repr(remote._transport) + repr(vars(remote))
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(remote)
    server.faults = [dropped] * 3
    with pytest.raises(ServiceUnreachable) as caught:
        remote.count()
    assert TOKEN not in repr(caught.value) + str(caught.value)
    assert all(TOKEN not in path for path, _, _ in server.seen)
    for token in ("", " ", "a\nb", "zoë", None):
        with pytest.raises(SettingsError, match="token"):
            RemoteStore(server.url, token)  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize(
    "url",
    [
        "",
        "memory.example.org",
        "ftp://a",
        "https://",
        "http://example.org",
        "https://u:p@a",
        "https://a?b",
        "https://a#b",
        *("http://[::1", "http://0.0.0.0", "http://127.0.0.1.example.org", None, 5),
        *("http://127.0.0.1:1\n", " http://127.0.0.1:1", "http://local\thost", "https://a/b c", "https://a\0"),
    ],
)
def test_an_unusable_url_is_refused(url: str) -> None:
    with pytest.raises(SettingsError):
        RemoteStore(url, TOKEN)


@pytest.mark.parametrize("url", ["https://u:s3cret@a:99999", "https://u:s3cret@[::1", "https://a?token=s3cret"])
def test_what_may_be_a_secret_in_a_url_is_not_repeated(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        RemoteStore(url, TOKEN)
    assert "s3cret" not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"


def test_encryption_is_due_beyond_this_machine() -> None:
    assert check_url("http://localhost:1") is check_url("http://[::1]:1/base") is check_url("https://127.0.0.2") is True
    assert check_url("https://example.org") is check_url("http://a", allow_insecure_transport=True) is False


def test_no_proxy_of_the_environment_stands_between_this_machine_and_itself(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with RemoteStore(server.url, TOKEN, RemoteOptions(attempts=1)) as remote:
        assert remote.count() == 0


@pytest.mark.parametrize("option", ["timeout_s", "connect_timeout_s", "attempts", "connections"])
def test_an_option_that_leaves_no_time_or_attempt_is_refused(option: str) -> None:
    for value in (0, float("nan"), "1"):
        with pytest.raises(SettingsError, match=option):
            RemoteOptions(**{option: value})  # type: ignore[arg-type]  # on purpose


def certificate(directory: Path) -> tuple[Path, Path]:
    x509 = pytest.importorskip("cryptography.x509", reason="makes the certificate")
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415  # as above
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415  # as above

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (directory / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (directory / "key.pem").write_bytes(key.private_bytes(*private))
    return directory / "cert.pem", directory / "key.pem"


def test_a_certificate_is_verified_always(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with ExitStack() as stack:
        store = stack.enter_context(open_store(UnifiedSettings.for_testing()))
        server = stack.enter_context(Server(store))
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.shutdown)
        url = server.url.replace("http:", "https:")
        with RemoteStore(url, TOKEN, RemoteOptions(ca_file=str(cert))) as trusting:
            assert trusting.count() == 0
        careful = stack.enter_context(RemoteStore(url, TOKEN, RemoteOptions(attempts=1)))
        with pytest.raises(ServiceUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
            careful.count()
    for unreadable in (str(tmp_path / "missing.pem"), str(key)):
        with pytest.raises(SettingsError, match="ca_file"):
            RemoteStore("https://127.0.0.1", TOKEN, RemoteOptions(ca_file=unreadable))


def test_without_httpx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(MissingExtra, match=r"ums-core\[http\]"):
        RemoteStore("http://127.0.0.1", TOKEN)


def test_the_settings_choose_the_channel(server: Server) -> None:
    service = {"url": server.url, "token": TOKEN}
    with open_channel(UnifiedSettings.for_testing(channel="global", remote=service)) as shared:
        assert isinstance(shared, RemoteStore)
        shared.add([Draft(text="water boils")])
    with open_channel(UnifiedSettings.for_testing(channel="dual", remote=service)) as both:
        assert isinstance(both, DualStore)
        both.add([Draft(text="my cat drinks water")])
        hits = both.search(Query(text="water", channel="both"))
        assert {hit.channel for hit in hits} == {"personal", "global"}
    with open_channel(UnifiedSettings.for_testing(remote=service)) as own:
        assert isinstance(own, LocalStore)
    with pytest.raises(SettingsError, match="AI_REMOTE__URL"):
        open_channel(UnifiedSettings.for_testing(channel="dual"))


def test_a_dual_search_sends_what_the_policy_lists_and_nothing_else(server: Server) -> None:
    settings = UnifiedSettings.for_testing(channel="dual", remote={"url": server.url, "token": TOKEN})
    with open_channel(settings) as both:
        both.add([Draft(text="my cat", namespace=("users", "marta"), speaker="Marta", tags=("pet",))])
        both.search(Query(text="cat", namespace=("users", "marta")))
        both.search(Query(text="cat", filter={"speaker": "Marta"}))
        assert server.seen == []
        query = Query(text="do cats drink?", channel="both", k=3, namespace=("users",), filter={"speaker": "Marta"})
        both.search(query)
    ((path, headers, body),) = server.seen
    assert (path, body) == ("/v1/memories/search", b'{"query":{"text":"do cats drink?","k":12}}')
    expected = {"host", "accept", "accept-encoding", "connection", "user-agent", "authorization", "content-type"}
    assert {name.lower() for name in headers} == expected | {"content-length"}
    assert headers["User-Agent"] == "ums-core"


def test_a_large_body_is_compressed_where_a_service_elsewhere_takes_that(server: Server) -> None:
    def taking(handler: Handler, _: Callable[[], None]) -> None:
        handler.answer(200, b'{"count":0}', "application/json", Accept_Encoding="gzip")

    def unpacking(handler: Handler, _: Callable[[], None]) -> None:
        handler.serve(gzip.decompress(server.seen[-1][2]))

    text = "water boils " * 1000
    # An address of this machine that does not look like one.
    elsewhere = server.url.replace("127.0.0.1", "0.0.0.0")  # noqa: S104  # nothing is bound
    with RemoteStore(elsewhere, TOKEN, RemoteOptions(allow_insecure_transport=True)) as store:
        server.faults += [taking, unpacking, taking]
        store.count()
        store.add([Draft(text=text)])
        store.count()
        store.count()
    with RemoteStore(server.url, TOKEN) as store:
        server.faults.append(taking)
        store.count()
        store.add([Draft(text=text)])
    sent = [(headers.get("Content-Encoding"), len(body)) for _, headers, body in server.seen]
    assert [encoding for encoding, _ in sent] == [None, "gzip", None, None, None, None]
    assert sent[1][1] < 1000 < len(text) < sent[5][1]
