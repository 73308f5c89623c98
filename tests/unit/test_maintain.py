"""Maintenance: each step, one runner, stopped and taken up again."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from ums_core import Draft, EnhancedMemoryStore, LocalStore, UnifiedSettings, open_store
from ums_core.errors import InvalidField, MaintenanceRunning
from ums_core.pipeline import maintain as work
from ums_core.records.maintenance import STEPS, Maintenance, Step
from ums_core.settings.database import url_of
from ums_core.storage.lease import Lease
from ums_core.testing.sealed import SEALED_FIELDS

START = datetime(2026, 3, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@contextmanager
def opened(path: Path, clock: Clock, **maintenance: object) -> Iterator[LocalStore]:
    settings = UnifiedSettings.for_testing(
        database={"url": url_of(path / "memory.db")}, maintenance={"min_total": 0, **maintenance}
    )
    with open_store(settings, clock=clock) as store:
        yield store


def filled(store: LocalStore) -> None:
    store.add(
        [
            *(Draft(text=f"The heron is at the pond {word}.") for word in ("now", "again", "today")),
            *(Draft(id=f"old{n}", text=text) for n, text in enumerate(("bread and milk", "tram nine", "a red door"))),
            Draft(id="gone", text="gone by tomorrow", expires_at=START + timedelta(hours=1)),
        ]
    )


def test_a_run_does_every_step_and_says_what_it_did(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock, threshold=0.6, retain_fraction=0.5) as store:
        filled(store)
        clock.now += timedelta(hours=2)
        plan = store.maintain(dry_run=True)
        assert (plan.dry_run, plan.expired, plan.purged, plan.steps) == (True, 1, 0, STEPS)
        assert plan.consolidation is not None
        assert len(plan.consolidation.clusters) == 1
        assert store.count(filter={"level": 0}) == 7
        done = store.maintain()
        assert (done.expired, done.purged, done.steps, done.complete) == (1, 0, STEPS, True)
        assert done.consolidation is not None
        assert done.consolidation.merged == 3
        (forgotten,) = done.forgetting
        assert forgotten.removed == 2
        assert store.count() == 2
        # A month later what was forgotten is beyond undo.
        clock.now += timedelta(days=31)
        assert store.maintain(dry_run=True, steps=["purge"]).purged == 2
        assert store.maintain(steps=["purge"]).purged == 2
        assert store.verify() == []


def test_each_namespace_forgets_for_itself(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock, retain_fraction=0.5) as store:
        for namespace, importance in (((), 0.9), (("a",), 0.1), (("a", "b"), 0.5)):
            store.add([Draft(text=f"{n}", namespace=namespace, importance=importance) for n in range(4)])
        done = store.maintain(steps=["forget"])
        assert [forgotten.removed for forgotten in done.forgetting] == [2, 2, 2]
        assert (store.count(), store.count(namespace=("a",)), store.count(namespace=("a", "b"))) == (6, 4, 2)


def test_nothing_is_forgotten_unless_the_settings_say_so(tmp_path: Path) -> None:
    with opened(tmp_path, Clock()) as store:
        filled(store)
        assert store.maintain(steps=["forget"]) == Maintenance(steps=("forget",))
        assert store.maintain(steps=[]) == Maintenance()


@pytest.mark.parametrize("sealed", [False, True])
def test_answers_to_old_idempotency_keys_lapse_a_batch_at_a_time(tmp_path: Path, *, sealed: bool) -> None:
    clock = Clock()
    settings = UnifiedSettings.for_testing(
        database={"url": url_of(tmp_path / "memory.db")},
        lifetime={"idempotency_days": 7},
        security=SEALED_FIELDS if sealed else {},
    )

    def write(store: LocalStore, key: str) -> str:
        return store.add([Draft(text="tea at five")], idempotency_key=key)[0].id

    with open_store(settings, clock=clock) as store:
        first = {key: write(store, key) for key in (f"k{n}" for n in range(work.BATCH + 2))}
        clock.now += timedelta(days=5)
        late = write(store, "late")
        clock.now += timedelta(days=3)
        plan, stopped = (
            store.maintain(steps=["lapse"], dry_run=True),
            store.maintain(steps=["lapse"], cancel=iter([False, True]).__next__),
        )
        assert (plan.lapsed, stopped.lapsed, stopped.complete) == (work.BATCH + 2, work.BATCH, False)
        done = store.maintain(steps=["lapse"])
        assert (done.lapsed, done.steps, store.maintain(steps=["lapse"]).lapsed) == (2, ("lapse",), 0)
        assert write(store, "late") == late
        assert write(store, "k0") != first["k0"]
        assert store.verify() == store.verify_history() == []
    with opened(tmp_path / "kept", clock) as store:
        write(store, "key")
        clock.now += timedelta(days=10_000)
        assert store.maintain(steps=["lapse"], dry_run=True).lapsed == store.maintain(steps=["lapse"]).lapsed == 0


def test_a_step_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path, Clock()) as store:
        for steps in ("sweep", ["tidy"], 5):
            with pytest.raises(InvalidField, match="sweep, consolidate, forget, purge"):
                store.maintain(steps=cast("list[Step]", steps))


def test_one_at_a_time_maintains_a_database(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock, lease=60) as store, opened(tmp_path, clock, lease=60) as other:
        with Lease(store._database, 60) as lease:
            with pytest.raises(MaintenanceRunning, match="60 s") as caught:
                other.maintain()
            assert caught.value.retry_after_s == 60
            assert lease.keep()
            # A plan changes nothing, so it may be made.
            assert other.maintain(dry_run=True).complete
        assert other.maintain().complete


def test_a_run_whose_lease_another_one_took_over_stops(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock, lease=0.001) as store, opened(tmp_path, clock) as other:
        filled(store)
        taken = Lease(other._database, 60)

        def cancel() -> bool:
            # As after a pause of the machine: the lease is over, and another one comes.
            clock.now += timedelta(seconds=1)
            if clock.now == START + timedelta(seconds=1):
                taken.__enter__()
            return False

        stopped = store.maintain(cancel=cancel)
        assert not stopped.complete
        # It did not take away what is not its own.
        with pytest.raises(MaintenanceRunning):
            store.maintain()
        taken.__exit__()
        assert store.maintain().complete


def test_a_clock_that_was_set_back_keeps_nobody_out(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock) as store:
        Lease(store._database, 60).__enter__()
        clock.now -= timedelta(days=400)
        assert store.maintain().complete


def test_a_run_that_is_stopped_says_so_and_the_next_goes_on(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock, threshold=0.6, retain_fraction=0.5) as store:
        filled(store)
        clock.now += timedelta(hours=2)
        for allowed in range(12):
            left = iter([False] * allowed)
            stopped = store.maintain(cancel=lambda left=left: next(left, True))  # type: ignore[misc]  # bound now
            if stopped.complete:
                break
            assert len(stopped.steps) < len(STEPS)
        else:
            pytest.fail("it never comes to its end")
        assert store.count(filter={"level": 1}) == 1
        assert store.maintain().complete


def test_a_sweep_is_made_of_small_transactions_and_can_be_stopped(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock) as store:
        number = work.BATCH + 10
        store.add([Draft(text=f"{n}", expires_at=START + timedelta(hours=1)) for n in range(number)])
        clock.now += timedelta(hours=2)
        left = iter([False])
        stopped = store.maintain(steps=["sweep"], cancel=lambda: next(left, True))
        assert (stopped.expired, stopped.complete) == (work.BATCH, False)
        assert store.maintain(steps=["sweep"]).expired == 10
        store.add([Draft(text=f"{n}", expires_at=START + timedelta(hours=3)) for n in range(number)])
        clock.now += timedelta(hours=2)
        assert store.maintain(steps=["sweep"]).expired == number


def test_forgetting_stops_between_namespaces(tmp_path: Path) -> None:
    with opened(tmp_path, Clock(), retain_fraction=0.0) as store:
        store.add([Draft(text=f"{n}", namespace=(f"n{n}",)) for n in range(3)])
        left = iter([False, False, False])
        stopped = store.maintain(steps=["forget"], cancel=lambda: next(left, True))
        assert not stopped.complete
        assert 0 < len(stopped.forgetting) < 3


async def test_the_door_maintains() -> None:
    async with EnhancedMemoryStore(UnifiedSettings.for_testing()) as door:
        assert (await door.maintain()).steps == STEPS


@pytest.mark.parametrize("put", [{"a": 1}, {"holder": "x", "until": "y", "length": 1}, "text", b"bytes"])
def test_what_somebody_else_put_in_the_place_of_the_lease_is_none(tmp_path: Path, put: object) -> None:
    with opened(tmp_path, Clock()) as store:
        store.kv_put("ums.maintenance", {"lease": put})
        assert store.maintain(steps=["sweep"]).complete
