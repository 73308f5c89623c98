"""Fitting the weights of the signals to labelled conversations."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ums_core.bench import __main__ as cli
from ums_core.bench.tune import Asked, fit, recalls
from ums_core.errors import InvalidInput
from ums_core.ranking.profile import Profile
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


def test_without_any_answer_there_is_nothing_to_fit() -> None:
    asked = [Asked(0, ("a",), np.zeros((1, len(SIGNALS))), np.array([False]), ("b",), {})]
    with pytest.raises(InvalidInput, match="nothing to fit"):
        fit(asked)


def test_weights_that_make_shares_of_nothing_stay_as_they_are() -> None:
    signals = np.zeros((2, len(SIGNALS)))
    signals[0, 0] = -1.0
    found = fit([Asked(0, ("a", "b"), signals, np.array([True, False]), ("a",), {})])
    assert found[0] < 0


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
    assert cli.main(["tune", str(path), "--embedder", "none", "--penalty", "1"]) == 0
    out, err = capsys.readouterr()
    weights = json.loads(out)
    assert tuple(weights) == SIGNALS
    Profile(**weights)
    assert [line.split("  ")[0] for line in err.splitlines()] == ["default", "fitted on the others", "fitted on all"]
    assert err.count("category 5 R@10") == 3
    one = conversation("three", things)
    one["qa"] = one["qa"][:3]
    path.write_text(json.dumps([one, one | {"sample_id": "four"}]))
    assert cli.main(["tune", str(path), "--embedder", "none", "--without"]) == 0
    err = capsys.readouterr().err
    assert "without after_question  R@5" in err
    assert "without user" not in err
    assert "category 5" not in err
    path.write_text(json.dumps([conversation("one", things)]))
    assert cli.main(["tune", str(path)]) == 2
    assert "at least two conversations" in capsys.readouterr().err
