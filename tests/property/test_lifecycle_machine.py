"""Whatever is called in whatever order, a memory is alive, archived, within its undo window, or erased."""

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from thorough import count

from ums_core import Draft, LocalStore, Memory, UnifiedSettings, open_store
from ums_core.settings.database import url_of

pytestmark = pytest.mark.property

SPACES = st.sampled_from(["a", "b"])
SHARES = st.sampled_from([0.0, 0.3, 0.7, 1.0])
START = datetime(2026, 3, 1, tzinfo=UTC)
# nid and id; what became of it and of what stands for it.
Key = tuple[str, str]


def failing(memories: Sequence[Memory]) -> str:
    raise RuntimeError(f"no model for {len(memories)}")


def halting(memories: Sequence[Memory]) -> str:
    """Summarises some clusters, and fails at the others."""
    return failing(memories) if len(memories) % 2 else f"About {memories[0].text}"


def lying(_: Sequence[Memory]) -> str:
    return "Nothing of this was ever said."


def slow(memories: Sequence[Memory]) -> str:
    time.sleep(3 * TIMEOUT_S)
    return f"Too late for {memories[0].text}"


TIMEOUT_S = 0.02
STRATEGIES: tuple[Any, ...] = ("head2tail", "concat", failing, halting, lying, slow, lambda _: "", lambda _: None)


class Lifecycle(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="ums-machine-"))
        self.now = START
        self.number = 0
        self.told: set[Key] = set()
        self.batches: list[str] = []
        self.store: LocalStore

    @initialize()
    def begin(self) -> None:
        self.store = self.opened()

    def opened(self) -> LocalStore:
        database = {"url": url_of(self.directory / "memory.db")}
        settings_ = UnifiedSettings.for_testing(database=database, summary_timeout=TIMEOUT_S)
        return open_store(settings_, clock=lambda: self.now)

    @rule(space=SPACES, topic=st.integers(0, 2), importance=st.floats(0, 1), pinned=st.booleans())
    def add(self, space: str, topic: int, importance: float, *, pinned: bool) -> None:
        for _ in range(3):
            self.number += 1
            text = f"topic{topic} thing{topic} place{topic} word{self.number}"
            id_ = f"{space}{self.number}"
            draft = Draft(id=id_, namespace=(space,), text=text, importance=importance, pinned=pinned)
            self.store.add([draft])
            self.told.add((space, id_))

    @rule(space=SPACES, back=st.integers(0, 5))
    def use(self, space: str, back: int) -> None:
        self.store.reinforce([f"{space}{self.number - back}"], namespace=(space,))

    @rule(space=SPACES, strategy=st.sampled_from(STRATEGIES), threshold=st.sampled_from([0.4, 0.7]))
    def consolidate(self, space: str, strategy: Any, threshold: float) -> None:  # noqa: ANN401  # of any kind
        done = self.store.consolidate(threshold=threshold, namespace=(space,), strategy=strategy)
        assert all(cluster.namespace == (space,) for cluster in done.clusters)
        self.batches += [done.batch] if done.batch else []

    @rule(space=SPACES, share=SHARES)
    def forget(self, space: str, share: float) -> None:
        done = self.store.forget(retain_fraction=share, namespace=(space,))
        assert all(fading.namespace == (space,) for fading in done.forgotten)
        self.batches += [done.batch] if done.batch else []

    @rule(place=st.integers(0, 5))
    def undo(self, place: int) -> None:
        if self.batches:
            self.store.undo(self.batches[place % len(self.batches)])

    @rule(space=SPACES, back=st.integers(0, 8))
    def erase(self, space: str, back: int) -> None:
        receipt = self.store.erase([f"{space}{self.number - back}"], namespace=(space,))
        self.told -= {(space, id_) for id_ in receipt.ids}

    @rule(days=st.integers(1, 20))
    def wait(self, days: int) -> None:
        self.now += timedelta(days=days)

    @rule()
    def purge(self) -> None:
        before = {key for key, _, _, _ in self.away()}
        late = {key for key, _, _, until in self.away() if until is not None and until <= self.now.timestamp() * 1e6}
        while grown := {key for key, _, under, _ in self.away() if (key[0], under) in late} - late:
            late |= grown
        while self.store.purge():
            pass
        assert {key for key, _, _, _ in self.away()} == before - late
        self.told -= late

    @rule()
    def reopen(self) -> None:
        # As another process would, before this one has let go.
        former, self.store = self.store, self.opened()
        former.close()

    def away(self) -> list[tuple[Key, str, str | None, float | None]]:
        found = self.read("SELECT n.path, m.id, m.why, m.under, m.until FROM archived m JOIN namespaces n USING (nid)")
        return [((path.rstrip("/"), id_), why, under, until) for path, id_, why, under, until in found]

    def read(self, sql: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(f"file:{self.directory / 'memory.db'}?mode=ro", uri=True)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    @invariant()
    def every_memory_is_in_one_place(self) -> None:
        if not hasattr(self, "store"):
            return
        found = self.read("SELECT n.path, m.id FROM memories m JOIN namespaces n USING (nid)")
        live = [(path.rstrip("/"), id_) for path, id_ in found]
        away = self.away()
        known = [*live, *(key for key, _, _, _ in away)]
        assert len(known) == len(set(known)), "in two places"
        said = {key for key in known if key[1].startswith(("a", "b")) and key[1][1:].isdecimal() and len(key[1]) < 10}
        assert said == self.told
        assert all(space == id_[0] for space, id_ in said), "a namespace was crossed"
        for (space, _), why, under, until in away:
            assert (why == "consolidated") == (under is not None)
            assert under is None or (space, under) in set(known), "under what is nowhere"
            assert (why == "forgotten") == (until is not None)

    @invariant()
    def the_index_is_what_is_alive(self) -> None:
        if hasattr(self, "store"):
            assert self.store.verify() == []

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
        shutil.rmtree(self.directory)


def test_every_memory_is_in_one_place() -> None:
    from hypothesis.stateful import run_state_machine_as_test  # noqa: PLC0415  # beside the machine that it runs

    run_state_machine_as_test(  # type: ignore[no-untyped-call]  # has no annotations
        Lifecycle, settings=settings(max_examples=count(8, 200), stateful_step_count=count(15, 40), deadline=None)
    )
