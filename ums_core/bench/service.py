"""What HTTP costs: the same searches and writes over a loopback connection and on the core, in one run.

::

    python -m ums_core.bench service --memories 10000

The service is a process of its own with one worker; the core is a store in this one. Both hold the same memories,
with every index ready, and are given the vector. Where the system can, this process keeps to the first core and the
services to the last one, so that nothing depends on where they would be moved. Their calls take turns one by one, so
that each finds the caches of the processor as the others left them; ``--in-a-row 100`` lets each make a hundred calls
before the next, which flatters the core.

``core`` is the store, ``HTTP`` the service over a connection without a client library, ``RemoteStore`` the same
through the client's httpx. Of HTTP, ``network`` is what as many bytes cost, there and back, with the same server and
an application that does nothing, ``JSON`` what both ends spend on bodies, and ``rest`` what is left: token, limits,
thread, colder caches.
"""

import argparse
import http
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ums_core import Draft, Hit, LocalStore, Memory, Query, RemoteStore, UnifiedSettings, open_store
from ums_core.bench.connection import Connection
from ums_core.bench.store_timing import Track, interleave
from ums_core.service.tokens import DEFAULT_TENANT, Tenant, Tokens, tokens_path
from ums_core.settings.database import url_of
from ums_core.wire import calls
from ums_core.wire.calls import Call
from ums_core.wire.schema import VERBS

__all__ = ["add_arguments", "run"]

T = TypeVar("T")
K = 10
_BATCH = 500
_GOALS = {"search": 2.5, "add": 2.0}


@dataclass(frozen=True, slots=True)
class Far:
    """The service and an application that does nothing, each over one connection that stays open.

    Attributes:
        url: of the service.
        token: for it.
        plain: the connection to the service.
        bare: the connection to the other.
    """

    url: str
    token: str
    plain: Connection
    bare: Connection

    def search(self, query: Query) -> list[Hit]:
        """The hits of a query."""
        return self._sent(calls.search(query))

    def add(self, drafts: Sequence[Draft]) -> list[Memory]:
        """The drafts, stored."""
        return self._sent(calls.add(drafts))

    def _sent(self, call: Call[T]) -> T:
        return call.result(http.HTTPStatus.OK, self.plain.post(call.path, self.token, call.body))

    def echo(self, body: bytes, answer_bytes: int) -> bytes:
        """As many bytes, there and back, for nothing."""
        return self.bare.post(f"/{answer_bytes}", self.token, body)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.description = __doc__
    parser.add_argument("--memories", type=int, default=10_000, help="how many both hold; 10000")
    parser.add_argument("--dim", type=int, default=384, help="components of a vector; 384")
    parser.add_argument("--searches", type=int, default=1000, help="how many; a quarter as many writes; 1000")
    parser.add_argument("--in-a-row", type=int, default=1, help="calls of each before the next one's turn; 1")


def run(args: argparse.Namespace) -> int:
    """Measure, print, and return 0 where both goals are met, else 1."""
    chance = np.random.default_rng(1)
    with (
        tempfile.TemporaryDirectory(prefix="ums-bench-") as place,
        _both(Path(place), args, chance) as (near, far),
        RemoteStore(far.url, far.token) as remote,
    ):
        return _report(_measured(near, far, remote, args))


