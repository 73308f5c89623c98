"""What the place of a turn adds to its score, and how places are kept."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ums_core import Draft, Patch, Query, UnifiedSettings, open_store
from ums_core.pipeline.surroundings import Surroundings
from ums_core.ranking.conversation import KIND_SHIFT, NOTE, PEER, REPLY, USER, Turns, kinds_of, traits_among, two_beside
from ums_core.ranking.profile import DIALOGUE, PROFILES, Profile
from ums_core.ranking.question import Question
from ums_core.ranking.signals import scored
from ums_core.ranking.words import ASKS, ENDS_ASKING, FIRST_PERSON, NAMES_TIME, cues
from ums_core.records.query import SIGNALS

pytestmark = pytest.mark.property

N = 8


# Two notes behind the turns give mean 0 and deviation 1: the score of a turn, before its place, is what was given.
ANCHORS = [-1.0, 1.0]
CORE = np.array([N, N + 1])


def turns_of(  # noqa: PLR0913  # the columns of a few turns
    kind: npt.ArrayLike,
    before: npt.ArrayLike,
    after: npt.ArrayLike,
    session: npt.ArrayLike,
    cues: npt.ArrayLike,
    *,
    telling: npt.ArrayLike = 0,
    named: npt.ArrayLike | None = None,
    moment: npt.ArrayLike = -1,
) -> Turns:
    """Some turns and, behind them, the two notes."""

    def column(values: npt.ArrayLike, last: int, of: type) -> np.ndarray:
        return np.concatenate([np.asarray(values), np.full(len(ANCHORS), last)]).astype(of)

    beside = two_beside(np.stack([np.append(column(side, -1, np.intp), -1) for side in (before, after)]))
    own = column(cues, 0, np.uint8) | column(kind, NOTE, np.uint8) << KIND_SHIFT
    count = len(own) - len(ANCHORS)
    return Turns(
        traits=traits_among(own, beside, None if named is None else column(named, 0, np.bool_)),
        beside=beside,
        session=column(session, -1, np.int32),
        telling=column(np.broadcast_to(telling, count), 0, np.int32),
        moment=column(np.broadcast_to(moment, count), -1, np.int64),
    )


@st.composite
def dialogues(draw: st.DrawFn) -> Turns:
    links = np.arange(N)
    cut = draw(arrays(np.bool_, N))
    return turns_of(
        draw(arrays(np.int8, N, elements=st.integers(0, 3))),
        np.where(cut, -1, links - 1),
        np.where(np.append(cut[1:], True), -1, links + 1),
        draw(arrays(np.int32, N, elements=st.integers(-1, 2))),
        draw(arrays(np.int8, N, elements=st.integers(0, 15))),
        moment=draw(arrays(np.int64, N, elements=st.integers(-1, 2**50))),
        telling=draw(arrays(np.int32, N, elements=st.integers(0, 60))),
        named=draw(st.none() | arrays(np.bool_, N)),
    )


def placed(base: np.ndarray, turns: Turns, asked: str = "") -> np.ndarray:
    """The scores of turns that matched so well by words."""
    core = np.arange(len(base), len(base) + len(ANCHORS))
    found = scored(np.append(base, ANCHORS), None, core, turns, (Question.of(asked), PROFILES))
    np.testing.assert_allclose(found.scores, sum(found.parts().values()), atol=1e-9)
    return found.scores[: len(base)]


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


@given(scores, dialogues(), st.integers(1, 2**20))
def test_the_best_of_a_session_is_the_same_whatever_number_it_has(base: np.ndarray, turns: Turns, times: int) -> None:
    session = np.where(turns.session < 0, -1, turns.session * times).astype(np.int32)
    np.testing.assert_array_equal(placed(base, replace(turns, session=session)), placed(base, turns))


def test_numbers_of_sessions_may_lie_far_apart() -> None:
    session = np.where(np.arange(N) % 3, np.arange(N) % 2, -1).astype(np.int32)
    near = turns_of(np.full(N, PEER), np.full(N, -1), np.full(N, -1), session, np.zeros(N, np.int8))
    far = replace(near, session=np.where(near.session < 0, -1, near.session * 2**20).astype(np.int32))
    base = np.linspace(-1.0, 1.0, N)
    np.testing.assert_array_equal(placed(base, far), placed(base, near))


@given(scores, dialogues())
def test_notes_and_replies_keep_their_scores(base: np.ndarray, turns: Turns) -> None:
    after = placed(base, turns)
    kinds = kinds_of(turns.traits)[:N]
    kept = (kinds == NOTE) | (kinds == REPLY)
    np.testing.assert_allclose(after[kept], base[kept], atol=1e-9)


@given(scores, scores, dialogues(), st.floats(0.1, 100), st.floats(-100, 100))
def test_shifting_and_scaling_a_share_changes_nothing(
    matches: np.ndarray, cosines: np.ndarray, turns: Turns, scale: float, shift: float
) -> None:
    matches, cosines = np.append(matches, ANCHORS), np.append(cosines, ANCHORS)
    asked = (Question.of("When was it?"), PROFILES)
    before = scored(matches, cosines, CORE, turns, asked).scores
    np.testing.assert_allclose(scored(matches * scale + shift, cosines, CORE, turns, asked).scores, before, atol=1e-6)
    np.testing.assert_allclose(scored(matches, cosines * scale + shift, CORE, turns, asked).scores, before, atol=1e-6)


def test_an_answer_takes_over_more_of_a_question_and_a_user_of_the_reply() -> None:
    turns = turns_of(
        [PEER, PEER, USER, REPLY],
        [-1, 0, -1, 2],
        [1, -1, 3, -1],
        [0, 0, 1, 1],
        [ASKS | ENDS_ASKING, FIRST_PERSON | NAMES_TIME, 0, 0],
        named=[False, True, False, False],
    )
    base = np.array([2.0, 0.0, 0.0, 1.0])
    d = DIALOGUE
    said = d.after_question * 2.0 + d.session * 2.0 + d.answer + d.named_speaker + d.first_person
    np.testing.assert_allclose(placed(base, turns), [2.0 + d.session * 2.0 + d.question, said, 0.3 + 1.0, 1.0])
    np.testing.assert_allclose(placed(base, turns, "What did you say?")[2:], [0.0, 1.0 + 1.0], atol=1e-12)
    np.testing.assert_allclose(placed(base, turns, "When was it?")[1], said + d.time)
    asked = placed(np.array([0.0, 0.0, 2.0, 0.0]), turns, "What did you say?")
    np.testing.assert_allclose(asked[2:], [2.0, 1.0 + 0.3 * 2.0], atol=1e-12)


def test_what_is_pasted_gains_no_more_by_its_length_than_a_long_turn() -> None:
    turns = turns_of([PEER] * 3, [-1] * 3, [-1] * 3, [-1] * 3, [0] * 3, telling=[8, 40, 4000])
    short, long, pasted = placed(np.zeros(3), turns)
    assert short < long == pasted


def test_every_weight_of_a_profile_is_that_of_one_signal() -> None:
    turns = turns_of([USER], [-1], [-1], [0], [0])
    asked = (Question.of("when did it go on, in May 2001?"), PROFILES)
    found = scored(np.append([0.0], ANCHORS), np.append([0.0], ANCHORS), np.array([1, 2]), turns, asked)
    assert set(found.parts()) == set(SIGNALS) == {entry.name for entry in fields(Profile)}


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
            one = np.array([rid])
            np.testing.assert_array_equal(kept.with_neighbours(one), fresh.with_neighbours(one))


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
        assert around.with_neighbours(np.array([1, 999])).tolist() == [1, 999]
        unknown = around.talk(np.array([1, 999])).turns()
        assert kinds_of(unknown.traits).tolist() == [PEER, NOTE]
        assert unknown.telling.tolist() == [1, 1]


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
