"""The suite that judges any vector index: subclass it and give the one fixture ``make_index``."""

# ruff: noqa: D102  # a test's name is the behaviour

import threading

import numpy as np
import numpy.typing as npt
import pytest

from ums_core.errors import DimensionMismatch, InvalidQuery, StoreClosed
from ums_core.ports.index import RowSet, VectorIndex
from ums_core.testing.index_case import (
    CROWD_DIM,
    DIM,
    Answer,
    Floats,
    Ids,
    MakeIndex,
    added,
    changed,
    clustered,
    recall,
    same,
)
from ums_core.testing.index_snapshots import IndexSnapshots

__all__ = ["MakeIndex", "VectorIndexSuite"]


def _brute_force(vectors: Floats, rids: Ids, queries: Floats, k: int) -> list[Answer]:
    every = queries.astype(np.float64) @ vectors.astype(np.float64).T
    return [_best(rids, cosines, min(k, len(rids))) for cosines in every]


def _best(rids: Ids, cosines: npt.NDArray[np.float64], k: int) -> Answer:
    at = np.flatnonzero(cosines >= np.partition(cosines, -k)[-k])
    order = at[np.lexsort((rids[at], -cosines[at]))[:k]]
    return rids[order], cosines[order].astype(np.float32)


def _only(vectors: Floats, rids: Ids, allowed: Ids) -> tuple[Floats, Ids]:
    at = np.isin(rids, allowed)
    return vectors[at], rids[at]


