"""What an answer may carry: turns around, sessions together, a budget, and why."""

from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pytest

from ums_core import Draft, LocalStore, Query, UnifiedSettings, open_store
from ums_core.encoders.hashing import HashingEmbedder

LONG_PAST = datetime(2001, 1, 1, tzinfo=UTC)

TALK = [
    ("Ana", "Where did you leave the spare key of the boat?"),
    ("Bo", "Under the blue bucket."),
    ("Ana", "Nice weather today."),
    ("Bo", "Quite so, the harbour is calm."),
    ("Ana", "Then let us sail."),
]


@pytest.fixture
def store() -> Iterator[LocalStore]:
    with open_store(UnifiedSettings.for_testing()) as opened:
        opened.add(
            [Draft(id=f"t{n}", text=t, speaker=s, session="one", position=n) for n, (s, t) in enumerate(TALK)]
            + [Draft(id="note", text="the boat key is a spare")]
            + [Draft(id=f"u{n}", text=f"spare time {n}", session="two", position=n, role="user") for n in (3, 2)]
        )
        yield opened


def ids(memories: object) -> list[str]:
    return [memory.id for memory in memories]  # type: ignore[attr-defined]  # memories, of any kind of sequence


@pytest.mark.parametrize("mode", ["hybrid", "vector", "keyword"])
def test_a_hit_comes_with_the_turns_around_it(store: LocalStore, mode: str) -> None:
    query = Query(text="Nice weather today", mode=mode, k=1, context=2)  # type: ignore[arg-type]  # one of the modes
    (hit,) = store.search(query)
    assert (ids(hit.before), hit.memory.id, ids(hit.after)) == (["t0", "t1"], "t2", ["t3", "t4"])
    (edge,) = store.search(Query(text="where did you leave the spare key of the boat", mode="keyword", k=1, context=1))
    assert edge.memory.id == "t0"
    assert (ids(edge.before), ids(edge.after)) == ([], ["t1"])


def test_what_is_stored_and_what_is_found_has_every_field(store: LocalStore) -> None:
    (stored,) = store.add([Draft(text="a kettle of tea")])
    hit = store.search(Query(text="a kettle of tea", k=1))[0]
    assert hit.memory == stored
    for record in (stored, hit.memory, hit):
        assert list(vars(record)) == [field.name for field in fields(record)]


def test_turns_around_meet_the_filter_and_have_not_expired(store: LocalStore) -> None:
    store.add([Draft(id="t3", text="gone", speaker="Bo", session="one", position=3, expires_at=LONG_PAST)])
    (hit,) = store.search(Query(text="Nice weather today", k=1, context=2))
    assert ids(hit.after) == ["t4"]
    (hit,) = store.search(Query(text="Nice weather today", k=1, context=2, filter={"speaker": "Ana"}))
    assert (ids(hit.before), ids(hit.after)) == (["t0"], ["t4"])
    (note,) = store.search(Query(text="key", k=1, context=2, filter={"id": "note"}))
    assert (note.before, note.after) == ((), ())


def test_hits_of_one_session_stand_together_as_they_were_said(store: LocalStore) -> None:
    asked = Query(text="spare key boat harbour bucket time", k=20, mode="keyword")
    plain = store.search(asked)
    grouped = store.search(Query(text="spare key boat harbour bucket time", k=20, mode="keyword", group="session"))
    assert sorted(ids(h.memory for h in grouped)) == sorted(ids(h.memory for h in plain))
    sessions = [hit.memory.session for hit in grouped]
    assert sessions == sorted(sessions, key=[h.memory.session for h in plain].index)
    assert [h.memory.id for h in grouped if h.memory.session == "one"] == ["t0", "t1", "t3"]
    assert [h.memory.id for h in grouped if h.memory.session == "two"] == ["u2", "u3"]


def test_a_budget_takes_the_best_that_fit(store: LocalStore) -> None:
    words = "leave the spare key of the boat"
    whole = store.search(Query(text=words, mode="keyword"))
    assert [hit.memory.id for hit in whole][:2] == ["t0", "note"]
    # The first takes eleven tokens.
    few = store.search(Query(text=words, mode="keyword", max_tokens=7))
    assert [hit.memory.id for hit in few] == ["note"]
    assert store.search(Query(text=words, mode="keyword", max_tokens=1)) == []
    (hit,) = store.search(Query(text="nice weather", k=1, max_tokens=9, context=1))
    assert (hit.before, hit.after) == ((), ())
    (hit,) = store.search(Query(text="nice weather", k=1, max_tokens=50, context=1))
    assert len(hit.before) == len(hit.after) == 1


def test_a_turn_that_two_hits_share_is_paid_once(store: LocalStore) -> None:
    asked = {"text": "nice weather harbour calm bucket", "mode": "keyword", "k": 3, "context": 1}
    every = store.search(Query(**asked, max_tokens=1000))  # type: ignore[arg-type]  # the options above
    exact = 0
    from ums_core.ranking.pack import estimate_tokens  # noqa: PLC0415  # what the budget counts with

    texts = {m.id: m.text for hit in every for m in (*hit.before, hit.memory, *hit.after)}
    exact = sum(map(estimate_tokens, texts.values()))
    packed = store.search(Query(**asked, max_tokens=exact))  # type: ignore[arg-type]  # as above
    assert packed == every


