"""What the place of a turn adds to its score, and how places are kept."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ums_core import Draft, Patch, Query, UnifiedSettings, open_store
from ums_core.pipeline.surroundings import Surroundings
from ums_core.ranking.conversation import NOTE, PEER, REPLY, USER, Turns
from ums_core.ranking.fuse import total
from ums_core.ranking.profile import DIALOGUE, PROFILES, weights_of
from ums_core.ranking.question import Question
from ums_core.ranking.words import ASKS, ENDS_ASKING, FIRST_PERSON, NAMES_TIME, cues

pytestmark = pytest.mark.property

N = 8


@st.composite
def dialogues(draw: st.DrawFn) -> Turns:
    links = np.arange(N)
    cut = draw(arrays(np.bool_, N))
    before = np.where(cut, -1, links - 1)
    after = np.where(np.append(cut[1:], True), -1, links + 1)
    return Turns(
        kind=draw(arrays(np.int8, N, elements=st.integers(0, 3))),
        before=before,
        after=after,
        session=draw(arrays(np.int32, N, elements=st.integers(-1, 2))),
        cues=draw(arrays(np.int8, N, elements=st.integers(0, 15))),
        moment=draw(arrays(np.int64, N, elements=st.integers(-1, 2**50))),
        log_words=draw(arrays(np.float64, N, elements=st.floats(0, 4))),
        named=draw(arrays(np.bool_, N)),
    )


def placed(base: np.ndarray, turns: Turns, asked: str = "") -> np.ndarray:
    return base + total(Question.of(asked).parts(base, turns, weights_of(turns.kind, PROFILES)))


scores = arrays(np.float64, N, elements=st.floats(-5, 5))


questions = st.sampled_from(["", "When did you go?", "the boat in May 2001"])


@given(scores, dialogues(), st.integers(0, N - 1), questions)
def test_a_higher_score_never_lowers_any_turn(base: np.ndarray, turns: Turns, place: int, asked: str) -> None:
    raised = base.copy()
    raised[place] += 1.0
    before = placed(base, turns, asked)
    after = placed(raised, turns, asked)
    assert (after >= before - 1e-9).all()
    assert after[place] >= before[place] + 1.0 - 1e-9


@given(scores, dialogues())
def test_notes_and_replies_keep_their_scores(base: np.ndarray, turns: Turns) -> None:
    after = placed(base, turns)
    kept = (turns.kind == NOTE) | (turns.kind == REPLY)
    np.testing.assert_array_equal(after[kept], base[kept])


def test_an_answer_takes_over_more_of_a_question_and_a_user_of_the_reply() -> None:
    turns = Turns(
        kind=np.array([PEER, PEER, USER, REPLY], np.int8),
        before=np.array([-1, 0, -1, 2]),
        after=np.array([1, -1, 3, -1]),
        session=np.array([0, 0, 1, 1], np.int32),
        cues=np.array([ASKS | ENDS_ASKING, FIRST_PERSON | NAMES_TIME, 0, 0], np.int8),
        log_words=np.zeros(4),
        named=np.array([False, True, False, False]),
        moment=np.array([-1, -1, -1, -1]),
    )
    base = np.array([2.0, 0.0, 0.0, 1.0])
    d = DIALOGUE
    said = d.after_question * 2.0 + d.session * 2.0 + d.answer + d.named_speaker + d.first_person
    np.testing.assert_allclose(placed(base, turns), [2.0 + d.session * 2.0 + d.question, said, 0.3 + 1.0, 1.0])
    np.testing.assert_allclose(placed(base, turns, "What did you say?")[2], 0.0)
    np.testing.assert_allclose(placed(base, turns, "When was it?")[1], said + d.time)


def test_cues_are_what_a_text_does_with_words() -> None:
    assert cues("Really? Last week I sailed.") == ASKS | FIRST_PERSON | NAMES_TIME
    assert cues("It was 1999, was it?") == ASKS | ENDS_ASKING | NAMES_TIME
    assert cues("You may march.") == 0


steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from("ab"), st.one_of(st.none(), st.integers(0, 9)), st.integers(0, 14)),
        st.tuples(st.just("move"), st.sampled_from("ab"), st.integers(0, 9), st.integers(0, 14)),
        st.tuples(st.just("delete"), st.just(""), st.just(0), st.integers(0, 14)),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(steps)
# Without a position a turn follows the one before it, wherever that is moved.
@example([("add", "b", 1, 0), ("add", "b", None, 1), ("add", "b", 2, 2), ("move", "b", 0, 0)])
def test_what_was_kept_up_step_by_step_is_what_one_look_would_see(
    taken: list[tuple[str, str, int | None, int]],
) -> None:
    with open_store(UnifiedSettings.for_testing(model={"embedder": "none"})) as store:
        kept = Surroundings(store._database)
        for verb, session, position, name in taken:
            if verb == "add":
                store.add([Draft(id=f"m{name}", text="x", session=session, position=position, speaker="Ana")])
            elif verb == "move" and store.get([f"m{name}"])[0] is not None:
                store.update([Patch(id=f"m{name}", changes={"session": session, "position": position})])
            elif verb == "delete":
                store.delete([f"m{name}"])
            kept.refresh(store._database.head())
        fresh = Surroundings(store._database)
        fresh.refresh(store._database.head())
        rids = np.array(store._database.head().hi + 1 - np.arange(store._database.head().hi, 0, -1))
        living = np.array(sorted(store._database.rows(rids.tolist())), np.int64)
        for rid in living:
            np.testing.assert_array_equal(kept.neighbours(np.array([rid])), fresh.neighbours(np.array([rid])))


def test_a_turn_is_found_by_the_question_that_it_answers() -> None:
    with open_store(UnifiedSettings.for_testing()) as store:
        talk = [
            ("Ana", "Where did you leave the spare key of the boat?"),
            ("Bo", "Under the blue bucket."),
            ("Ana", "Nice weather today."),
            ("Bo", "Quite so."),
        ]
        store.add([Draft(text=t, speaker=s, session="one", position=n) for n, (s, t) in enumerate(talk)])
        best = store.search(Query(text="What did Bo say about the spare key of the boat?", k=2))
        assert "Under the blue bucket." in [hit.memory.text for hit in best]
        condition = {"speaker": "Bo"}
        found = store.search(Query(text="the spare key of the boat", filter=condition))
        assert {hit.memory.speaker for hit in found} == {"Bo"}


def test_names_of_another_namespace_are_words_like_any_other(tmp_path: Path) -> None:
    settings_ = UnifiedSettings(database={"url": f"sqlite:///{tmp_path}/m.db"}, model={"embedder": "hashing"})
    with open_store(settings_) as store:
        store.add([Draft(text="we met", speaker="May", session="s", position=1, namespace=("one",))])
        store.add([Draft(text="a warm may day", speaker="Ana Lu", session="s", position=1, namespace=("two",))])
        around = Surroundings(store._database)
        around.refresh(store._database.head())
        database = store._database
        assert around.names_in("in May?", database.scopes(("two",), database.head())) == ("in May?", set())
        text, speakers = around.names_in("What is May's plan (ask Ana)?", database.scopes((), database.head()))
        assert text == "What is plan (ask"
        assert len(speakers) == 2
        assert around.names_in("Ana?", None)[0] == "Ana?"
        store.add([Draft(text="x", namespace=("many", str(n))) for n in range(70)])
        assert database.scopes(("many",), database.head()) == []
        assert around.neighbours(np.array([999])).tolist() == []
        assert around.turns(np.array([999]), []) is None


def test_a_search_for_more_begins_with_the_hits_of_a_search_for_fewer() -> None:
    with open_store(UnifiedSettings.for_testing()) as store:
        words = ["boat", "key", "hill", "rain", "bread", "train"]
        store.add(
            [
                Draft(
                    text=f"{words[n % 6]} and {words[n % 5]} {n}",
                    speaker="AB"[n % 2],
                    session=f"s{n // 40}",
                    position=n,
                )
                for n in range(400)
            ]
        )
        ids = {
            k: [h.memory.id for h in store.search(Query(text="the boat in the rain", k=k))] for k in (5, 60, 300, 500)
        }
        scores = [hit.score for hit in store.search(Query(text="the boat in the rain", k=400))]
    assert ids[5] == ids[60][:5]
    assert ids[60] == ids[300][:60]
    assert len(set(ids[500])) == 400
    assert ids[300] == ids[500][:300]
    assert scores == sorted(scores, reverse=True)
