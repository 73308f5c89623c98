"""A remote store passes the suite of stores against a real service, and so does a dual store in front of one."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from thorough import count

from ums_core import Draft, DualStore, MemoryStore, Query, UnifiedSettings, open_store
from ums_core.records import Filter
from ums_core.settings.database import url_of
from ums_core.testing.serving import Served, roomy, serving
from ums_core.testing.store_case import MakeStore
from ums_core.testing.store_suite import MemoryStoreSuite

DIM = MemoryStoreSuite.dim


@pytest.fixture(scope="session")
def service() -> Iterator[Served]:
    with serving(roomy(model={"embedder": "hashing", "vector_dim": DIM})) as served:
        yield served


class Tenants:
    """A tenant for each place of a test."""

    def __init__(self, service: Served, name: str) -> None:
        self._service = service
        self._name = name

    def make(self, place: str = "memory") -> MemoryStore:
        return self._service.store(f"{self._name}-{place}".lower())


@pytest.fixture
def tenants(service: Served, tmp_path: Path) -> Tenants:
    # The directory of a test is its own, so its name is.
    return Tenants(service, "-".join(tmp_path.parts[-2:])[-40:].strip("-_").replace("_", "-"))


@pytest.mark.no_cover
class TestRemote(MemoryStoreSuite):
    # What is compared is the same as for a local store; here it has to cross.
    examples = count(4, 60)

    @pytest.fixture
    def make_store(self, tenants: Tenants) -> MakeStore:
        return tenants.make


def test_a_question_has_the_same_answer_here_and_there(tenants: Tenants) -> None:
    with ExitStack() as stack:
        settings = UnifiedSettings.for_testing(model={"embedder": "hashing", "vector_dim": DIM})
        here = stack.enter_context(open_store(settings))
        there = stack.enter_context(tenants.make())
        words = ("zebra", "quartz", "violin", "lagoon")
        drafts = [
            Draft(
                id=f"{n:03}",
                text=f"{words[n % 4]} and {words[n // 4 % 4]} number {n}",
                namespace=("n", str(n % 3)),
                session=f"s{n % 5}",
                position=n,
                role=("user", "assistant")[n % 2],
                metadata={"n": n},
            )
            for n in range(120)
        ]
        for store in (here, there):
            store.add(drafts)
        questions = [
            Query(text="zebra violin", k=20),
            Query(text="which lagoon?", mode="vector", k=7, offset=3),
            Query(text="quartz", mode="keyword", namespace=("n", "1")),
            Query(text="violin", filter=Filter.where("metadata.n", "gte", 60), explain=True, context=1, k=5),
            Query(text="violin", diversity=0.5, group="session", k=8),
            Query(text="lagoon", max_tokens=60),
        ]
        for question in questions:
            ours, theirs = here.search(question), there.search(question)
            assert ours
            assert [(h.memory.id, h.kind, [m.id for m in h.before]) for h in theirs] == [
                (h.memory.id, h.kind, [m.id for m in h.before]) for h in ours
            ]
            assert [h.score for h in theirs] == pytest.approx([h.score for h in ours], abs=1e-6)
        assert there.namespaces(filter={"metadata.n": 4}) == here.namespaces(filter={"metadata.n": 4}) == [("n", "1")]


def test_a_dual_store_asks_the_device_and_a_service(tenants: Tenants, tmp_path: Path) -> None:
    settings = UnifiedSettings.for_testing(database={"url": url_of(tmp_path / "own.db")})
    with DualStore(open_store(settings), tenants.make()) as store:
        store.add([Draft(text="my cat drinks water")])
        (shared,) = store.add([Draft(text="water boils", channel="global")], idempotency_key="k")
        assert store.add([Draft(text="water boils", channel="global")], idempotency_key="k") == [shared]
        hits = store.search(Query(text="water", channel="both"))
        assert [(hit.channel, hit.memory.text) for hit in hits] == [
            ("personal", "my cat drinks water"),
            ("global", "water boils"),
        ]
        assert store.count() == 1
        assert store.global_.count() == 1
