"""Fusion by z-scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ums_core.ranking.fuse import best_first, zscore_fuse

pytestmark = pytest.mark.property

# On a grid, so that scaling does not merge neighbours by rounding.
signals = arrays(np.float64, 12, elements=st.integers(-50, 50).map(lambda n: n / 4))


@given(signals, signals, st.floats(0.1, 100), st.floats(-100, 100))
def test_shifting_and_scaling_a_signal_changes_nothing(
    first: np.ndarray, second: np.ndarray, scale: float, shift: float
) -> None:
    plain = zscore_fuse([first, second], [0.6, 0.4])
    np.testing.assert_allclose(zscore_fuse([first * scale + shift, second], [0.6, 0.4]), plain, atol=1e-6)


@given(signals, signals, st.integers(0, 11))
def test_a_candidate_that_gains_in_one_signal_does_not_fall(first: np.ndarray, second: np.ndarray, place: int) -> None:
    rids = np.arange(12)
    before = best_first(zscore_fuse([first, second], [1.0, 0.0]), rids, 12).tolist().index(place)
    first = first.copy()
    first[place] += 1.0
    after = best_first(zscore_fuse([first, second], [1.0, 0.0]), rids, 12).tolist().index(place)
    assert after <= before


def test_a_signal_that_says_the_same_of_all_adds_nothing() -> None:
    signal = np.array([3.0, 1.0, 2.0])
    fused = zscore_fuse([signal, np.full(3, 0.1)], [1.0, 5.0])
    np.testing.assert_allclose(fused, zscore_fuse([signal], [1.0]))
    assert zscore_fuse([np.empty(0)], [1.0]).shape == (0,)


def test_of_equal_scores_the_smaller_row_comes_first() -> None:
    assert best_first(np.array([1.0, 2.0, 2.0, 0.0]), np.array([5, 9, 7, 1]), 3).tolist() == [2, 1, 0]
