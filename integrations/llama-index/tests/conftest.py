import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import count
from time import sleep

import numpy as np
import numpy.typing as npt
import pytest
import uvicorn

from ums_core import (
    Draft,
    DualStore,
    EmbedderIdentity,
    LocalStore,
    MemoryStore,
    RemoteStore,
    UnifiedSettings,
    open_store,
)
from ums_core.service.app import create_app
from ums_core.service.tokens import SCOPES, Tenant, Tokens, tokens_path
from ums_core.settings.database import url_of
from ums_core.testing.sealed import SEALED

ADA, BOB = ("users", "ada@example.org"), ("users", "bob")
SAID = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def store() -> Iterator[LocalStore]:
    with open_store(UnifiedSettings.for_testing()) as store:
        yield store


@pytest.fixture
def filled(store: LocalStore) -> LocalStore:
    store.add(
        [
            Draft(
                id="m/1", text="I moved to Lisbon.", namespace=ADA, role="user", speaker="Ada", session="s1",
                occurred_at=SAID, tags=("home",), metadata={"source": {"page": 3}},
            ),
            Draft(id="m2", text="I moved my desk to the window.", namespace=ADA, role="assistant"),
            Draft(id="m3", text="I moved the meeting.", namespace=ADA, role="user"),
            Draft(id="m/1", text="I moved to Oslo.", namespace=BOB, role="user"),
        ]
    )  # fmt: skip
    return store


# Each kind of store that every suite runs on.
KINDS = ("plain", "sealed", "remote", "dual")


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], RemoteStore]]:
    """A service on a port of this machine; each call is a client of a tenant of its own."""
    url = url_of(tmp_path_factory.mktemp("service") / "memory.db")
    unhurried = {"rate_limit": "1000000/minute"}
    settings = UnifiedSettings.for_testing(database={"url": url}, service=unhurried)
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=0, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        sleep(0.01)
    address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    tokens, numbers = Tokens(tokens_path(settings.database.path)), count()

    def client() -> RemoteStore:
        tenant = Tenant(f"tenant{next(numbers)}")
        return RemoteStore(address, tokens.create(tenant, SCOPES[:3], env="test"))

    yield client
    server.should_exit = True
    thread.join()


@pytest.fixture(params=KINDS)
def any_store(request: pytest.FixtureRequest) -> Iterator[MemoryStore]:
    """A store of each kind, empty."""
    with ExitStack() as opened:
        if request.param == "remote":
            yield opened.enter_context(request.getfixturevalue("service")())
            return
        sealed: dict[str, object] = {"security": SEALED} if request.param == "sealed" else {}
        store = opened.enter_context(open_store(UnifiedSettings.for_testing(**sealed)))
        if request.param != "dual":
            yield store
            return
        yield opened.enter_context(DualStore(store, request.getfixturevalue("service")()))


class Watching:
    """Letter counts as vectors, and a note of the threads that asked for them."""

    identity = EmbedderIdentity("letters", "1", 26)
    max_tokens = 1000

    def __init__(self) -> None:
        self.threads: set[int] = set()

    def count_tokens(self, texts: list[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def embed_documents(self, texts: list[str]) -> npt.NDArray[np.float32]:
        return np.stack([self.embed_query(text) for text in texts])

    def embed_query(self, text: str) -> npt.NDArray[np.float32]:
        self.threads.add(threading.get_ident())
        counts = np.array([text.lower().count(chr(letter)) for letter in range(97, 123)], np.float32)
        return counts / np.float32(np.linalg.norm(counts))

    def close(self) -> None: ...


@pytest.fixture
def watched() -> Iterator[tuple[LocalStore, set[int]]]:
    """A store, and the threads that embedded for it."""
    embedder = Watching()
    with open_store(UnifiedSettings.for_testing(model={"vector_dim": 26}), embedder=embedder) as store:
        store.add([Draft(text="aaa"), Draft(text="bbb")])
        embedder.threads.clear()
        yield store, embedder.threads
