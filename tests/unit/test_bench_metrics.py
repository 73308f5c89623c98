"""The measures of the benchmark, by hand and by property."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ums_core.bench.metrics import (
    any_at_k,
    ndcg_at_k,
    recall_at_k,
    reciprocal_rank,
    session_ranking,
    session_recall_at_k,
)

RANKING = ["a", "b", "c", "d", "e"]
SESSION_OF = {"a": "s1", "b": "s1", "c": "s2", "d": "s3", "e": "s2"}

ids = st.integers(0, 30).map(str)
rankings = st.lists(ids, unique=True, max_size=20)
golds = st.sets(ids, min_size=1, max_size=15)
ks = st.integers(1, 25)


def test_recall_is_the_fraction_of_gold_ids_among_the_first_k() -> None:
    assert recall_at_k(RANKING, ["b", "e", "x"], 2) == pytest.approx(1 / 3)
    assert recall_at_k(RANKING, ["b", "e", "x"], 5) == pytest.approx(2 / 3)
    assert recall_at_k(RANKING, ["x"], 5) == 0.0


def test_a_gold_id_given_twice_counts_once() -> None:
    assert recall_at_k(RANKING, ["a", "a", "e"], 1) == 0.5
    assert ndcg_at_k(RANKING, ["a", "a"]) == 1.0


def test_any_is_one_as_soon_as_one_gold_id_is_found() -> None:
    assert any_at_k(RANKING, ["b", "x"], 1) == 0.0
    assert any_at_k(RANKING, ["b", "x"], 2) == 1.0


def test_ndcg_discounts_by_the_logarithm_of_the_rank() -> None:
    found = 1 / math.log2(3) + 1 / math.log2(6)
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert ndcg_at_k(RANKING, ["b", "e", "x"]) == pytest.approx(found / ideal)


def test_ndcg_compares_with_at_most_k_gold_ids() -> None:
    assert ndcg_at_k(RANKING, RANKING, 2) == pytest.approx(1.0)


def test_reciprocal_rank_is_that_of_the_first_gold_id() -> None:
    assert reciprocal_rank(RANKING, ["e", "c"]) == pytest.approx(1 / 3)
    assert reciprocal_rank(RANKING, ["x"]) == 0.0
    assert reciprocal_rank([], ["x"]) == 0.0


def test_a_session_ranks_by_its_best_turn() -> None:
    assert session_ranking(["e", "a", "c", "b", "d"], SESSION_OF) == ["s2", "s1", "s3"]


def test_session_recall_counts_sessions_and_not_turns() -> None:
    assert session_recall_at_k(RANKING, ["a", "b", "d"], SESSION_OF, 1) == 0.5
    assert session_recall_at_k(RANKING, ["a", "b", "d"], SESSION_OF, 3) == 1.0


@pytest.mark.parametrize(
    ("ranking", "gold", "k", "why"),
    [(RANKING, [], 5, "no gold"), (RANKING, ["a"], 0, "at least 1"), (["a", "a"], ["a"], 5, "twice")],
)
def test_what_cannot_be_measured_is_refused(ranking: list[str], gold: list[str], k: int, why: str) -> None:
    for measure in (recall_at_k, any_at_k, ndcg_at_k):
        with pytest.raises(ValueError, match=why):
            measure(ranking, gold, k)


@pytest.mark.property
@given(rankings, golds, ks)
def test_every_measure_lies_between_0_and_1(ranking: list[str], gold: set[str], k: int) -> None:
    values = [measure(ranking, gold, k) for measure in (recall_at_k, any_at_k, ndcg_at_k)]
    assert all(0.0 <= value <= 1.0 + 1e-12 for value in [*values, reciprocal_rank(ranking, gold)])


@pytest.mark.property
@given(rankings, golds, ks)
def test_recall_and_any_never_fall_with_k_and_any_is_not_below_recall(
    ranking: list[str], gold: set[str], k: int
) -> None:
    for measure in (recall_at_k, any_at_k):
        assert measure(ranking, gold, k) <= measure(ranking, gold, k + 1)
    assert recall_at_k(ranking, gold, k) <= any_at_k(ranking, gold, k)


@pytest.mark.property
@given(golds, st.lists(ids, unique=True, max_size=20))
def test_gold_first_is_perfect(gold: set[str], others: list[str]) -> None:
    ranking = [*sorted(gold), *(other for other in others if other not in gold)]
    assert recall_at_k(ranking, gold, len(gold)) == 1.0
    assert ndcg_at_k(ranking, gold) == pytest.approx(1.0)
    assert reciprocal_rank(ranking, gold) == 1.0


@pytest.mark.property
@given(rankings, golds)
def test_a_cut_ranking_never_scores_more(ranking: list[str], gold: set[str]) -> None:
    cut = ranking[:10]
    assert reciprocal_rank(cut, gold) <= reciprocal_rank(ranking, gold)
    assert ndcg_at_k(cut, gold, 10) == ndcg_at_k(ranking, gold, 10)


@pytest.mark.property
@given(rankings, golds, ks)
def test_sessions_of_one_turn_score_as_their_turns(ranking: list[str], gold: set[str], k: int) -> None:
    session_of = {str(number): f"session of {number}" for number in range(31)}
    assert session_recall_at_k(ranking, gold, session_of, k) == recall_at_k(ranking, gold, k)
