"""Fitting the weights of the signals to labelled conversations."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ums_core.bench import __main__ as cli
from ums_core.bench.locomo_data import load
from ums_core.bench.rankers import UmsRanker
from ums_core.bench.tune import Asked, asked_of, chosen, fit, recalls, weights_of
from ums_core.errors import InvalidInput
from ums_core.ranking.profile import DIALOGUE, Profile
from ums_core.records.query import SIGNALS


def drawn(weights: np.ndarray, count: int) -> list[Asked]:
    """Questions whose gold candidates are drawn with the chances that weights give them."""
    random = np.random.default_rng(5)
    asked = []
    for number in range(count):
        signals = random.standard_normal((12, len(SIGNALS)))
        chance = np.exp(signals @ weights)
        gold = np.zeros(12, np.bool_)
        gold[random.choice(12, p=chance / chance.sum())] = True
        ids = tuple(f"t{n}" for n in range(12))
        asked.append(Asked(number % 3, ids, signals, gold, (ids[int(gold.argmax())],), dict.fromkeys(ids, "s")))
    return asked


def test_the_weights_that_made_the_answers_are_found_again() -> None:
    true = np.zeros(len(SIGNALS))
    true[:5] = [1.2, 0.8, 1.0, 0.0, -1.0]
    asked = drawn(true, 1500)
    found = fit(asked, penalty=0.1)
    assert found[:2].sum() == pytest.approx(1.0)
    np.testing.assert_allclose(found, true / 2.0, atol=0.12)
    better, worse = ([recalls(each, weights)[0] for each in asked] for weights in (found, -found))
    assert np.mean(better) > np.mean(worse)
    assert recalls(asked[0], found)[-2:] == [1.0, 1.0]


def test_few_answers_leave_the_default_weights_where_they_are_and_many_move_them() -> None:
    true = weights_of(DIALOGUE)
    default = true.copy()
    true[SIGNALS.index("named_speaker")] = -1.0
    away = [float(np.abs(fit(drawn(true, count)) - default).max()) for count in (1, 6, 200)]
    assert max(away[:2]) < 0.02
    assert away[2] == pytest.approx(1.45, abs=0.5)


def test_the_penalty_is_strong_where_the_default_weights_tell_the_answers_and_weak_where_they_do_not() -> None:
    like = weights_of(DIALOGUE)
    asked = drawn(like, 60)
    assert chosen(asked) == 1000.0
    assert fit(asked).tolist() == fit(asked, penalty=1000.0).tolist()
    like[SIGNALS.index("named_speaker")] = -1.0
    assert chosen(drawn(like, 60)) <= 30.0


def test_a_question_about_the_wrong_person_is_learned_from_as_any_other() -> None:
    asked = drawn(weights_of(DIALOGUE), 40)
    apart = [replace(each, adversarial=True) for each in asked]
    assert fit(apart, penalty=1.0).tolist() == fit(asked, penalty=1.0).tolist()


@pytest.mark.parametrize("embedder", [None, "none"])
def test_signals_times_the_weights_of_a_query_are_the_scores_of_its_hits(tmp_path: Path, embedder: str | None) -> None:
    path = tmp_path / "data.json"
    path.write_text(json.dumps([conversation("one", ["kayak", "lantern", "violin", "compass", "teapot"])]))
    dataset = load(path)
    weights = dict(zip(SIGNALS, weights_of(DIALOGUE).tolist(), strict=True)) | {"length": -0.2, "session": 0.4}
    ranker = UmsRanker(embedder)
    try:
        for each, question in zip(asked_of(dataset, ranker), dataset.conversations[0].questions, strict=True):
            ranker.prepare(dataset.conversations[0])
            hits = ranker.hits(question.text, weights=weights, kind="dialogue")
            expected = dict(zip(each.ids, each.signals @ np.array(list(weights.values())), strict=True))
            assert {hit.memory.id: hit.score for hit in hits} == pytest.approx(expected, abs=1e-6)
    finally:
        ranker.close()


def test_without_any_answer_there_is_nothing_to_fit() -> None:
    asked = [Asked(0, ("a",), np.zeros((1, len(SIGNALS))), np.array([False]), ("b",), {})]
    with pytest.raises(InvalidInput, match="nothing to fit"):
        fit(asked)
    with pytest.raises(InvalidInput, match="penalty is 0; give one above 0"):
        fit([replace(asked[0], gold=np.array([True]))], penalty=0.0)


def test_a_share_is_never_below_zero_and_labels_that_leave_none_are_suspected() -> None:
    unlike = np.zeros((2, len(SIGNALS)))
    unlike[0, :2] = -1.0, 0.5
    asked = Asked(0, ("a", "b"), unlike, np.array([True, False]), ("a",), {})
    assert fit([asked], penalty=1e-3)[:2].tolist() == [0.0, 1.0]
    unlike[0, 1] = -0.5
    with pytest.raises(InvalidInput, match="are the labels right"):
        fit([asked], penalty=1e-3)


def conversation(name: str, things: list[str]) -> dict[str, Any]:
    turns = [
        {"dia_id": f"D1:{n}", "speaker": ("Ana", "Ben")[n % 2], "text": f"Yesterday I found the {thing} at last."}
        for n, thing in enumerate(things, 1)
    ]
    return {
        "sample_id": name,
        "conversation": {"session_1_date_time": "1:56 pm on 8 May, 2023", "session_1": turns},
        "qa": [
            {"question": f"When was the {thing} found?", "category": 2, "evidence": [f"D1:{n}"]}
            for n, thing in enumerate(things, 1)
        ]
        + [
            {"question": "Who sold the zeppelin?", "category": 5, "evidence": ["D1:1"]},
            {"question": "?!", "category": 1, "evidence": ["D1:1"]},
        ],
    }


def test_the_command_prints_weights_that_a_query_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "data.json"
    things = ["kayak", "lantern", "violin", "compass", "teapot"]
    path.write_text(json.dumps([conversation("one", things), conversation("two", things[::-1])]))
    assert cli.main(["tune", str(path), "--embedder", "none", "--from-scratch", "--without"]) == 0
    out, err = capsys.readouterr()
    weights = json.loads(out)
    assert tuple(weights) == SIGNALS
    Profile(**weights)
    told = [line.split("  ")[0] for line in err.splitlines()]
    assert told[:3] == ["default", "fitted on the others", "fitted on all"]
    assert "without lexical" not in told
    assert err.count("category 5 R@10") == len(told)
    one = conversation("three", things)
    one["qa"] = one["qa"][:3]
    path.write_text(json.dumps([one, one | {"sample_id": "four"}]))
    assert cli.main(["tune", str(path), "--embedder", "hashing:64", "--penalty", "10", "--without"]) == 0
    err = capsys.readouterr().err
    assert "without after_question  R@5" in err
    assert "without dense           R@5" in err
    assert "without user" not in err
    assert "category 5" not in err
    assert cli.main(["tune", str(path), "--embedder", "none", "--penalty", "1"]) == 0
    assert "without" not in capsys.readouterr().err
    path.write_text(json.dumps([conversation("one", things)]))
    assert cli.main(["tune", str(path)]) == 2
    assert "at least two conversations" in capsys.readouterr().err
