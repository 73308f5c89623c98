"""Candidates in a small namespace are those that a look among all rows finds, whatever is kept ready of it."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ums_core import Draft, Filter, LocalStore, Patch, Query, UnifiedSettings, open_store
from ums_core.pipeline.asked import Asked
from ums_core.pipeline.candidates import Candidates, Gathering
from ums_core.pipeline.circle import Circle, Circles
from ums_core.pipeline.surroundings import Surroundings
from ums_core.ports.index import RowSet
from ums_core.ranking.lexical import WordRows
from ums_core.ranking.profile import PROFILES
from ums_core.ranking.question import NO_QUESTION

pytestmark = pytest.mark.property

WORDS = ["boat", "key", "rain", "hill", "bread", "train", "lake", "tent", "goat", "oven"]
PLACES = (("users", "ana"), ("users", "ana", "work"), ("users", "bo"))
DIM = 16


def drafts(rng: np.random.Generator, ids: list[int]) -> list[Draft]:
    """Turns out of order and notes, some of them without a vector."""
    made = []
    for number in ids:
        text = " ".join(rng.choice(WORDS, int(rng.integers(1, 5)))) + "?" * int(rng.integers(2))
        vector = rng.standard_normal(DIM)
        made.append(
            Draft(
                id=f"m{number}",
                text=text,
                embedding=None if rng.random() < 0.2 else vector / np.linalg.norm(vector),
                namespace=PLACES[number % 3],
                session=None if rng.random() < 0.2 else f"s{number // 30}",
                position=int(rng.integers(60)) if rng.random() < 0.5 else None,
                role=(None, "user", "assistant")[int(rng.integers(3))],
                speaker=("Ana", "Bo")[number % 2],
            )
        )
    return made


def asked(store: LocalStore, around: Surroundings, query: Query, vector: np.ndarray) -> Asked:
    database = store._database
    head = database.head()
    around.refresh(head)
    held = store._indexes.current("text", head.seq)
    assert isinstance(query.filter, Filter | None)
    # None of the first ones may have a vector.
    compared = query.kind != "notes" and held is not None
    allowed = database.allowed(query.namespace, query.filter, head)
    return Asked(
        query,
        query.filter,
        vector if compared else None,
        held[1] if held is not None and compared else None,
        allowed,
        None if allowed is None else around.living(allowed),
        {0} if query.k % 2 else set(),
        PROFILES,
        NO_QUESTION,
        None,
        head,
    )


def same(first: Candidates | None, second: Candidates | None) -> None:
    if first is None or second is None:
        assert first is second
        return
    for entry in fields(Candidates):
        if entry.name not in ("turns", "matching"):
            np.testing.assert_array_equal(getattr(first, entry.name), getattr(second, entry.name), entry.name)
    for entry in fields(first.turns):
        np.testing.assert_array_equal(getattr(first.turns, entry.name), getattr(second.turns, entry.name), entry.name)
    np.testing.assert_array_equal(first.matching.best(300), second.matching.best(300))


queries = st.fixed_dictionaries(
    {
        "text": st.lists(st.sampled_from([*WORDS, "walrus"]), min_size=1, max_size=4).map(" ".join) | st.just("walrus"),
        "namespace": st.sampled_from([*PLACES, ("users",), ("nobody",)]),
        "k": st.integers(1, 4),
        "kind": st.sampled_from([None, "notes", "assistant"]),
        "filter": st.sampled_from([None, Filter.where("speaker", "eq", "Bo"), Filter.where("accesses", "lt", 9)]),
    }
)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32), st.integers(3, 240), st.lists(queries, min_size=3, max_size=8))
def test_the_rows_of_a_small_namespace_are_ranked_as_all_others(
    seed: int, count: int, wanted: list[dict[str, Any]]
) -> None:
    rank_both_ways(seed, count, wanted)


def test_a_filter_keeps_neighbours_out_wherever_they_are_looked_for() -> None:
    wanted = [
        {"text": text, "namespace": PLACES[number], "filter": condition}
        for number, text in enumerate(("boat key", "rain", "walrus"))
        for condition in (None, Filter.where("speaker", "eq", "Bo"))
    ]
    rank_both_ways(7, 90, [*wanted, {"text": "boat", "kind": "notes"}, {"text": "walrus", "kind": "notes", "k": 2}])


def rank_both_ways(seed: int, count: int, wanted: list[dict[str, Any]]) -> None:
    """What is told by places, and what by a look among all rows, before and after each kind of change."""
    rng = np.random.default_rng(seed)
    with open_store(UnifiedSettings.for_testing(model={"embedder": "none", "vector_dim": DIM})) as store:
        around = Surroundings(store._database)
        near, far = Gathering(around), Gathering(around, few=0)
        store.add(drafts(rng, list(range(count))))
        for step in range(4):
            for fields_ in wanted:
                vector = rng.standard_normal(DIM).astype(np.float32)
                question = asked(store, around, Query(**fields_), vector / np.linalg.norm(vector))
                for _ in range(2):
                    same(near.candidates(question), far.candidates(question))
            some = rng.integers(count, size=3).tolist()
            if step == 0:
                store.add(drafts(rng, [*range(count, count + 5), *some]))
            elif step == 1:
                for number in some:
                    store.delete([f"m{number}"], namespace=PLACES[number % 3])
            else:
                patches = [Patch(id=f"m{n}", namespace=PLACES[n % 3], changes={"position": 7}) for n in some]
                living = [patch for patch in patches if store.get([patch.id], namespace=patch.namespace) != [None]]
                store.update(list({patch.id: patch for patch in living}.values()))


@pytest.fixture(scope="module")
def around() -> Surroundings:
    store = open_store(UnifiedSettings.for_testing(model={"embedder": "none"}))
    store.add([Draft(id=f"m{n}", text=f"tea w{n}", session="s", position=n, namespace=("one",)) for n in range(9)])
    surroundings = Surroundings(store._database)
    surroundings.refresh(store._database.head())
    return surroundings


def test_words_of_rows_that_came_or_went_meanwhile_do_not_count(around: Surroundings) -> None:
    circle = around.circle(RowSet(np.array([2, 3, 5])))
    inside = [WordRows(np.array([3]), 1), WordRows(np.array([2, 5]), 2)]
    late = [WordRows(np.array([1, 3]), 2), WordRows(np.array([2, 4, 5, 99]), 4)]
    assert circle.matches(late).tolist() == circle.matches(inside).tolist()
    assert circle.matches([]).tolist() == [0.0, 0.0, 0.0]


def test_a_circle_is_kept_until_a_turn_of_any_conversation_goes_and_never_with_an_unknown_row(
    around: Surroundings,
) -> None:
    known, unknown = RowSet(np.array([1, 2])), RowSet(np.array([1, 99]))
    circle = around.circle(known)
    assert around.circle(known) is circle
    assert around.circle(known, "notes") is not circle
    assert around.circle(unknown) is not around.circle(unknown)
    store: Any = around.ledger
    store.write(lambda tx: tx.delete(["m8"], ("one",)))
    around.refresh(store.head())
    assert around.circle(known) is not circle


def test_circles_are_bounded_and_go_with_their_sets(around: Surroundings) -> None:
    circles = Circles()
    sets = [RowSet(np.arange(1, 9)) for _ in range(10_000)]
    circle = around.circle(sets[0])
    for each in sets:
        circles.keep(each, None, circle)
        assert circles.get(each, None) is circle
    kept = [each for each in sets if circles.get(each, None) is not None]
    assert 0 < len(kept) < len(sets)
    assert kept[-1] is sets[-1]
    del kept, sets, each
    assert not circles._kept


def test_neighbours_are_candidates_whatever_they_are_said_to_be(around: Surroundings) -> None:
    circle: Circle = around.circle(RowSet(np.array([1, 2, 3, 5])), "notes")
    core, places = circle.with_neighbours([np.array([0]), np.array([3])])
    assert (core.tolist(), places.tolist()) == ([0, 3], [0, 1, 3])
    assert (circle.turns(places, ()).beside == -1).all()
    assert replace(circle, talk=around.talk(circle.rids)).turns(places, ()).beside[:2].tolist() == [
        [-1, 0, -1],
        [1, -1, -1],
    ]