class VectorIndexSuite(IndexSnapshots):
    """What every index must do. Exact kinds must equal brute force; others must find 98 % of it at 50,000 vectors."""

    def test_an_empty_index_finds_nothing(self, make: MakeIndex) -> None:
        index = make(DIM)
        vector = clustered(1, DIM, seed=0, clusters=1)[0][0]
        assert [len(part) for part in index.search(vector, 5)] == [0, 0]
        assert len(index.search(vector, 5, RowSet(np.arange(3)))[0]) == 0
        assert (len(index), index.seq, index.dim, index.recovering) == (0, 0, DIM, False)
        assert index.rids().tolist() == []

    def test_a_vector_is_found_by_the_next_search(self, make: MakeIndex) -> None:
        index, vectors = make(DIM), clustered(100, DIM, seed=0, clusters=10)[0]
        for seq, vector in enumerate(vectors, start=1):
            index.apply(changed(seq, vector[None], [seq]))
            rids, cosines = index.search(vector, 1)
            assert (rids[0], index.seq, len(index)) == (seq, seq, seq)
            assert cosines[0] == pytest.approx(1, abs=1e-5)

    def test_answers_agree_with_brute_force(self, make: MakeIndex) -> None:
        index, vectors = make(32), clustered(2000, 32, seed=0, clusters=40)[0]
        rids = added(index, vectors)
        index.settle()
        queries = clustered(50, 32, seed=2, clusters=40)[0]
        for k in (1, 10, 300, 3000):
            found = [index.search(query, k) for query in queries]
            expected = _brute_force(vectors, rids, queries, k)
            assert recall(found, expected) >= (1 if index.kind == "exact" else 0.98)
            if index.kind == "exact" and k <= 10:  # further down, the last bits of float32 change places
                assert all(np.array_equal(have[0], want[0]) for have, want in zip(found, expected, strict=True))
            for query, have in zip(queries, found, strict=True):
                assert len(np.unique(have[0])) == len(have[0]) == min(k, 2000)
                assert (np.diff(have[1]) <= 0).all()
                np.testing.assert_allclose(have[1], vectors[have[0]] @ query, atol=1e-5)

    def test_ten_nearest_of_many(self, crowd: tuple[VectorIndex, Floats, Ids]) -> None:
        index, vectors, _ = crowd
        self._agrees(index, vectors, None)

    @pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.5])
    def test_filter_of_random_rows_hides_nothing(self, crowd: tuple[VectorIndex, Floats, Ids], share: float) -> None:
        index, vectors, _ = crowd
        rows = np.random.default_rng(3).choice(self.size, int(share * self.size), replace=False)
        self._agrees(index, vectors, np.sort(rows).astype(np.int64))

    @pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
    def test_filter_of_neighbours_hides_nothing(self, crowd: tuple[VectorIndex, Floats, Ids], share: float) -> None:
        """A namespace whose vectors lie together: either all near the query or all far from it."""
        index, vectors, cluster = crowd
        self._agrees(index, vectors, np.flatnonzero(cluster < max(1, share * self.size // 100)).astype(np.int64))

    def _agrees(self, index: VectorIndex, vectors: Floats, allowed: Ids | None) -> None:
        every = np.arange(self.size, dtype=np.int64)
        part, rids = (vectors, every) if allowed is None else _only(vectors, every, allowed)
        rows = None if allowed is None else RowSet(allowed)
        queries = clustered(100, CROWD_DIM, seed=4, clusters=self.size // 100)[0]
        found = [index.search(query, 10, rows) for query in queries]
        assert all(np.isin(have[0], rids).all() and len(have[0]) == min(10, len(rids)) for have in found)
        for query, have in zip(queries, found, strict=True):
            np.testing.assert_allclose(have[1], vectors[have[0]] @ query, atol=1e-5)
        expected = _brute_force(part, rids, queries, 10)
        assert recall(found, expected) >= (1 if index.kind == "exact" else 0.98)

    def test_filter_of_three_rows_returns_exactly_these(self, make: MakeIndex) -> None:
        index, vectors = make(32), clustered(3000, 32, seed=0, clusters=30)[0]
        added(index, vectors)
        index.settle()
        allowed = np.array([7, 1500, 2999])
        rids, cosines = index.search(vectors[1500], 10, RowSet(allowed))
        assert rids[0] == 1500
        assert sorted(rids) == allowed.tolist()
        assert np.array_equal(cosines, index.scores(vectors[1500], rids))

    def test_unknown_and_removed_rows_of_a_filter_are_ignored(self, make: MakeIndex) -> None:
        index, vectors = make(DIM), clustered(50, DIM, seed=0, clusters=5)[0]
        added(index, vectors, first=10)
        index.apply(changed(2, vectors[:0], [], removed=[20, 999]))
        allowed = RowSet(np.array([0, 5, 12, 20, 30, 60, 10**12]))
        assert sorted(index.search(vectors[0], 10, allowed)[0]) == [12, 30]
        assert len(index.search(vectors[0], 10, RowSet(np.empty(0, np.int64)))[0]) == 0
        assert len(index.search(vectors[0], 60, RowSet(np.arange(1000)))[0]) == 49

    def test_a_removed_row_is_gone_at_once(self, make: MakeIndex) -> None:
        index, vectors = make(DIM), clustered(200, DIM, seed=0, clusters=20)[0]
        added(index, vectors)
        index.settle()
        for rid in range(200):
            assert rid in index.search(vectors[rid], 200 - rid)[0]
            index.apply(changed(rid + 2, vectors[:0], [], removed=[rid, rid + 1000]))
            assert rid not in index.search(vectors[rid], 200)[0]
            assert np.isnan(index.scores(vectors[rid], np.array([rid]))).all()
            assert len(index) == len(index.rids()) == 199 - rid

    def test_an_update_replaces_a_row_in_one_step(self, make: MakeIndex) -> None:
        index, vectors = make(DIM), clustered(101, DIM, seed=0, clusters=101)[0]
        added(index, vectors[:100])
        index.apply(changed(2, vectors[100:], [500], removed=[3]))
        assert index.search(vectors[100], 1)[0].tolist() == [500]
        assert index.rids().tolist() == [*range(3), *range(4, 100), 500]
        assert (len(index), index.seq) == (100, 2)

    def test_a_row_counts_once_as_its_best_passage(self, make: MakeIndex) -> None:
        index, vectors = make(16), clustered(600, 16, seed=0, clusters=3)[0]
        rids = np.repeat(np.arange(60), 10)
        index.apply(changed(1, vectors, rids))
        index.settle()
        for vector in vectors[::7]:
            found, cosines = index.search(vector, 12)
            best = (vectors @ vector).reshape(60, 10).max(axis=1)
            assert len(set(found.tolist())) == len(found) == 12
            np.testing.assert_allclose(cosines, np.sort(best)[::-1][:12], atol=1e-5)
            np.testing.assert_allclose(index.scores(vector, np.arange(60)), best, atol=1e-5)
            among = index.search(vector, 5, RowSet(np.arange(0, 60, 4)))
            np.testing.assert_allclose(among[1], np.sort(best[::4])[::-1][:5], atol=1e-5)
        assert (len(index), index.rids().tolist()) == (600, list(range(60)))

    def test_equal_vectors_rank_by_row_id(self, make: MakeIndex) -> None:
        index = make(DIM)
        vectors = np.repeat(clustered(3, DIM, seed=0, clusters=3)[0], 7, axis=0)
        index.apply(changed(1, vectors[:10], np.arange(10)))
        index.apply(changed(2, vectors[10:], np.arange(10, 21)))
        for _ in ("while work may wait", "when none does"):
            answers = [index.search(vectors[0], k) for k in (3, 7, 21)]
            assert answers[0][0].tolist() == [0, 1, 2]
            assert answers[1][0].tolist() == list(range(7))
            assert sorted(answers[2][0]) == list(range(21))
            assert all(len(set(part)) == 1 for part in np.split(answers[2][1], 3))
            assert same(answers[2], index.search(vectors[0], 21))
            index.settle()

    def test_scores_are_those_of_search_and_nan_where_unknown(self, make: MakeIndex) -> None:
        index, vectors = make(DIM), clustered(300, DIM, seed=0, clusters=5)[0]
        added(index, vectors[:200])
        index.settle()
        added(index, vectors[200:], first=200)
        rids, cosines = index.search(vectors[3], 50)
        assert np.array_equal(index.scores(vectors[3], rids), cosines)
        assert np.isnan(index.scores(vectors[3], np.array([-1, 5, 10**9]))).tolist() == [True, False, True]
        assert index.scores(vectors[3], np.empty(0, np.int64)).shape == (0,)

    def test_bad_questions_and_changes_are_refused(self, make: MakeIndex) -> None:
        index, vectors = make(DIM), clustered(3, DIM, seed=0, clusters=3)[0]
        added(index, vectors)
        with pytest.raises(InvalidQuery):
            index.search(vectors[0], 0)
        with pytest.raises(DimensionMismatch):
            index.search(vectors[0, 1:], 1)
        with pytest.raises(DimensionMismatch):
            index.apply(changed(2, vectors[:, 1:], [4, 5, 6]))
        for rids in ([2, 3, 4], [6, 5, 7]):
            with pytest.raises(ValueError, match="ascend"):
                index.apply(changed(2, vectors, rids))
        assert (index.rids().tolist(), index.seq) == ([0, 1, 2], 1)

    def test_searches_beside_a_writer_see_whole_changes(self, make: MakeIndex) -> None:
        """Each change replaces one marked row by a newer one, beside a crowd that grows: exactly one mark is seen."""
        index, crowd = make(DIM), clustered(4000, DIM, seed=0, clusters=4)[0]
        mark, crowd = np.eye(DIM, dtype=np.float32)[0], crowd - crowd * np.eye(DIM, dtype=np.float32)[0]
        index.apply(changed(1, mark[None], [0]))
        done, odd = threading.Event(), list[object]()

        def look() -> None:
            while not done.is_set():
                rids, cosines = index.search(mark, 3)
                right = rids[0] % 21 == 0 and cosines[0] > 0.99 and (cosines[1:] < 0.5).all()
                odd.extend([] if right else [(rids, cosines)])

        threads = [threading.Thread(target=look) for _ in range(2)]
        for thread in threads:
            thread.start()
        for seq in range(2, 202):
            first = 21 * (seq - 1)
            batch = np.concatenate((mark[None], crowd[20 * (seq - 2) : 20 * (seq - 1)]))
            index.apply(changed(seq, batch, np.arange(first, first + 21), removed=[first - 21]))
        index.settle()
        done.set()
        for thread in threads:
            thread.join()
        assert odd == []
        assert (len(index), index.search(mark, 1)[0][0]) == (4001, 21 * 200)

    def test_recovery_answers_while_it_lasts(self, make: MakeIndex) -> None:
        index, vectors = make(DIM), clustered(500, DIM, seed=0, clusters=5)[0]
        with index.recovery():
            added(index, vectors[:250])
            assert index.search(vectors[3], 1)[0].tolist() == [3]
            added(index, vectors[250:], first=250)
        assert index.search(vectors[400], 1)[0].tolist() == [400]
        index.settle()
        assert (index.recovering, len(index)) == (False, 500)

    def test_a_closed_index_refuses(self, make: MakeIndex) -> None:
        index, vectors = make(DIM), clustered(3, DIM, seed=0, clusters=3)[0]
        added(index, vectors)
        index.close()
        index.close()
        with pytest.raises(StoreClosed):
            index.search(vectors[0], 1)
        with pytest.raises(StoreClosed):
            index.apply(changed(2, vectors, [3, 4, 5]))
