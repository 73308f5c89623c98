"""The parts of the service by themselves: where a whole one would not fail as they must be seen to."""

import asyncio
import importlib
import json
import logging
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from services import DIM, settings_in
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ums_core import Draft, open_store
from ums_core.channels.local import LocalStore
from ums_core.channels.sharing import sharing_embedder
from ums_core.encoders.hashing import HashingEmbedder
from ums_core.encoders.lent import Lent
from ums_core.errors import MissingExtra, Overloaded, RateLimited, StorageError, StoreClosed
from ums_core.service import answers
from ums_core.service.auth import Caller, Gate
from ums_core.service.desk import Desk
from ums_core.service.edge import Edge
from ums_core.service.health import Checkup
from ums_core.service.limits import read_body
from ums_core.service.logs import FIELDS, JsonLines
from ums_core.service.metrics import LABELS, Metrics, Unwatched
from ums_core.service.rates import Rates
from ums_core.service.tenants import Tenants, settings_of
from ums_core.service.tokens import DEFAULT_TENANT, Tenant, Tokens, tokens_path
from ums_core.service.tracing import Tracer
from ums_core.service.window import Windows
from ums_core.settings import ServiceSettings, UnifiedSettings

SECRET = "what-was-sent"  # noqa: S105  # to be looked for


def line_of(record: logging.LogRecord) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(JsonLines().format(record))
    return told


