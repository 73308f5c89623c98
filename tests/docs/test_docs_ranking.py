"""The page on ranking says what each weight is worth."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from ums_core.ranking.profile import PROFILES, Profile

PAGE = (Path(__file__).parents[2] / "docs" / "explanation" / "ranking.md").read_text("utf-8")
KINDS = (PROFILES.dialogue, PROFILES.assistant, PROFILES.notes)


@pytest.mark.parametrize("name", [f.name for f in fields(Profile) if any(getattr(p, f.name) for p in KINDS)])
def test_what_is_found_without_a_weight_is_told(name: str) -> None:
    assert re.search(rf"^\| without `{name}`.* \| .*\d", PAGE, re.MULTILINE)


def test_the_weights_that_ship_stand_beside_those_that_were_fitted() -> None:
    told = {name: float(value) for name, value in re.findall(r"^\| `(\w+)` \| (-?[\d.]+) \|", PAGE, re.MULTILINE)}
    default = PROFILES.dialogue
    assert told == {f.name: getattr(default, f.name) for f in fields(default) if getattr(default, f.name)}
