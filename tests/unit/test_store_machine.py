"""The machine that compares a store with a dict, one rule after the other: all of it is run, by no chance."""

from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import find
from hypothesis import strategies as st

from ums_core import Draft, Filter, MemoryStore, UnifiedSettings, open_store
from ums_core.records.filter import GROUPS
from ums_core.settings.database import url_of
from ums_core.testing.machine import StoreMachine, check_against_dict
from ums_core.testing.store_case import MakeStore
from ums_core.testing.strategies import conditions

DIM = 8
A = ("a",)


class First:
    """Draws what comes first."""

    def draw(self, strategy: st.SearchStrategy[Any]) -> object:
        return find(strategy, lambda _: True)


@pytest.fixture
def make(tmp_path: Path) -> MakeStore:
    def opened(place: str = "memory") -> MemoryStore:
        settings = {"database": {"url": url_of(tmp_path / f"{place}.db")}, "model": {"vector_dim": DIM}}
        return open_store(UnifiedSettings.for_testing(**settings))

    return opened


@pytest.fixture
def machine(make: MakeStore) -> StoreMachine:
    return StoreMachine(make, lambda store: store.close(), "place", DIM)


def test_each_rule_holds_for_a_store_that_keeps_its_word(machine: StoreMachine) -> None:
    machine.add([(A, "1", 1, {"text": "zebra"}), (A, "2", 2, {}), (("a", "b"), "1", 1, {})], keyed=True)
    machine.add([(A, "1", 3, {"text": "quartz", "level": 2})], keyed=False)
    machine.change_fields(A, "1", {"text": "left out", "level": 1})
    machine.change_fields((), "1", {"level": 1})
    machine.change_content(A, "1", 4, "violin")
    machine.change_content((), "1", 4, "violin")
    machine.counts_agree()
    for condition in (None, Filter.where("text", "eq", "violin")):
        machine.search_vector(4, A, condition, 1)
        machine.search_words("violin", A, condition)
        machine.scan(A, condition, 1)
        machine.namespaces((), condition)
    machine.search_own_vector(cast("st.DataObject", First()))
    machine.get([(A, "1"), (A, "3")])
    machine.delete(A, ["2", "3"])
    machine.reopen()
    machine.kill()
    machine.counts_agree()
    assert sorted(machine.memories) == [(A, "1"), (("a", "b"), "1")]
    machine.teardown()


def test_a_store_that_keeps_more_than_it_was_given_is_found_out(machine: StoreMachine) -> None:
    machine.store.add([Draft(text="zebra", namespace=A)])
    with pytest.raises(AssertionError):
        machine.search_words("zebra", A, None)
    with pytest.raises(AssertionError):
        machine.counts_agree()
    machine.teardown()


def test_conditions_are_single_ones_and_groups_of_them() -> None:
    assert find(conditions(), lambda condition: condition.op in GROUPS).parts is not None
    assert find(conditions(), lambda condition: condition.op not in GROUPS).field


def test_every_example_has_a_place_of_its_own(make: MakeStore, tmp_path: Path) -> None:
    check_against_dict(make, None, dim=DIM, examples=3, steps=2)
    places = {path.stem for path in tmp_path.glob("*.db")}
    assert len(places) >= 3
    assert all(place.startswith("example-") for place in places)
