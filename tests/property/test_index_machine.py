import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from thorough import count

from ums_core.index.exact import ExactIndex
from ums_core.ports.index import RowSet, VectorIndex
from ums_core.testing.index_case import changed

_DIM = 4
_VECTORS = np.random.default_rng(0).standard_normal((64, _DIM)).astype(np.float32)
_VECTORS /= np.linalg.norm(_VECTORS, axis=1, keepdims=True)


def _graph() -> VectorIndex:
    pytest.importorskip("faiss")
    from ums_core.index.faiss import FaissIndex  # noqa: PLC0415  # optional
    from ums_core.index.faiss_tuning import HnswParams  # noqa: PLC0415  # with it

    return FaissIndex(_DIM, HnswParams(exact_below=6, merge_rows=5, few=4))


class _Machine(RuleBasedStateMachine):
    """Changes, saves and loads beside a dict from row id to the vectors of its passages."""

    make: Any = None

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.index: VectorIndex = type(self).make()
        self.rows: dict[int, np.ndarray] = {}
        self.next = 0
        self.saved: tuple[dict[int, np.ndarray], int] | None = None

    @rule(passages=st.lists(st.lists(st.integers(0, 63), min_size=1, max_size=3), max_size=9), data=st.data())
    def change(self, passages: list[list[int]], data: st.DataObject) -> None:
        removed = data.draw(st.lists(st.integers(0, self.next + 3), unique=True, max_size=8))
        rids = range(self.next, self.next + len(passages))
        added = [rid for rid, numbers in zip(rids, passages, strict=True) for _ in numbers]
        picked = [number for numbers in passages for number in numbers]
        self.index.apply(changed(self.index.seq + 1, _VECTORS[picked], added, sorted(removed)))
        self.rows = {rid: kept for rid, kept in self.rows.items() if rid not in removed}
        self.rows |= {rid: _VECTORS[numbers] for rid, numbers in zip(rids, passages, strict=True)}
        self.next += len(passages) + 1

    @rule()
    def settle(self) -> None:
        self.index.settle()

    @rule()
    def save(self) -> None:
        self.index.save(Path(self.folder.name) / "index")
        self.saved = dict(self.rows), self.next

    @rule()
    def reopen(self) -> None:
        self.index.close()
        self.index = type(self).make()
        assert self.index.load(Path(self.folder.name) / "index") == (self.saved is not None)
        self.rows, self.next = ({}, 0) if self.saved is None else (dict(self.saved[0]), self.saved[1])

    @rule(number=st.integers(0, 63), k=st.integers(1, 30), data=st.data())
    def search(self, number: int, k: int, data: st.DataObject) -> None:
        vector = _VECTORS[number]
        best = {rid: float((kept @ vector).max()) for rid, kept in self.rows.items()}
        rows = data.draw(st.none() | st.lists(st.integers(0, self.next), unique=True))
        allowed = None if rows is None else RowSet(np.array(sorted(rows), np.int64))
        among = best if rows is None else {rid: best[rid] for rid in rows if rid in best}
        rids, cosines = self.index.search(vector, k, allowed)
        assert len(rids) == min(k, len(among))
        assert all(rid in among for rid in rids)
        assert list(zip(-cosines, rids, strict=True)) == sorted(zip(-cosines, rids, strict=True))
        np.testing.assert_allclose(cosines, [among[rid] for rid in rids], atol=1e-5)
        np.testing.assert_array_equal(cosines, self.index.scores(vector, rids))
        if self.index.kind == "exact":
            np.testing.assert_allclose(cosines, sorted(among.values(), reverse=True)[:k], atol=1e-5)

    @invariant()
    def holds_the_same_rows(self) -> None:
        if hasattr(self, "rows"):
            assert self.index.rids().tolist() == sorted(self.rows)
            assert len(self.index) == sum(map(len, self.rows.values()))

    def teardown(self) -> None:
        if hasattr(self, "rows"):
            self.index.close()
            self.folder.cleanup()


class _ExactMachine(_Machine):
    make = staticmethod(lambda: ExactIndex(_DIM))


class _GraphMachine(_Machine):
    make = staticmethod(_graph)


_settings = settings(
    max_examples=count(25, 60), stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.mark.property
class TestExactIndexBesideADict(_ExactMachine.TestCase):  # type: ignore[misc]  # made by hypothesis
    settings = _settings


@pytest.mark.property
@pytest.mark.needs_faiss
class TestFaissIndexBesideADict(_GraphMachine.TestCase):  # type: ignore[misc]  # made by hypothesis
    settings = _settings