def crashing() -> Starlette:
    async def crash(_: Request) -> Response:
        raise RuntimeError(SECRET)

    async def crash_late(_: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"half"
            raise RuntimeError(SECRET)

        return StreamingResponse(parts())

    async def teapot(_: Request) -> Response:
        raise HTTPException(418, SECRET)

    async def fine(_: Request) -> Response:
        return PlainTextResponse("fine")

    routes = [Route(f"/{act.__name__}", act) for act in (crash, crash_late, teapot, fine)]
    return Starlette(routes=routes)


def test_what_nobody_expected_is_answered_and_logged_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    app = crashing()
    metrics = Metrics()
    answers.install(app, metrics)
    app.add_middleware(Edge, watch=metrics, tracer=Tracer(enabled=False))
    client = TestClient(app, raise_server_exceptions=False)
    with caplog.at_level("INFO", "ums_core.service"):
        answer = client.get("/crash")
        assert (answer.status_code, answer.json()["code"]) == (500, "remote_error")
        client.get("/crash_late")
        assert client.get("/teapot").json()["code"] == "http_error"
        assert client.request("BREW", "/fine").status_code == 405
        assert client.get("/fine").text == "fine"
    lines = [line_of(record) for record in caplog.records]
    assert SECRET not in json.dumps(lines)
    crashes = [line["crash"] for line in lines if "crash" in line]
    assert [crash["class"] for crash in crashes] == ["RuntimeError", "RuntimeError"]
    assert any("test_parts.py" in place for place in crashes[0]["at"])
    assert [line["status"] for line in lines if line["event"] == "request"] == [500, 200, 418, 405, 200]
    text, _ = metrics.exposition(0, [])
    assert b'method="OTHER",route="/fine",status="405"' in text


def test_a_caller_who_goes_away_is_noted(caplog: pytest.LogCaptureFixture) -> None:
    async def gone(_scope: object, _receive: object, _send: object) -> None:
        """Answers nothing, as where the caller has hung up."""

    async def nothing(*_: object) -> None:
        """Takes or gives nothing."""

    async def go() -> None:
        edge = Edge(gone, Unwatched(), Tracer(enabled=False))
        await edge({"type": "http", "method": "GET", "path": "/"}, nothing, nothing)  # type: ignore[arg-type]  # nothing is received
        await edge({"type": "websocket", "path": "/"}, nothing, nothing)  # type: ignore[arg-type]  # as above
        await edge({"type": "lifespan"}, nothing, nothing)  # type: ignore[arg-type]  # as above

    with caplog.at_level("INFO", "ums_core.service"):
        asyncio.run(go())
    assert [(line["method"], line["status"]) for line in map(line_of, caplog.records)] == [
        ("GET", 499),
        ("WEBSOCKET", 101),
    ]


def test_a_caller_who_goes_away_in_the_middle_of_a_body_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    parts = [{"type": "http.request", "body": b"half", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> dict[str, Any]:
        return parts.pop(0)

    async def nobody(_: object) -> None:
        pytest.fail("nobody is there to be answered")

    async def read(request: Request) -> Response:
        return Response(await read_body(request.receive, None, 100))

    async def go() -> None:
        edge = Edge(crashing(), Unwatched(), Tracer(enabled=False), {("/", "POST"): read})
        await edge({"type": "http", "method": "POST", "path": "/", "headers": []}, receive, nobody)  # type: ignore[arg-type]  # a message is a dict

    with caplog.at_level("INFO", "ums_core.service"):
        asyncio.run(go())
    (line,) = map(line_of, caplog.records)
    assert (line["event"], line["status"]) == ("request", 499)


def test_a_log_line_holds_what_is_on_the_list_and_of_a_stranger_only_that_it_spoke() -> None:
    ours = logging.makeLogRecord(
        {"name": "ums_core.service", "levelname": "INFO", "msg": "request", "status": 200, "text": SECRET}
    )
    assert line_of(ours) | {"time": ""} == {
        "time": "",
        "level": "info",
        "logger": "ums_core.service",
        "event": "request",
        "status": 200,
    }
    assert "text" not in FIELDS
    stranger = logging.makeLogRecord({"name": "httpx", "msg": SECRET})
    assert line_of(stranger)["event"] == "not shown"
    socket_ = {"name": "uvicorn.error", "msg": '%s - "WebSocket %s" [accepted]', "args": ("127.0.0.1:1", f"/?{SECRET}")}
    assert line_of(logging.makeLogRecord(socket_))["event"] == '%s - "WebSocket %s" [accepted]'
    listens = {"name": "uvicorn.error", "msg": "Uvicorn running on %s", "args": ("http://127.0.0.1:1",)}
    assert line_of(logging.makeLogRecord(listens))["event"] == "Uvicorn running on http://127.0.0.1:1"
    try:
        int(SECRET)
    except ValueError:
        crash = logging.makeLogRecord({"name": "uvicorn.error", "msg": "x", "exc_info": sys.exc_info()})
    assert line_of(crash)["crash"]["class"] == "ValueError"
    assert SECRET not in JsonLines().format(crash)
    assert "crash" not in line_of(logging.makeLogRecord({"name": "ums_core", "exc_info": (None, None, None)}))


def test_spans_hold_the_route_and_nothing_of_the_caller() -> None:
    trace = pytest.importorskip("opentelemetry.sdk.trace", reason="opentelemetry-sdk is not installed")
    export = pytest.importorskip("opentelemetry.sdk.trace.export")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter").InMemorySpanExporter()
    provider = trace.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(memory))
    tracer = Tracer(enabled=True, provider=provider)
    with pytest.raises(RuntimeError), tracer.span("ums.request", {"http.route": "/a"}):
        raise RuntimeError(SECRET)
    (span,) = memory.get_finished_spans()
    assert (span.name, dict(span.attributes), span.events) == ("ums.request", {"http.route": "/a"}, ())
    assert SECRET not in span.to_json()
    with Tracer(enabled=False).span("ums.request", {}):
        assert len(memory.get_finished_spans()) == 1
    TestClient(Edge(crashing(), Unwatched(), tracer)).get(f"/fine?{SECRET}")
    (_, span) = memory.get_finished_spans()
    assert dict(span.attributes) == {
        "http.route": "/fine",
        "http.request.method": "GET",
        "http.response.status_code": 200,
    }
    assert (tracer.heard, Tracer(enabled=True).heard, Tracer(enabled=False).heard) == (True, False, False)


SPANS = """
import sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
memory = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(memory))
trace.set_tracer_provider(provider)
from starlette.testclient import TestClient
from ums_core import UnifiedSettings
from ums_core.service.app import create_app
with TestClient(create_app(UnifiedSettings.for_testing()), raise_server_exceptions=False) as client:
    client.get(f"/{sys.argv[1]}?{sys.argv[1]}", headers={"User-Agent": sys.argv[1]})
    client.post("/memory/add", content=sys.argv[1])
print([span.to_json() for span in memory.get_finished_spans()])
"""


def test_what_the_framework_would_tell_of_a_request_is_in_no_span() -> None:
    pytest.importorskip("opentelemetry.sdk.trace", reason="opentelemetry-sdk is not installed")
    run = subprocess.run([sys.executable, "-c", SPANS, SECRET], capture_output=True, text=True, check=True)
    assert run.stdout.count("ums.request") == 2
    assert SECRET not in run.stdout + run.stderr


# Metrics


def exposed() -> bytes:
    metrics = Metrics()
    metrics.request("/memory/add", "POST", 200, 0.1)
    metrics.verb("add", 0.1)
    metrics.embedded(3, 0.1)
    metrics.indexed(3, 0.1)
    metrics.error("forbidden")
    metrics.fallback()
    return metrics.exposition(12, [])[0]


def test_the_labels_of_metrics_are_a_fixed_set() -> None:
    names = {
        part.partition("=")[0]
        for line in exposed().decode().splitlines()
        if "{" in line
        for part in line.partition("{")[2].partition("}")[0].split(",")
    }
    assert names <= LABELS | {"le"}


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed: apt-get install prometheus")
def test_prometheus_finds_nothing_to_complain_of_in_the_metrics() -> None:
    run = subprocess.run(["promtool", "check", "metrics"], input=exposed(), capture_output=True, check=False)  # noqa: S607  # from PATH
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")


MULTIPROCESS = """
import sys
from ums_core.service.metrics import Metrics
metrics = Metrics()
metrics.request("/memory/add", "POST", 200, 0.1)
print(metrics.exposition(20, [])[0].decode() if sys.argv[1:] else "")
"""


def test_the_metrics_of_all_workers_add_up(tmp_path: Path) -> None:
    env = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    told = [
        subprocess.run([sys.executable, "-c", MULTIPROCESS, *last], env=env, capture_output=True, text=True, check=True)
        for last in ([], ["last"])
    ]
    assert 'ums_requests_total{method="POST",route="/memory/add",status="200"} 2.0' in told[1].stdout
    assert "ums_tenants 20.0" in told[1].stdout


def test_workers_read_what_all_have_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    assert metrics.exposition(20, [])[0] == b""


def test_a_package_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    monkeypatch.delitem(sys.modules, "ums_core.service.app")
    with pytest.raises(MissingExtra, match=r"pip install 'ums-core\[api\]'"):
        importlib.import_module("ums_core.service.app")


def test_without_opentelemetry_there_are_no_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with Tracer(enabled=True).span("ums.request", {}):
        pass


def test_unwatched_counts_nothing() -> None:
    watch = Unwatched()
    watch.request("", "", 0, 0)
    watch.verb("", 0)
    watch.embedded(0, 0)
    watch.indexed(0, 0)
    watch.error("")
    watch.fallback()
    watch.streams(1)
    assert watch.exposition(0, []) is None


# Rates


@pytest.fixture
def redis_port(tmp_path: Path) -> Iterator[int]:
    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    command = [
        "redis-server",
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        str(tmp_path),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            until = time.monotonic() + 60
            while True:
                with socket.socket() as probe:
                    if not probe.connect_ex(("127.0.0.1", port)):
                        break
                assert time.monotonic() < until
                time.sleep(0.05)
            yield port
        finally:
            server.kill()


async def test_workers_share_a_limit_through_redis_and_without_it_each_takes_its_share(redis_port: int) -> None:
    settings = ServiceSettings(rate_limit="4/hour", workers=2, rate_storage=f"redis://127.0.0.1:{redis_port}/0")
    fallbacks: list[int] = []
    one, other = (Rates(settings, lambda: fallbacks.append(1)) for _ in range(2))
    for rates in (one, other, one, other):
        await rates.spend("key", 1)
    for rates in (one, other):
        with pytest.raises(RateLimited):
            await rates.spend("key", 1)
    assert not fallbacks
    for rates in (one, other):
        await rates.close()
    down = ServiceSettings(rate_limit="4/hour", workers=2, rate_storage="redis://127.0.0.1:1/0")
    alone = Rates(down, lambda: fallbacks.append(1))
    for _ in range(2):
        await alone.spend("key", 1)
    with pytest.raises(RateLimited):
        await alone.spend("key", 1)
    assert len(fallbacks) == 3
    await alone.close()


async def test_a_cost_beyond_the_limit_takes_a_whole_window() -> None:
    rates = Rates(ServiceSettings(rate_limit="5/hour"), lambda: None)
    assert (await rates.spend("key", 1000)).remaining == 0
    with pytest.raises(RateLimited) as caught:
        await rates.spend("key", 1)
    assert 0 < caught.value.retry_after_s <= 3600


async def test_failures_are_counted_by_network() -> None:
    rates = Rates(ServiceSettings(auth_failure_limit="1/hour"), lambda: None)
    for first, second in (("10.0.0.1", "10.0.0.1"), ("2001:db8::1", "2001:db8::2"), ("", "testclient")):
        await rates.failed(first)
        with pytest.raises(RateLimited):
            await rates.failed(second)
    await rates.failed("10.0.0.2")


def test_a_window_moves_on_and_forgets_whoever_spends_nothing() -> None:
    now = [0.0]
    take = partial((windows := Windows(clock=lambda: now[0])).take, most=5, span_s=10)
    assert take("a", 3) == (True, 2, 10)
    now[0] = 4.0
    assert take("a", 3) == (False, 2, 6)
    assert take("a", 2) == (True, 0, 6)
    now[0] = 10.0
    assert take("a", 4) == (False, 3, 4)
    assert take("b", 6) == (False, 5, 10)
    now[0] = 14.5
    for number in range(2000):
        take(f"n{number}", 1)
        now[0] += 0.1
    assert len(windows) < 1100


def test_no_window_tells_to_wait_longer_than_it_is_whatever_the_clock_reads() -> None:
    now = 63109.7792870427
    assert (now + 3600) - now > 3600
    assert Windows(clock=lambda: now).take("a", 1, most=3, span_s=3600) == (True, 2, 3600)


# Tenants and the desk


class Slow:
    """Opens a store once it may, and counts."""

    def __init__(self, settings: UnifiedSettings) -> None:
        self._open = sharing_embedder(settings, lambda _texts, _seconds: None)
        self.opened = 0
        self.may = threading.Event()
        self.may.set()

    def __call__(self, settings: UnifiedSettings) -> LocalStore:
        self.opened += 1
        assert self.may.wait(60)
        return self._open(settings)


@pytest.fixture
def settings(tmp_path: Path) -> UnifiedSettings:
    return settings_in(tmp_path, service={"max_open_tenants": 1, "max_in_flight": 1, "time_budget": 0.2})


def test_a_tenant_has_a_database_of_its_own(settings: UnifiedSettings) -> None:
    assert settings_of(settings, Tenant(DEFAULT_TENANT)) is settings
    own = settings_of(settings, Tenant("acme"))
    assert own.database.path == settings.database.path.with_name("memory.db.tenants") / "acme" / "memory.db"
    assert own.model is settings.model


async def test_a_store_that_is_asked_for_while_it_closes_opens_after_that(settings: UnifiedSettings) -> None:
    tenants = Tenants(settings, opener := Slow(settings))
    for _ in range(3):
        for name in ("a", "b"):
            async with tenants.store(Tenant(name)) as store:
                assert (await store.health()).status == "ok"
    assert opener.opened == 6
    async with tenants.store(Tenant("a")), tenants.store(Tenant("b")) as store:
        assert len(tenants.open_doors()) == 2
        assert await store.count() == 0
    await tenants.close()
    assert tenants.open_doors() == []


async def test_a_store_that_cannot_be_opened_does_not_keep_the_others_from_closing(settings: UnifiedSettings) -> None:
    tenants = Tenants(settings, opener := Slow(settings))
    async with tenants.store(Tenant("fine")) as store:
        fine = store.sync
    broken = settings_of(settings, Tenant("broken")).database.path
    broken.mkdir(parents=True)
    opener.may.clear()

    async def ask() -> None:
        async with tenants.store(Tenant("broken")):
            pass

    asking = asyncio.create_task(ask())
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.1, opener.may.set)
    await tenants.close()
    with pytest.raises(StorageError):
        await asking
    with pytest.raises(StoreClosed):
        fine.count()


async def test_a_store_whose_directory_has_gone_does_not_keep_the_others_open(settings: UnifiedSettings) -> None:
    settings.service.max_open_tenants = 5
    tenants = Tenants(settings, Slow(settings))
    stores = []
    for name in ("a", "b"):
        async with tenants.store(Tenant(name)) as store:
            stores.append(store.sync)
    shutil.rmtree(settings_of(settings, Tenant("a")).database.path.parent)
    await tenants.close()
    with pytest.raises(StoreClosed):
        stores[1].count()


def desk_for(settings: UnifiedSettings, opener: Callable[[UnifiedSettings], LocalStore]) -> tuple[Desk, Caller]:
    tokens, watch = Tokens(tokens_path(settings.database.path)), Unwatched()
    token = tokens.authenticate(tokens.create(Tenant("acme"), ["memory:write"], env="test"))
    gate = Gate(tokens, Rates(settings.service, watch.fallback))
    desk = Desk(gate, Tenants(settings, opener), settings.service, watch, tokens)
    return desk, Caller(Tenant("acme"), token)


async def test_what_is_under_way_counts_until_its_end(settings: UnifiedSettings) -> None:
    opener = Slow(settings)
    opener.may.clear()
    desk, caller = desk_for(settings, opener)
    with pytest.raises(Overloaded, match="too long"):
        await desk.carry_out(caller, "count", {})
    with pytest.raises(Overloaded, match="under way"):
        await desk.carry_out(caller, "count", {})
    opener.may.set()
    await desk.drain()
    with pytest.raises(Overloaded, match="under way"):
        await desk.carry_out(caller, "count", {})
    await desk.tenants.close()


async def test_each_waits_as_long_as_its_own_time_budget(settings: UnifiedSettings) -> None:
    opener = Slow(settings)
    opener.may.clear()
    settings.service.max_in_flight = 3
    desk, caller = desk_for(settings, opener)

    async def wait(after_s: float) -> float:
        await asyncio.sleep(after_s)
        begun = time.monotonic()
        with pytest.raises(Overloaded, match="too long"):
            await desk.carry_out(caller, "count", {})
        return time.monotonic() - begun

    # A timer of the loop may ring a millisecond early.
    assert min(await asyncio.gather(*map(wait, (0, 0.08, 0.16)))) > 0.19
    opener.may.set()
    await desk.drain()
    await desk.tenants.close()


async def test_a_door_that_has_closed_takes_nothing_and_keeps_no_place(settings: UnifiedSettings) -> None:
    settings.service.time_budget = 30.0
    desk, caller = desk_for(settings, open_store)
    assert await desk.carry_out(caller, "count", {}) == 0
    await desk.tenants.open_doors()[0].close()
    for _ in range(2):
        with pytest.raises(StoreClosed):
            await desk.carry_out(caller, "count", {})
    assert desk.tenants._held["acme"].users == 0
    await desk.drain()
    await desk.tenants.close()


async def test_whoever_waits_is_not_left_waiting_where_telling_fails(settings: UnifiedSettings) -> None:
    desk, caller = desk_for(settings, open_store)
    wrong: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: wrong.append(context["exception"]))

    def fail(_: object) -> None:
        raise ConnectionError

    assert await desk.carry_out(caller, "count", {}, str, fail) == "0"
    last = asyncio.create_task(desk.carry_out(caller, "count", {}, str, fail))
    await asyncio.sleep(0)
    await desk.drain()
    assert await last == "0"
    assert [type(error) for error in wrong] == [ConnectionError] * 2
    assert desk.tenants._held["acme"].users == 0
    await desk.tenants.close()


async def test_what_is_under_way_is_waited_for_to_its_last(settings: UnifiedSettings) -> None:
    settings.service.max_in_flight, settings.service.time_budget = 10, 30.0
    desk, caller = desk_for(settings, open_store)
    await desk.carry_out(caller, "count", {})
    heard: list[int] = []
    writes = [
        asyncio.create_task(desk.carry_out(caller, "add", {"drafts": [Draft(text="a")]}, len, heard.append))
        for _ in range(5)
    ]
    await asyncio.sleep(0)
    for gone in writes[:2]:
        gone.cancel()
    await desk.drain()
    assert await desk.tenants.open_doors()[0].count() == 5
    # Whoever has gone is told nothing.
    assert heard == [1] * 3
    await asyncio.wait(writes)
    assert [write.cancelled() for write in writes] == [True, True, False, False, False]
    await desk.tenants.close()


async def test_health_names_what_is_wrong(settings: UnifiedSettings) -> None:
    tenants = Tenants(settings, Slow(settings))
    checkup = Checkup(tenants)
    async with tenants.store(Tenant("acme")) as store:
        store.sync.close()
        answer = await checkup.ready()
        assert (answer.status_code, json.loads(bytes(answer.body))["reasons"]) == (503, ["store_closed"])
    checkup.stopping = True
    assert json.loads(bytes((await checkup.ready()).body))["reasons"] == ["stopping", "store_closed"]
    await tenants.close()


def test_an_embedder_that_is_lent_is_watched_and_not_closed() -> None:
    seen: list[int] = []
    lent = Lent(HashingEmbedder(DIM), lambda texts, _seconds: seen.append(texts))
    assert lent.embed_documents(["a", "b"]).shape == (2, DIM)
    assert lent.embed_query("a").shape == (DIM,)
    assert lent.count_tokens(["a b"]) == HashingEmbedder(DIM).count_tokens(["a b"])
    assert (lent.max_tokens, lent.identity) == (HashingEmbedder(DIM).max_tokens, HashingEmbedder(DIM).identity)
    lent.close()
    assert seen == [2, 1]


def test_stores_without_an_embedder_open_too(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, model={"embedder": "none", "vector_dim": DIM})
    with sharing_embedder(settings, lambda _texts, _seconds: None)(settings) as store:
        assert store.count() == 0
