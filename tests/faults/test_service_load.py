"""The service under load, beyond what it holds, and killed: it loses nothing, and only 429 and 503 say no."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from thorough import count

from ums_core import Draft, RemoteStore
from ums_core.channels.transport import RemoteOptions
from ums_core.service.tokens import Tenant, Tokens, tokens_path
from ums_core.settings.database import url_of

pytestmark = [pytest.mark.faults, pytest.mark.no_cover]

SECONDS = count(2, 120)
# Ten calls a second are let through: the first second shows it.
SECONDS_BEYOND = count(1, 120)
KILLS = count(1, 20)
BEFORE_A_KILL = 20
# Paced: as many calls a second as one worker holds on two busy cores, and less than a client sends that does not wait.
PACE_S = 0.05
STREAMED = count(150, 2000)
WORKERS = 4
BUSY = {429, 503}


@dataclass
class Tally:
    """What clients saw.

    Attributes:
        statuses: of all answers.
        acknowledged: ids of memories whose addition was answered with 200.
        times_s: how long each answer took.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    acknowledged: set[str] = field(default_factory=set)
    times_s: list[float] = field(default_factory=list)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def serving(directory: Path, **settings: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A process that serves; gives its address and itself, once it answers."""
    port = int(settings.pop("port", 0)) or free_port()
    env = os.environ | {
        "AI_DATABASE__URL": url_of(directory / "memory.db"),
        "AI_DATABASE__BACKEND": "exact",
        "AI_MODEL__EMBEDDER": "hashing:64",
        "AI_MONITORING__LOG_LEVEL": "error",
        "AI_SERVICE__PORT": str(port),
        "AI_SERVICE__RATE_LIMIT": "1000000/second",
        **settings,
    }
    address = f"http://127.0.0.1:{port}"
    with subprocess.Popen([sys.executable, "-m", "ums_core.cli", "serve"], env=env, cwd=directory) as process:
        try:
            for _ in range(600):
                try:
                    httpx.get(f"{address}/health/live", trust_env=False)
                    break
                except httpx.TransportError:
                    assert process.poll() is None
                    time.sleep(0.1)
            yield address, process
        finally:
            process.terminate()


def work(address: str, token: str, tally: Tally, number: int, span: tuple[float, float]) -> None:
    """Add, search and count in turns until a time, or until the service is gone, with a pause after each call."""
    until, pace_s = span
    with httpx.Client(base_url=address, headers={"X-API-Token": token}, trust_env=False, timeout=60) as client:
        step = 0
        while not step or time.monotonic() < until:
            step += 1
            id_ = f"{os.getpid()}-{number}-{step}-{time.monotonic_ns()}"
            calls: list[tuple[str, Mapping[str, object]]] = [
                ("/memory/add", {"id": id_, "text": f"zebra number {step} of {number}"}),
                ("/memory/search", {"query": "zebra number", "k": 5}),
                ("/v1/memories/count", {}),
            ]
            for path, body in calls:
                started = time.perf_counter()
                try:
                    answer = client.post(path, json=body)
                except httpx.TransportError:
                    return
                tally.times_s.append(time.perf_counter() - started)
                tally.statuses[answer.status_code] += 1
                if path == "/memory/add" and answer.status_code == 200:
                    tally.acknowledged.add(id_)
                time.sleep(pace_s)


def traffic(
    address: str, token: str, *, seconds: float, workers: int, pace_s: float
) -> tuple[Tally, list[threading.Thread]]:
    tally, until = Tally(), time.monotonic() + seconds
    threads = [
        threading.Thread(target=work, args=(address, token, tally, number, (until, pace_s)))
        for number in range(workers)
    ]
    for thread in threads:
        thread.start()
    return tally, threads


def stored(address: str, token: str) -> set[str]:
    """The ids of all memories of the tenant."""
    found: set[str] = set()
    cursor = None
    with httpx.Client(base_url=address, headers={"X-API-Token": token}, trust_env=False, timeout=60) as client:
        while True:
            page = client.post(
                "/v1/memories/scan", json={"limit": 1000} | ({"cursor": cursor} if cursor else {})
            ).json()
            found |= {memory["id"] for memory in page["memories"]}
            cursor = page.get("cursor")
            if cursor is None:
                return found


@pytest.fixture
def token(tmp_path: Path) -> str:
    scopes = ["memory:read", "memory:write"]
    return Tokens(tokens_path(tmp_path / "memory.db")).create(Tenant("acme"), scopes, env="test")


def test_what_one_worker_holds_it_holds_without_an_error(tmp_path: Path, token: str) -> None:
    with serving(tmp_path) as (address, process):
        # What the first calls load is no growth.
        for thread in traffic(address, token, seconds=1, workers=WORKERS, pace_s=PACE_S)[1]:
            thread.join()
        before = psutil.Process(process.pid).memory_info().rss
        tally, threads = traffic(address, token, seconds=SECONDS, workers=WORKERS, pace_s=PACE_S)
        for thread in threads:
            thread.join()
        grown = psutil.Process(process.pid).memory_info().rss - before
        assert set(tally.statuses) == {200}
        assert tally.acknowledged <= stored(address, token)
        times = sorted(tally.times_s)
        p95_ms = times[int(0.95 * len(times))] * 1000
        print(f"{len(times)} calls in {SECONDS} s, p95 {p95_ms:.1f} ms, memory grew by {grown / 2**20:.1f} MiB")  # noqa: T201  # the figure
        # Two kilobytes for each memory that was added, and what the allocator keeps.
        assert grown < 32 * 2**20 + 2048 * len(tally.acknowledged)


def test_beyond_what_it_holds_it_says_so_and_loses_nothing(tmp_path: Path, token: str) -> None:
    with serving(tmp_path, AI_SERVICE__MAX_IN_FLIGHT="1", AI_SERVICE__RATE_LIMIT="10/second") as (address, _):
        tally, threads = traffic(address, token, seconds=SECONDS_BEYOND, workers=4 * WORKERS, pace_s=0)
        for thread in threads:
            thread.join()
        assert set(tally.statuses) <= {200} | BUSY
        assert sum(tally.statuses[status] for status in BUSY) > 0
        assert tally.acknowledged
        time.sleep(1.1)
        assert tally.acknowledged <= stored(address, token)
        time.sleep(1.1)
        after, threads = traffic(address, token, seconds=0.5, workers=1, pace_s=0.2)
        threads[0].join()
        assert set(after.statuses) == {200}


def test_killed_under_load_it_has_all_that_it_acknowledged(tmp_path: Path, token: str) -> None:
    acknowledged: set[str] = set()
    for _ in range(KILLS):
        with serving(tmp_path) as (address, process):
            tally, threads = traffic(address, token, seconds=30, workers=WORKERS, pace_s=0)
            while len(tally.acknowledged) < BEFORE_A_KILL:
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
            for thread in threads:
                thread.join()
        assert tally.acknowledged
        acknowledged |= tally.acknowledged
        with serving(tmp_path) as (address, _):
            assert acknowledged <= stored(address, token)
            assert httpx.get(f"{address}/health", trust_env=False).json() == {"status": "ok"}


def test_told_to_stop_it_finishes_what_it_has_accepted(tmp_path: Path, token: str) -> None:
    texts = [{"id": str(n), "text": f"zebra number {n} " * 40} for n in range(500)]
    body = json.dumps({"memories": texts}).encode()
    lines = ("POST /memory/add HTTP/1.1", "Host: x", f"X-API-Token: {token}", f"Content-Length: {len(body)}")
    with serving(tmp_path) as (address, process):
        parts = urlsplit(address)
        with socket.create_connection((str(parts.hostname), parts.port or 0), timeout=60) as peer:
            peer.sendall("".join(f"{line}\r\n" for line in (*lines, "Expect: 100-continue")).encode() + b"\r\n")
            # Somebody is at work on it, and waits for the body.
            assert b" 100 " in peer.recv(4096)
            peer.sendall(body)
            process.send_signal(signal.SIGTERM)
            answer = peer.recv(4096)
            assert answer.startswith(b"HTTP/1.1 200 ")
            while peer.recv(65_536):
                pass
        assert process.wait(60) in {0, -signal.SIGTERM}
    with serving(tmp_path) as (address, _):
        assert stored(address, token) == {str(n) for n in range(500)}


def test_streams_outlive_a_service_that_is_killed(tmp_path: Path, token: str) -> None:
    port = str(free_port())
    # As often as it takes for another process to start.
    store = RemoteStore(f"http://127.0.0.1:{port}", token, RemoteOptions(attempts=50))
    stored_ids: list[str] = []
    told: list[str] = []

    def send() -> None:
        drafts = ((f"k{n}", Draft(id=str(n), text=f"zebra number {n}")) for n in range(STREAMED))
        for ack in store.stream(drafts):
            stored_ids.append(ack.id or str(ack.error))  # noqa: PERF401  # looked at as it grows

    def follow() -> None:
        for event in store.events(0):
            told.extend(each.id for each in event.stored)
            if len(told) >= STREAMED:
                return

    with store:
        threads = [threading.Thread(target=act, daemon=True) for act in (send, follow)]
        with serving(tmp_path, port=port) as (_, process):
            for thread in threads:
                thread.start()
            while len(stored_ids) < STREAMED // 5:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
        with serving(tmp_path, port=port) as (address, _):
            for thread in threads:
                thread.join(120)
            assert stored_ids == [str(n) for n in range(STREAMED)]
            assert sorted(told, key=int) == stored_ids
            assert stored(address, token) == set(stored_ids)
