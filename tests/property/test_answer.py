"""Diversity, budgets and pages: what is true of every answer."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ums_core import Draft, Hit, Query, UnifiedSettings, open_store
from ums_core.ranking.mmr import alike_by_vectors, alike_by_words, mmr
from ums_core.ranking.pack import estimate_tokens, pack
from ums_core.ranking.profile import Profile
from ums_core.records.query import SIGNALS

pytestmark = pytest.mark.property

N = 9
relevances = arrays(np.float64, N, elements=st.integers(-20, 20).map(lambda n: n / 4))
vectors = arrays(np.float32, (N, 3), elements=st.integers(-4, 4).map(float))


@given(relevances, vectors, st.floats(0, 1))
def test_every_candidate_is_taken_once_and_the_best_first(base: np.ndarray, held: np.ndarray, diversity: float) -> None:
    order = mmr(base, alike_by_vectors(held), diversity)
    assert sorted(order) == list(range(N))
    assert order[0] == int(base.argmax())


@given(relevances, vectors)
def test_without_diversity_the_order_is_that_of_relevance(base: np.ndarray, held: np.ndarray) -> None:
    order = mmr(base, alike_by_vectors(held), 0.0)
    assert order == np.argsort(-base, kind="stable").tolist()


def test_a_repetition_comes_after_what_is_new() -> None:
    relevance = np.array([1.0, 0.99, 0.5])
    held = np.array([[1, 0], [1, 0], [0, 2]], np.float32)
    assert mmr(relevance, alike_by_vectors(held), 0.5) == [0, 2, 1]
    assert mmr(relevance, alike_by_words([{"a", "b"}, {"a", "b"}, set()]), 0.5) == [0, 2, 1]
    assert mmr(np.empty(0), np.empty((0, 0)), 0.5) == []


costs = st.lists(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), min_size=1, max_size=3), max_size=6)


@given(costs, st.integers(1, 40))
def test_what_is_packed_fits_and_the_first_that_fits_is_in(choices: list[list[tuple[int, int]]], budget: int) -> None:
    # One thing has one cost.
    choices = [[(what, what + 1) for what, _ in way] for way in choices]
    taken = pack([[way, way[:1]] for way in choices], budget)
    held = {
        what: cost
        for way, place in zip(choices, taken, strict=True)
        if place is not None
        for what, cost in (way, way[:1])[place]
    }
    assert sum(held.values()) <= budget
    if choices and choices[0][0][1] <= budget:
        assert taken[0] is not None


@given(st.text())
def test_an_estimate_grows_with_the_text(text: str) -> None:
    assert 0 <= estimate_tokens(text) <= len(text.encode()) or not text
    assert estimate_tokens(f"{text} word") == estimate_tokens(text) + 1


def test_an_estimate_is_about_what_a_model_counts() -> None:
    assert estimate_tokens("The quick brown fox jumps over the lazy dog.") == 10
    assert estimate_tokens("internationalization 123456") == 5
    assert estimate_tokens("日本語") == 2


WORDS = ("boat", "key", "hill", "rain", "bread", "train", "lamp")


NOW = datetime(2026, 6, 1, tzinfo=UTC)


def drafts() -> list[Draft]:
    return [
        Draft(
            id=f"m{n}",
            created_at=NOW - timedelta(days=n % 100),
            text=f"{WORDS[n % 7]} and {WORDS[n % 5]} number {n}",
            namespace=("one",),
            speaker="AB"[n % 2],
            role=None if n % 3 else "user",
            session=None if n % 4 == 3 else f"s{n // 20}",
            position=n,
        )
        for n in range(240)
    ]


questions = st.fixed_dictionaries(
    {
        "text": st.sampled_from(["the boat in the rain", "A key?", "lamp", "who has bread for B"]),
        "mode": st.sampled_from(["hybrid", "vector", "keyword"]),
    },
    optional={
        "diversity": st.sampled_from([0.0, 0.3, 1.0]),
        "recency": st.sampled_from([0.0, 0.5, 1.0]),
        "min_score": st.sampled_from([-1.0, 0.1, 0.5]),
        "kind": st.sampled_from(["dialogue", "assistant", "notes"]),
        "filter": st.just({"speaker": "A"}),
        "weights": st.sampled_from([{"dense": 1.0}, {"lexical": 1, "before": 0.9}, {"question": -2.0}]),
    },
)


def identities(hits: list[Hit]) -> list[str]:
    return [hit.memory.id for hit in hits]


def test_pages_add_up_and_signals_add_up_to_the_score() -> None:
    with open_store(UnifiedSettings.for_testing(), clock=lambda: NOW) as store:
        store.add(drafts())

        @settings(max_examples=40, deadline=None)
        @given(questions, st.sampled_from([17, 60, 149]))
        def pages(ask: dict[str, object], page: int) -> None:
            whole = store.search(Query(**ask, k=150, explain=True))  # type: ignore[arg-type]  # drawn to fit
            parts = [
                hit
                for offset in range(0, 150, page)
                for hit in store.search(Query(**ask, k=min(page, 150 - offset), offset=offset))  # type: ignore[arg-type]  # as above
            ]
            assert identities(parts) == identities(whole)
            assert [hit.score for hit in parts] == [hit.score for hit in whole]
            assert len(set(identities(whole))) == len(whole)
            for hit in whole:
                assert hit.signals is not None
                assert sum(hit.signals.values()) == pytest.approx(hit.score, abs=1e-9)
                assert hit.score >= ask.get("min_score", -np.inf)
            assert all(hit.signals is None and hit.kind is None for hit in parts)
            if "diversity" not in ask:
                scores = [hit.score for hit in whole]
                assert scores == sorted(scores, reverse=True)

        pages()


def test_memories_elsewhere_change_nothing() -> None:
    with (
        open_store(UnifiedSettings.for_testing(), clock=lambda: NOW) as store,
        open_store(UnifiedSettings.for_testing(), clock=lambda: NOW) as other,
    ):
        for each in (store, other):
            each.add(drafts())
        shared: dict[str, list[object]] = {}

        @settings(max_examples=25, deadline=None)
        @given(questions, st.lists(st.sampled_from(["boat in the rain", "A", "key and key"]), max_size=3))
        def alike(ask: dict[str, object], texts: list[str]) -> None:
            other.add([Draft(text=text, namespace=("two",), speaker="A", session="s0") for text in texts])
            query = Query(**ask, namespace=("one",), k=20)  # type: ignore[arg-type]  # drawn to fit
            expected = shared.setdefault(repr(query), [h.memory.id for h in store.search(query)])
            assert identities(other.search(query)) == expected

        alike()


def test_a_weight_is_named_as_the_profile_names_it() -> None:
    assert tuple(field.name for field in fields(Profile)) == SIGNALS
