"""A dual store passes the suite of stores: what is not marked is personal, and works as if there were nothing else."""

from pathlib import Path

import pytest
from thorough import count

from ums_core import DualStore, LocalStore, UnifiedSettings, open_store
from ums_core.settings.database import url_of
from ums_core.testing.store_case import MakeStore
from ums_core.testing.store_suite import MemoryStoreSuite


def local(path: Path, dim: int) -> LocalStore:
    return open_store(
        UnifiedSettings.for_testing(
            database={"url": url_of(path)}, model={"embedder": "hashing", "vector_dim": dim}, perf={"max_workers": 8}
        )
    )


@pytest.mark.no_cover
class TestDual(MemoryStoreSuite):
    examples = count(12, 60)

    @pytest.fixture
    def make_store(self, tmp_path: Path) -> MakeStore:
        def make(place: str = "memory") -> DualStore:
            directory = tmp_path / place
            return DualStore(local(directory / "personal.db", self.dim), local(directory / "global.db", self.dim))

        return make