@pytest.mark.parametrize("mode", ["hybrid", "vector", "keyword"])
def test_repetitions_make_room_for_what_is_new(mode: str) -> None:
    with open_store(UnifiedSettings.for_testing()) as store:
        store.add([Draft(id=f"same{n}", text="the red boat sails to the island") for n in range(5)])
        store.add([Draft(id="new", text="a boat needs paint in spring")])
        asked = {"text": "the boat sails to the island", "mode": mode, "k": 2}
        plain = store.search(Query(**asked))  # type: ignore[arg-type]  # the options above
        diverse = store.search(Query(**asked, diversity=0.6))  # type: ignore[arg-type]  # as above
        assert [hit.memory.id for hit in plain] == ["same0", "same1"]
        assert [hit.memory.id for hit in diverse] == ["same0", "new"]


def test_diversity_without_any_vector_goes_by_words() -> None:
    with open_store(UnifiedSettings.for_testing(model={"embedder": "none"})) as store:
        store.add([Draft(id=f"same{n}", text="the red boat sails to the island") for n in range(5)])
        store.add([Draft(id="new", text="a boat needs paint in spring")])
        hits = store.search(Query(text="the boat sails", k=2, diversity=0.6))
        assert [hit.memory.id for hit in hits] == ["same0", "new"]


def test_memories_without_the_vectors_asked_for_are_unlike_any_other() -> None:
    settings = UnifiedSettings.for_testing(model={"modalities": ["text", "image"], "vector_dims": {"image": 2}})
    with open_store(settings) as store:
        store.add([Draft(id=f"w{n}", text="boat", modality="image", embedding=[1.0, 0.0]) for n in range(2)])
        store.add([Draft(id="text", text="the boat sails")])
        hits = store.search(Query(text="boat", k=3, diversity=0.5))
        assert sorted(hit.memory.id for hit in hits) == ["text", "w0", "w1"]


def test_a_hit_says_what_brought_it_there(store: LocalStore) -> None:
    best = {h.memory.id: h for h in store.search(Query(text="What did Bo say about the spare key?", explain=True))}
    assert best["t1"].kind == "dialogue"
    assert best["note"].kind == "notes"
    assert best["u2"].kind == "assistant"
    signals = best["t1"].signals or {}
    assert {"dense", "lexical", "after_question", "named_speaker"} <= signals.keys()
    assert signals["after_question"] > 0
    assert "question" not in signals
    assert set(best["note"].signals or {}) <= {"dense", "lexical"}
    (near,) = store.search(Query(text="nice weather", mode="vector", k=1, explain=True))
    assert near.signals == {"dense": near.similarity}
    assert near.kind is None


def test_a_declared_kind_stands_above_the_roles(store: LocalStore) -> None:
    def kinds(declared: str | None) -> dict[str, str | None]:
        hits = store.search(Query(text="spare", k=10, explain=True, kind=declared))  # type: ignore[arg-type]  # a kind
        return {hit.memory.id: hit.kind for hit in hits}

    assert {kinds("notes")[name] for name in ("t0", "note", "u2")} <= {None, "notes"}
    assert (kinds("dialogue")["t0"], kinds("dialogue")["u2"], kinds("dialogue")["note"]) == (
        "dialogue",
        "dialogue",
        "notes",
    )
    assert (kinds("assistant")["t0"], kinds("assistant")["u2"]) == ("notes", "assistant")


def test_what_was_written_meanwhile_is_in_no_context_yet(store: LocalStore) -> None:
    around = store._retrieve._surroundings
    around.refresh(store._database.head())
    assert around.around(10**6, 3) == ([], [])


def test_pages_go_on_while_something_expires(store: LocalStore) -> None:
    soon = datetime.now(UTC) - timedelta(seconds=1)
    store.add([Draft(id=f"gone{n}", text="spare boat", expires_at=soon) for n in range(3)])
    first = store.search(Query(text="spare boat", mode="keyword", k=2))
    second = store.search(Query(text="spare boat", mode="keyword", k=2, offset=2))
    assert [h.memory.id for h in (*first, *second)] == [
        h.memory.id for h in store.search(Query(text="spare boat", mode="keyword", k=4))
    ]


class _Interrupted(HashingEmbedder):
    """Embeds a question after something else has happened."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.meanwhile: list[Callable[[], object]] = []

    def embed_query(self, text: str) -> npt.NDArray[np.float32]:
        while self.meanwhile:
            self.meanwhile.pop()()
        return super().embed_query(text)


def test_a_memory_that_came_while_the_question_was_embedded_is_found() -> None:
    embedder = _Interrupted(16)
    with open_store(UnifiedSettings.for_testing(), embedder=embedder) as store:
        store.add([Draft(id="old", text="a crane by the river")])
        store.delete(["old"])
        embedder.meanwhile.append(lambda: store.add([Draft(id="new", text="a heron by the lake")]))
        assert [hit.memory.id for hit in store.search(Query(text="where is the heron?"))] == ["new"]
