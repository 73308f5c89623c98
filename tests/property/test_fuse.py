"""Fusion by z-scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ums_core.ranking.fuse import alternating, best_first, standard

pytestmark = pytest.mark.property

# On a grid, so that scaling does not merge neighbours by rounding.
signals = arrays(np.float64, 12, elements=st.integers(-50, 50).map(lambda n: n / 4))


def fused(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return 0.6 * standard(first) + 0.4 * standard(second)


@given(signals, signals, st.floats(0.1, 100), st.floats(-100, 100))
def test_shifting_and_scaling_a_signal_changes_nothing(
    first: np.ndarray, second: np.ndarray, scale: float, shift: float
) -> None:
    np.testing.assert_allclose(fused(first * scale + shift, second), fused(first, second), atol=1e-6)


@given(signals, st.integers(0, 11))
def test_a_candidate_that_gains_in_one_signal_does_not_fall(first: np.ndarray, place: int) -> None:
    before = best_first(standard(first), 12).tolist().index(place)
    first = first.copy()
    first[place] += 1.0
    after = best_first(standard(first), 12).tolist().index(place)
    assert after <= before


def test_a_signal_that_says_the_same_of_all_adds_nothing() -> None:
    np.testing.assert_array_equal(standard(np.full(3, 0.1)), np.zeros(3))
    assert standard(np.empty(0)).shape == (0,)
    np.testing.assert_array_equal(standard(np.array([1.0, 2.0]), np.empty(0, np.intp)), np.zeros(2))


def test_mean_and_deviation_are_those_of_the_basis() -> None:
    basis = np.array([0, 1])
    np.testing.assert_allclose(standard(np.array([1.0, 3.0, 9.0]), basis), [-1.0, 1.0, 7.0])


def test_of_equal_scores_the_first_comes_first() -> None:
    assert best_first(np.array([1.0, 2.0, 2.0, 0.0]), 3).tolist() == [1, 2, 0]


ids = st.lists(st.integers(0, 30), unique=True, max_size=12).map(lambda drawn: np.array(drawn, np.int64))


@given(ids, ids, st.integers(0, 12))
def test_longer_lists_only_add_behind(first: np.ndarray, second: np.ndarray, depth: int) -> None:
    whole = alternating(first, second).tolist()
    assert sorted(whole) == sorted({*first.tolist(), *second.tolist()})
    short = alternating(first[:depth], second[:depth]).tolist()
    assert whole[: len(short)] == short


@given(arrays(np.float32, st.integers(390, 900), elements=st.integers(-4, 4)), st.integers(1, 60))
def test_the_best_of_many_are_those_that_come_first_in_order(scores: np.ndarray, k: int) -> None:
    assert best_first(scores, k).tolist() == np.argsort(-scores, kind="stable")[:k].tolist()
