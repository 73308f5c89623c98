"""How long items last."""

# ruff: noqa: D102  # a test's name is the behaviour

import pytest
from langgraph.store.base import PutOp

from .case import Clock, Face, Make, StoreCase

__all__ = ["StoreTimes"]

NS = ("notes",)


def _swept(store: Face) -> int:
    count: int = store.store.sweep_ttl()  # type: ignore[attr-defined]  # what stores with a time to live have
    return count


class StoreTimes(StoreCase):
    """Time to live; the store has ``sweep_ttl()``, which returns how many items it deleted."""

    def test_an_item_lives_for_its_minutes_and_goes_with_the_sweep(self, make: Make) -> None:
        clock = Clock()
        store = make(clock=clock)
        store.put(NS, "short", {"v": 1}, ttl=10)
        store.put(NS, "long", {"v": 1}, ttl=60)
        store.put(NS, "ever", {"v": 1})
        clock.pass_by(30)
        assert _swept(store) == 1
        assert store.keys(NS, refresh_ttl=False) == ["long", "ever"]
        clock.pass_by(31)
        assert _swept(store) == 1
        assert _swept(store) == 0
        assert store.keys(NS) == ["ever"]

    def test_without_omit_expired_an_expired_item_is_read_until_the_sweep(self, make: Make) -> None:
        clock = Clock()
        store = make(clock=clock)
        store.put(NS, "k", {"v": 1}, ttl=1)
        clock.pass_by(5)
        assert store.get(NS, "k", refresh_ttl=False) is not None
        assert _swept(store) == 1
        assert store.get(NS, "k") is None

    def test_omit_expired_hides_an_expired_item_from_every_read_before_the_sweep(self, make: Make) -> None:
        clock = Clock()
        store = make(["text"], ttl={"omit_expired": True}, clock=clock)
        store.put(NS, "short", {"text": "apple"}, ttl=1)
        store.put((*NS, "long"), "long", {"text": "apple"}, ttl=60)
        clock.pass_by(5)
        assert store.get(NS, "short") is None
        assert store.keys(NS) == ["long"]
        assert store.keys(NS, query="apple") == ["long"]
        assert store.places() == [(*NS, "long")]
        assert _swept(store) == 1

    @pytest.mark.parametrize("how", ["get", "search", "question"])
    def test_a_read_prolongs_the_life_of_an_item_unless_told_not_to(self, make: Make, how: str) -> None:
        clock = Clock()
        for refresh, alive in ((True, True), (False, False), (None, True)):
            store = make(ttl={"omit_expired": True}, clock=clock)
            store.put(NS, "k", {"text": "apple"}, ttl=10)
            before = store.get(NS, "k", refresh_ttl=False)
            clock.pass_by(8)
            if how == "get":
                store.get(NS, "k", refresh_ttl=refresh)
            else:
                store.search(NS, query="apple" if how == "question" else None, refresh_ttl=refresh)
            clock.pass_by(8)
            after = store.get(NS, "k", refresh_ttl=False)
            assert (after is not None) is alive
            if alive:
                assert after == before

    def test_the_configuration_can_leave_reads_without_effect(self, make: Make) -> None:
        clock = Clock()
        store = make(ttl={"refresh_on_read": False, "omit_expired": True}, clock=clock)
        store.put(NS, "k", {"v": 1}, ttl=10)
        clock.pass_by(8)
        assert store.get(NS, "k") is not None
        clock.pass_by(8)
        assert store.get(NS, "k") is None

    def test_the_default_time_to_live_is_for_puts_that_name_none(self, make: Make) -> None:
        clock = Clock()
        store = make(ttl={"default_ttl": 10, "omit_expired": True}, clock=clock)
        store.put(NS, "default", {"v": 1})
        store.put(NS, "ever", {"v": 1}, ttl=None)
        store.put(NS, "longer", {"v": 1}, ttl=100)
        clock.pass_by(11)
        assert store.keys(NS) == ["ever", "longer"]

    def test_a_new_put_sets_the_time_anew(self, make: Make) -> None:
        clock = Clock()
        store = make(ttl={"omit_expired": True}, clock=clock)
        store.put(NS, "renewed", {"v": 1}, ttl=10)
        store.put(NS, "freed", {"v": 1}, ttl=10)
        clock.pass_by(8)
        store.put(NS, "renewed", {"v": 2}, ttl=10)
        store.put(NS, "freed", {"v": 2})
        clock.pass_by(8)
        assert store.keys(NS, refresh_ttl=False) == ["renewed", "freed"]
        clock.pass_by(8)
        assert store.keys(NS) == ["freed"]

    def test_writes_sweep_when_the_interval_has_passed(self, make: Make) -> None:
        clock = Clock()
        store = make(ttl={"sweep_interval_minutes": 30}, clock=clock)
        store.put(NS, "k", {"v": 1}, ttl=1)
        clock.pass_by(20)
        store.put(NS, "other", {"v": 1})
        assert store.get(NS, "k", refresh_ttl=False) is not None
        clock.pass_by(11)
        store.put(NS, "other", {"v": 2})
        assert store.get(NS, "k") is None
        assert _swept(store) == 0

    @pytest.mark.parametrize("ttl", [-1, float("nan"), float("inf")])
    def test_a_time_that_is_none_is_refused(self, make: Make, ttl: float) -> None:
        store = make()
        with pytest.raises(ValueError, match="ttl"):
            store.batch(PutOp(NS, "k", {"v": 1}, ttl=ttl))
        assert store.search(NS) == []
