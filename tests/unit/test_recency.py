"""Recency as a prior of a search: asked for, bounded, and seen in the signals."""

from datetime import UTC, datetime, timedelta

import pytest

from ums_core import Draft, Query, UnifiedSettings, open_store
from ums_core.channels.local import LocalStore
from ums_core.pipeline.ranked import Ranked
from ums_core.pipeline.recency import Recency
from ums_core.records.dynamics import Dynamics

NOW = datetime(2026, 6, 1, tzinfo=UTC)
TEXT = "Ada plays the cello"


def store_of(*ages_days: int, **settings: object) -> LocalStore:
    """A store with the same text at several ages, and one that has nothing to do with it."""
    store = open_store(UnifiedSettings.for_testing(**settings), clock=lambda: NOW)
    drafts = [Draft(id=f"{age}", text=TEXT, created_at=NOW - timedelta(days=age)) for age in ages_days]
    store.add([*drafts, Draft(id="other", text="the tax office wrote again", created_at=NOW)])
    return store


def order(store: LocalStore, **query: object) -> list[str]:
    return [hit.memory.id for hit in store.search(Query(text=TEXT, **query))]  # type: ignore[arg-type]  # checked by Query


@pytest.mark.parametrize("mode", ["hybrid", "vector", "keyword"])
def test_of_equals_the_fresh_one_comes_first_only_where_the_query_asks(mode: str) -> None:
    with store_of(300, 30, 1) as store:
        assert order(store, mode=mode, k=3) == ["300", "30", "1"]
        assert order(store, mode=mode, k=3, recency=0.0) == ["300", "30", "1"]
        assert order(store, mode=mode, k=3, recency=0.2) == ["1", "30", "300"]


def test_age_never_outweighs_more_than_its_share() -> None:
    with store_of(300) as store:
        assert order(store, mode="vector", recency=0.5) == ["300", "other"]
        (best, other) = store.search(Query(text=TEXT, mode="vector", recency=0.5))
        # Half of what it is above the last one; cosines stay as they are.
        span = (best.similarity or 0.0) - (other.similarity or 0.0)
        assert best.score == pytest.approx((other.similarity or 0.0) + span * 0.5, abs=1e-3)
        assert best.similarity == pytest.approx(1.0)


def test_the_signal_says_what_age_took() -> None:
    with store_of(300, 1) as store:
        fresh, old = store.search(Query(text=TEXT, mode="vector", recency=0.4, explain=True, k=2))
        assert fresh.signals is not None
        assert old.signals is not None
        assert old.signals["recency"] < fresh.signals["recency"] < 0
        assert sum(old.signals.values()) == pytest.approx(old.score)


def test_the_settings_say_how_fast_it_goes() -> None:
    with store_of(300, 0, dynamics={"decay_rate": 1e6}) as store:
        slow = store.search(Query(text=TEXT, mode="vector", recency=1.0, k=2))
        assert slow[1].score == pytest.approx(slow[0].score, abs=1e-3)


def test_what_is_gone_meanwhile_counts_as_fresh_and_nothing_stays_nothing() -> None:
    recency = Recency(lambda: NOW, Dynamics())
    found = Ranked([1, 2, 3], [3.0, 2.0, 1.0], [None] * 3, {})
    assert recency.applied(found, {}, 1.0, 2).rids == [1, 2, 3]
    assert recency.applied(Ranked([], [], [], {}), {}, 1.0, 2).rids == []
    with store_of(1) as store:
        assert order(store, namespace=("nobody",), recency=1.0) == []
