"""Reciprocal rank fusion."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ums_core.ranking.rrf import rrf

pytestmark = pytest.mark.property

rankings = st.lists(st.lists(st.integers(0, 9), unique=True, max_size=8), max_size=4)


@given(rankings, st.integers(1, 100))
def test_each_key_has_the_sum_of_its_reciprocal_ranks_best_first(given_rankings: list[list[int]], k: int) -> None:
    fused = rrf(given_rankings, k=k)
    expected = {
        key: sum(1 / (k + ranking.index(key) + 1) for ranking in given_rankings if key in ranking)
        for ranking in given_rankings
        for key in ranking
    }
    assert dict(fused) == pytest.approx(expected)
    assert [score for _, score in fused] == sorted((score for _, score in fused), reverse=True)


@given(st.lists(st.integers(), unique=True))
def test_one_ranking_keeps_its_order_and_ties_keep_that_of_first_appearance(ranking: list[int]) -> None:
    assert [key for key, _ in rrf([ranking, []])] == ranking
    others = [f"other {key}" for key in ranking]
    interleaved = [key for pair in zip(ranking, others, strict=True) for key in pair]
    assert [key for key, _ in rrf([ranking, others])] == interleaved


def test_a_constant_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        rrf([[1]], k=0)
