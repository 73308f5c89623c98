"""What HTTP costs: the same searches and writes over a loopback connection and on the core, in one run.

::

    python -m ums_core.bench service --memories 10000

The service is a process of its own with one worker; the core is a store in this one. Both hold the same memories, both
are given the vector, and their calls take turns. ``network`` is a request that does nothing, ``JSON``
what both ends spend on bodies.
"""

import argparse
import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ums_core import Draft, Hit, LocalStore, Memory, Query, UnifiedSettings, open_store
from ums_core.bench.store_timing import Track, interleave
from ums_core.service.tokens import DEFAULT_TENANT, Tenant, Tokens, tokens_path
from ums_core.settings.database import url_of
from ums_core.wire import calls
from ums_core.wire.schema import JSON, VERBS

__all__ = ["add_arguments", "run"]

K = 10
_BATCH = 500
_GOALS = {"search": 2.5, "add": 2.0}


@dataclass(frozen=True, slots=True)
class Far:
    """The service, over one connection that stays open."""

    connection: http.client.HTTPConnection
    token: str

    def send(self, method: str, path: str, body: bytes = b"") -> bytes:
        """The body of an answer that is 200."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": JSON}
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        told = answer.read()
        assert answer.status == http.HTTPStatus.OK, told
        return told

    def search(self, query: Query) -> list[Hit]:
        """The hits of a query."""
        call = calls.search(query)
        return call.result(http.HTTPStatus.OK, self.send(call.method, call.path, call.body))

    def add(self, drafts: Sequence[Draft]) -> list[Memory]:
        """The drafts, stored."""
        call = calls.add(drafts)
        return call.result(http.HTTPStatus.OK, self.send(call.method, call.path, call.body))

    def nothing(self, _: object) -> bytes:
        """A request that does nothing."""
        return self.send("GET", "/health/live")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.description = __doc__
    parser.add_argument("--memories", type=int, default=10_000, help="how many both hold; 10000")
    parser.add_argument("--dim", type=int, default=384, help="components of a vector; 384")
    parser.add_argument("--searches", type=int, default=200, help="in each of five rounds; 200")


def run(args: argparse.Namespace) -> int:
    """Measure, print, and return 0 where both goals are met, else 1."""
    chance = np.random.default_rng(1)
    vectors = chance.standard_normal((args.memories, args.dim), np.float32)
    with tempfile.TemporaryDirectory(prefix="ums-bench-") as place, _both(Path(place), args.dim) as (near, far):
        for start in range(0, len(vectors), _BATCH):
            drafts = [_draft(start + n, vector) for n, vector in enumerate(vectors[start : start + _BATCH])]
            near.add(drafts)
            far.add(drafts)
        near.settle()
        return _report(_measured(near, far, args, chance))


def _measured(
    near: LocalStore, far: Far, args: argparse.Namespace, chance: np.random.Generator
) -> dict[str, dict[str, float]]:
    """Microseconds at the median, by verb and part."""

    def vector() -> npt.NDArray[np.float32]:
        row: npt.NDArray[np.float32] = chance.standard_normal(args.dim, np.float32)
        return row

    def queries() -> list[Query]:
        return [Query(vector=vector(), k=K) for _ in range(args.searches)]

    def writes() -> list[list[Draft]]:
        return [[Draft(text="a word or two", embedding=vector())] for _ in range(args.searches // 4)]

    def full(_: object, answer: object) -> None:
        assert answer

    questions: dict[str, Track[Query, object]] = {
        "core": Track(near.search, queries, full),
        "HTTP": Track(far.search, queries, full),
        "network": Track(far.nothing, queries, full),
        "JSON": Track(_rehearsed(near), queries, full),
    }
    additions: dict[str, Track[list[Draft], object]] = {
        "core": Track(near.add, writes, full),
        "HTTP": Track(far.add, writes, full),
        "network": Track(far.nothing, writes, full),
    }
    searched, added = interleave(questions, 5), interleave(additions, 5)
    return {
        verb: {name: times.us(50) for name, times in found.items()}
        for verb, found in (("search", searched), ("add", added))
    }


def _rehearsed(near: LocalStore) -> Callable[[Query], object]:
    """Both ends of the wire without a wire: what bodies cost, for an answer that is at hand."""
    verb = VERBS["search"]
    hits = near.search(Query(vector=np.ones(near.health().dim["text"], np.float32), k=K))

    def rehearse(query: Query) -> object:
        call = calls.search(query)
        verb.load_request(call.body)
        return call.result(http.HTTPStatus.OK, verb.dump_reply(hits))

    return rehearse


def _report(found: dict[str, dict[str, float]]) -> int:
    met = True
    for verb, times in found.items():
        ratio = times["HTTP"] / times["core"]
        met &= ratio <= _GOALS[verb]
        parts = ", ".join(f"{name} {us / 1000:.2f} ms" for name, us in times.items())
        print(f"{verb}: p50 {parts}; HTTP / core = {ratio:.2f} (goal: at most {_GOALS[verb]})")
    return 0 if met else 1


@contextmanager
def _both(place: Path, dim: int) -> Iterator[tuple[LocalStore, Far]]:
    settings = UnifiedSettings.for_testing(
        database={"url": url_of(place / "near.db"), "backend": "faiss"}, model={"embedder": "none", "vector_dim": dim}
    )
    database = place / "far.db"
    token = Tokens(tokens_path(database)).create(Tenant(DEFAULT_TENANT), ["memory:read", "memory:write"], env="bench")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = os.environ | {
        "AI_DATABASE__URL": url_of(database),
        "AI_DATABASE__BACKEND": "faiss",
        "AI_MODEL__EMBEDDER": "none",
        "AI_MODEL__VECTOR_DIM": str(dim),
        "AI_MONITORING__LOG_LEVEL": "error",
        "AI_SERVICE__PORT": str(port),
        "AI_SERVICE__RATE_LIMIT": "1000000/second",
    }
    command = [sys.executable, "-m", "ums_core.cli", "serve"]
    with open_store(settings) as near, subprocess.Popen(command, env=env, cwd=place) as process:  # noqa: S603  # ourselves
        try:
            with closing(_connected(port, process)) as connection:
                yield near, Far(connection, token)
        finally:
            process.terminate()


def _connected(port: int, process: subprocess.Popen[bytes]) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while True:
        assert process.poll() is None, "the service did not start"
        try:
            connection.connect()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return connection


def _draft(number: int, vector: npt.NDArray[np.float32]) -> Draft:
    return Draft(id=str(number), text=f"memory number {number} of many", embedding=vector)