def _measured(near: LocalStore, far: Far, remote: RemoteStore, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Microseconds at the median, by verb and part."""
    chance = np.random.default_rng(2)

    def vector() -> npt.NDArray[np.float32]:
        row: npt.NDArray[np.float32] = chance.standard_normal(args.dim, np.float32)
        return row

    def queries() -> list[Query]:
        return [Query(vector=vector(), k=K) for _ in range(args.in_a_row)]

    def writes() -> list[list[Draft]]:
        return [[Draft(text="a word or two", embedding=vector())] for _ in range(args.in_a_row)]

    def full(_: object, answer: object) -> None:
        assert answer

    query, write = queries()[0], writes()[0]
    search, add = calls.search(query), calls.add(write)
    hits, memories = near.search(query), near.add(write)
    questions: dict[str, Track[Query, object]] = {
        "core": Track(near.search, queries, full),
        "HTTP": Track(far.search, queries, full),
        "RemoteStore": Track(remote.search, queries, full),
        "network": Track(_passed(far, search, hits), queries, full),
        "JSON": Track(_rehearsed("search", calls.search, hits), queries, full),
    }
    additions: dict[str, Track[list[Draft], object]] = {
        "core": Track(near.add, writes, full),
        "HTTP": Track(far.add, writes, full),
        "RemoteStore": Track(remote.add, writes, full),
        "network": Track(_passed(far, add, memories), writes, full),
        "JSON": Track(_rehearsed("add", calls.add, memories), writes, full),
    }
    rounds = max(1, args.searches // args.in_a_row)
    searched, added = interleave(questions, rounds), interleave(additions, max(1, rounds // 4))
    return {
        verb: {name: times.us(50) for name, times in found.items()}
        for verb, found in (("search", searched), ("add", added))
    }


def _passed(far: Far, call: Call[Any], result: object) -> Callable[[object], object]:
    """What sends a call's bytes there and as many as its answer back."""
    answer_bytes = len(VERBS[call.verb].dump_reply(result))
    return lambda _: far.echo(call.body, answer_bytes)


def _rehearsed(name: str, made: Callable[[T], Call[Any]], result: object) -> Callable[[T], object]:
    """Both ends of the wire without a wire: what bodies cost, for an answer that is at hand."""
    verb = VERBS[name]

    def rehearse(item: T) -> object:
        call = made(item)
        verb.load_request(call.body)
        return call.result(http.HTTPStatus.OK, verb.dump_reply(result))

    return rehearse


def _report(found: Mapping[str, Mapping[str, float]]) -> int:
    met = True
    for verb, times in found.items():
        ratio = times["HTTP"] / times["core"]
        met &= ratio <= _GOALS[verb]
        rest = times["HTTP"] - times["core"] - times["network"] - times["JSON"]
        least = (times["core"] + times["network"] + times["JSON"]) / times["core"]
        parts = ", ".join(f"{name} {us / 1000:.2f} ms" for name, us in {**times, "rest": rest}.items())
        print(f"{verb}: p50 {parts}")
        print(
            f"{verb}: HTTP / core = {ratio:.2f} (goal: at most {_GOALS[verb]}; with no rest {least:.2f}), "
            f"RemoteStore / core = {times['RemoteStore'] / times['core']:.2f}"
        )
    return 0 if met else 1


@contextmanager
def _both(place: Path, args: argparse.Namespace, chance: np.random.Generator) -> Iterator[tuple[LocalStore, Far]]:
    vectors = chance.standard_normal((args.memories, args.dim), np.float32)
    near, database = (_filled(place / name, vectors) for name in ("near.db", "far.db"))
    token = Tokens(tokens_path(database)).create(Tenant(DEFAULT_TENANT), ["memory:read", "memory:write"], env="bench")
    ports = [_free_port(), _free_port()]
    env = os.environ | {
        "AI_DATABASE__URL": url_of(database),
        "AI_DATABASE__BACKEND": "faiss",
        "AI_MODEL__EMBEDDER": "none",
        "AI_MODEL__VECTOR_DIM": str(args.dim),
        "AI_MONITORING__LOG_LEVEL": "error",
        "AI_SERVICE__PORT": str(ports[0]),
        "AI_SERVICE__RATE_LIMIT": "1000000/second",
    }
    commands = (["ums_core.cli", "serve"], ["ums_core.bench.bare", str(ports[1])])
    with ExitStack() as stack:
        processes = []
        with _kept_to(-1):
            for command in commands:
                process = subprocess.Popen([sys.executable, "-m", *command], env=env, cwd=place)  # noqa: S603  # ourselves
                processes.append(stack.enter_context(process))
                stack.callback(process.terminate)
        stack.enter_context(_kept_to(0))
        store = stack.enter_context(open_store(_settings(near, args.dim)))
        connections = [stack.enter_context(_connected(*each)) for each in zip(ports, processes, strict=True)]
        yield store, Far(f"http://127.0.0.1:{ports[0]}", token, *connections)


@contextmanager
def _kept_to(core: int) -> Iterator[None]:
    """Keep this thread, and what it starts, to one of the cores at hand."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(cores)[core]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _settings(path: Path, dim: int) -> UnifiedSettings:
    return UnifiedSettings.for_testing(
        database={"url": url_of(path), "backend": "faiss"}, model={"embedder": "none", "vector_dim": dim}
    )


def _filled(path: Path, vectors: npt.NDArray[np.float32]) -> Path:
    """A database that holds the vectors, with its index grown and saved: none grows while times are taken."""
    with open_store(_settings(path, vectors.shape[1])) as store:
        for start in range(0, len(vectors), _BATCH):
            store.add([_draft(start + n, vector) for n, vector in enumerate(vectors[start : start + _BATCH])])
        store.settle()
    return path


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _connected(port: int, process: subprocess.Popen[bytes]) -> Connection:
    while True:
        assert process.poll() is None, "the service did not start"
        try:
            return Connection(port)
        except ConnectionRefusedError:
            time.sleep(0.05)


def _draft(number: int, vector: npt.NDArray[np.float32]) -> Draft:
    return Draft(id=str(number), text=f"memory number {number} of many", embedding=vector)
