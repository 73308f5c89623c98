from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest
from thorough import count

from ums_core.crypto import DataKey, Files
from ums_core.index.exact import ExactIndex
from ums_core.index.snapshot import Home
from ums_core.ports.index import VectorIndex
from ums_core.testing.index_suite import MakeIndex, VectorIndexSuite

_SEAL = Files(DataKey(bytes(range(32)), database_id="d" * 32, key_id="e" * 16))


class TestExactIndex(VectorIndexSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def make_index(cls) -> MakeIndex:
        def make(dim: int, path: Path | None = None, binding: Mapping[str, str] | None = None) -> VectorIndex:
            return ExactIndex(dim, home=Home(path, binding))

        return make


@pytest.mark.no_cover
@pytest.mark.needs_sqlcipher
class TestSealedExactIndex(VectorIndexSuite):
    """Only its files differ, so the largest index of every run is the one above."""

    size: ClassVar[int] = count(5_000, 50_000)

    @pytest.fixture(scope="class")
    @classmethod
    def make_index(cls) -> MakeIndex:
        def make(dim: int, path: Path | None = None, binding: Mapping[str, str] | None = None) -> VectorIndex:
            return ExactIndex(dim, home=Home(path, binding, _SEAL))

        return make


def _faiss(seal: Files | None = None, **params: float) -> MakeIndex:
    pytest.importorskip("faiss", reason="builds graphs by faiss-cpu")
    from ums_core.index.faiss import FaissIndex  # noqa: PLC0415  # optional
    from ums_core.index.faiss_tuning import HnswParams  # noqa: PLC0415  # with it

    def make(dim: int, path: Path | None = None, binding: Mapping[str, str] | None = None) -> VectorIndex:
        return FaissIndex(dim, HnswParams(**params), home=Home(path, binding, seal))  # type: ignore[arg-type]  # int

    return make


@pytest.mark.needs_faiss
class TestFaissIndex(VectorIndexSuite):
    @pytest.fixture(scope="class")
    @classmethod
    def make_index(cls) -> MakeIndex:
        return _faiss()


@pytest.mark.no_cover
@pytest.mark.needs_faiss
class TestFaissIndexOfSmallGraphs(VectorIndexSuite):
    """Thresholds so low that in every test a graph answers, is merged into, and is rebuilt."""

    size: ClassVar[int] = 5_000

    @pytest.fixture(scope="class")
    @classmethod
    def make_index(cls) -> MakeIndex:
        return _faiss(exact_below=8, merge_rows=16, few=20)


@pytest.mark.no_cover
@pytest.mark.needs_sqlcipher
@pytest.mark.needs_faiss
class TestSealedFaissIndex(VectorIndexSuite):
    """Only its files differ, so the largest index of every run is the one above."""

    size: ClassVar[int] = count(5_000, 50_000)

    @pytest.fixture(scope="class")
    @classmethod
    def make_index(cls) -> MakeIndex:
        return _faiss(_SEAL, exact_below=200)
