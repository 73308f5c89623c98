"""The default ranking on what it was not fitted to: chats with an assistant, and notes."""

import json

import pytest

from ums_core.bench import __main__ as cli
from ums_core.bench.kinds import rows
from ums_core.bench.kinds_data import DIARY, REPLIES, TOLD_DIARY, USERS
from ums_core.ranking.words import asks_reply

pytestmark = pytest.mark.bench


@pytest.mark.no_cover
def test_the_default_ranking_does_no_harm_to_chats_and_notes() -> None:
    found = {(row.name, row.group): row.means for row in rows("none", seeds=1, chats=18)}
    ours, alone = "ums", "z-scores"
    for measure in ("R@5", "MRR"):
        assert found[ours, USERS][measure] >= found[alone, USERS][measure]
        assert found[ours, REPLIES][measure] > found[alone, REPLIES][measure]
        assert found[ours, USERS][measure] > found["ums as a dialogue", USERS][measure]
        assert found["ums without user", USERS][measure] <= found[ours, USERS][measure]
    assert found[ours, "notes"] == found[alone, "notes"] == found["ums as a dialogue", "notes"]
    assert found[ours, "notes"]["R@5"] > 0.6
    for group in (DIARY, TOLD_DIARY):
        assert found[ours, group]["R@5"] > found["ums without date", group]["R@5"]


def test_the_command_prints_a_table_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["kinds", "--seeds", "1", "--chats", "3"]
    assert cli.main([*arguments, "--embedder", "hashing:64"]) == 0
    assert "what the assistant said" in capsys.readouterr().out
    assert cli.main([*arguments, "--embedder", "none", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {row["group"] for row in report["rows"]} == {USERS, REPLIES, "notes", DIARY, TOLD_DIARY}


@pytest.mark.parametrize(
    ("question", "about_reply"),
    [
        ("Which hotel did you recommend?", True),
        ("The list you kindly provided, what was its third entry?", True),
        ("What was your last suggestion for the cat?", True),
        ("I look back at our previous chat: which song was it?", True),
        ("Can you suggest a hotel in Miami?", False),
        ("What did I tell you about my cat?", False),
        ("Do you need to know what I feed it?", False),
        ("What is my cat called?", False),
        ("Remind me of the hotel.", True),
        ("Remind me what my cat is called.", False),
    ],
)
def test_a_question_asks_what_was_said_or_for_something_new(question: str, about_reply: bool) -> None:  # noqa: FBT001  # a case
    assert asks_reply(question) is about_reply
