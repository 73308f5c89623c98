import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import settings
from langchain_kinds import KINDS, Services, Stores

from ums_core import (
    Draft,
    EmbedderIdentity,
    LocalStore,
    UnifiedSettings,
    open_store,
)

# A busy machine is no reason to fail.
settings.register_profile("adapters", settings.get_profile("default"), deadline=None)
settings.load_profile("adapters")

ADA, BOB = ("users", "ada@example.org"), ("users", "bob")
SAID = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def store() -> Iterator[LocalStore]:
    with open_store(UnifiedSettings.for_testing()) as store:
        yield store


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Real services on this machine, by their models."""
    held = Services(tmp_path_factory.mktemp("services"))
    yield held
    held.stop()


@pytest.fixture(params=KINDS)
def store_of(request: pytest.FixtureRequest, services: Services) -> Iterator[Stores]:
    """Make a store of each kind, empty, given settings of its model."""
    with closing(Stores(request.param, services)) as made:
        yield made


@pytest.fixture
def filled(store: LocalStore) -> LocalStore:
    store.add(
        [
            Draft(
                id="m1", text="I moved to Lisbon.", namespace=ADA, role="user", speaker="Ada", session="s1",
                occurred_at=SAID, tags=("home",), metadata={"source": {"page": 3}},
            ),
            Draft(id="m2", text="I moved my desk to the window.", namespace=ADA, role="assistant"),
            Draft(id="m3", text="I moved the meeting.", namespace=ADA, role="user"),
            Draft(id="m1", text="I moved to Oslo.", namespace=BOB, role="user"),
        ]
    )  # fmt: skip
    return store


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
        store.add([Draft(text="I moved to Lisbon.")])
        embedder.threads.clear()
        yield store, embedder.threads
