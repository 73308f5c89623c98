"""Timings of the store at 10,000 memories for comparison between two commits: ``pytest -m perf tests/perf``."""

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from ums_core.bench.store_contest import K, Ours, check_found
from ums_core.bench.store_data import EVERYTHING, SCOPES, Corpus, Scope, make_corpus

pytestmark = [pytest.mark.perf, pytest.mark.needs_faiss]

N = 10_000
DIM = 384
ADDS = 500


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return make_corpus(N, extra=ADDS, queries=100, dim=DIM, seed=0)


@pytest.fixture(scope="module")
def ours(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ours]:
    with Ours(tmp_path_factory.mktemp("store"), DIM) as opened:
        opened.ingest([corpus.drafts[:N]])
        yield opened


@pytest.mark.parametrize("scope", [EVERYTHING, *SCOPES], ids=lambda scope: scope.name)
def test_search(benchmark: BenchmarkFixture, ours: Ours, corpus: Corpus, scope: Scope) -> None:
    numbers = cycle(range(len(corpus.queries)))
    asked = 0

    def search() -> object:
        nonlocal asked
        asked = next(numbers)
        return ours.search(corpus.queries[asked], scope)

    rows = check_found(ours.found(benchmark(search)), corpus.queries[asked], scope, corpus)
    assert len(rows) == K


def test_durable_add(benchmark: BenchmarkFixture, ours: Ours, corpus: Corpus) -> None:
    drafts = iter(corpus.drafts[N:])
    benchmark.pedantic(lambda: ours.add(next(drafts)), rounds=ADDS - 10, warmup_rounds=10)
    assert ours.count() == N + ADDS


def test_ingest(benchmark: BenchmarkFixture, corpus: Corpus, tmp_path: Path) -> None:
    directories = iter(tmp_path / str(number) for number in range(3))

    def ingest() -> int:
        directory = next(directories)
        directory.mkdir()
        with Ours(directory, DIM) as store:
            store.ingest([corpus.drafts[:N]])
            return store.count()

    assert benchmark.pedantic(ingest, rounds=3) == N
