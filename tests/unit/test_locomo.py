"""The LoCoMo benchmark: its loader, its baselines, its rows and its command, on a file written here."""

import contextlib
import io
import json
import os
import runpy
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import train_cross_encoder

from ums_core.bench import __main__ as cli
from ums_core.bench import locomo, rankers, report
from ums_core.bench.locomo_data import Conversation, Dataset, Question, Skipped, Turn, load
from ums_core.errors import InvalidInput, MissingExtra

KEYS = [
    "name", "granularity", "categories", "questions", "recall@5", "recall@10", "recall@20", "any@5", "any@10", "any@20",
    "ndcg@10", "mrr", "session_recall@5", "session_recall@10",
]  # fmt: skip
OURS = [("ums", [1, 2, 3, 4]), ("ums", [5]), ("ums", [1]), ("ums", [2]), ("ums", [3]), ("ums", [4])]
ORDER = [*OURS, ("random", [1, 2, 3, 4]), ("random", [5]), ("bm25", [1, 2, 3, 4]), ("bm25", [5])]
VIEWS = [(name, split) for name in ("vector", "z-scores", "rrf", "keyword") for split in ([1, 2, 3, 4], [5])]

NOTHING_SKIPPED = Skipped(no_evidence=0, no_usable_evidence=0, malformed_ids=0, unknown_ids=0)


def turn(dia_id: str, speaker: str, text: str, **more: object) -> dict[str, object]:
    return {"dia_id": dia_id, "speaker": speaker, "text": text, **more}


def question(text: str, category: int, *evidence: object) -> dict[str, object]:
    return {"question": text, "answer": "unused", "category": category, "evidence": list(evidence)}


def sample() -> dict[str, Any]:
    return {
        "sample_id": "conv-1",
        "conversation": {
            "speaker_a": "Ana",
            "speaker_b": "Ben",
            "session_1_date_time": "1:56 pm on 8 May, 2023",
            "session_1": [
                turn("D1:1", "Ana", "My beagle Rollo learned to swim."),
                turn("D1:2", "Ben", "Wonderful news!", blip_caption="a photo of a red kayak"),
                turn("D1:3", "Ben", "", blip_caption="a photo of a lighthouse"),
                turn("D1:4", "Ana", " "),
            ],
            "session_2_date_time": "12:05 am on 21 December, 2023",
            "session_2": [
                turn("D2:1", "Ben", "I started pottery classes in Lisbon.", img_url=["https://example.org/a.jpg"]),
                turn("D2:2", "Ana", "My sister plays the cello in an orchestra.", blip_caption=None),
            ],
            "session_10_date_time": "9:00 am on 1 January, 2024",
            "session_10": [turn("D10:1", "Ana", "We sold the caravan last week.")],
            "session_11_date_time": "9:00 am on 2 January, 2024",
        },
        "qa": [
            question("Which dog of Ana swims, and who is in pottery classes?", 1, "D1:1; D2:1"),
            question("When was the caravan sold?", 2, "D10:01"),
            question("Would Ana's sister enjoy a cello orchestra?", 3, "D2:2,D2:2 D1:1", "D", "D:11:26", "D7:7"),
            question("What did the red kayak photo show?", 4, "D1:2"),
            question("Who plays the cello?", 5, "D2:2"),
            question("What was never said?", 4),
            {"question": "What is without the key?", "category": 4},
            question("Which turn does not exist?", 1, "D9:9", 7),
        ],
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path, [sample()])


def write(directory: Path, content: object) -> Path:
    file = directory / "locomo.json"
    file.write_text(json.dumps(content))
    return file


def test_turns_carry_session_position_caption_and_utc_time(path: Path) -> None:
    (conversation,) = load(path).conversations
    assert [entry.dia_id for entry in conversation.turns] == [
        "D1:1", "D1:2", "D1:3", "D1:4", "D2:1", "D2:2", "D10:1",
    ]  # fmt: skip
    assert conversation.turns[1] == Turn(
        dia_id="D1:2",
        session="session_1",
        position=1,
        speaker="Ben",
        text="Wonderful news!",
        caption="a photo of a red kayak",
        occurred_at=datetime(2023, 5, 8, 13, 56, tzinfo=UTC),
    )
    assert conversation.turns[4].occurred_at == datetime(2023, 12, 21, 0, 5, tzinfo=UTC)


def test_joined_evidence_is_split_and_what_cannot_be_used_is_counted(path: Path) -> None:
    data = load(path)
    assert [(asked.category, asked.gold) for asked in data.conversations[0].questions] == [
        (1, ("D1:1", "D2:1")),
        (2, ("D10:1",)),
        (3, ("D2:2", "D1:1")),
        (4, ("D1:2",)),
        (5, ("D2:2",)),
    ]
    assert data.skipped.no_evidence == 2
    assert data.skipped.no_usable_evidence == 1
    assert data.skipped.malformed_ids == 3
    assert data.skipped.unknown_ids == 2


def test_evidence_given_as_one_string_is_read(tmp_path: Path) -> None:
    changed = sample()
    changed["qa"] = [{"question": "Who swims?", "category": 4, "evidence": "D1:1 D2:1"}]
    assert load(write(tmp_path, [changed])).conversations[0].questions[0].gold == ("D1:1", "D2:1")


def broken(where: str, value: object) -> list[dict[str, Any]]:
    """A sample with one value replaced; ``where`` is a path of keys and places."""
    whole = [sample()]
    *parents, last = [int(key) if key.isdigit() else key for key in where.split("/")]
    at: Any = whole
    for key in parents:
        at = at[key]
    at[last] = value
    return whole


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"qa": []}, "expected a list of samples, got dict"),
        ([], "expected a list of samples, got nothing"),
        ([3], "sample 0: expected an object, got int"),
        (broken("0/sample_id", ""), "sample 0: sample_id must be a string that is not empty"),
        (broken("0/conversation", None), "sample 'conv-1', conversation: expected an object, got nothing"),
        (broken("0/conversation", {}), "sample 'conv-1': there is no session_1"),
        (broken("0/conversation/session_2", {}), "session_2 must be a list of turns, got dict"),
        (broken("0/conversation/session_1_date_time", "yesterday"), "must look like '1:56 pm on 8 May, 2023'"),
        (broken("0/conversation/session_1_date_time", None), "session_1_date_time must be a string"),
        (broken("0/conversation/session_1/0", "hello"), "session_1, turn 0: expected an object, got str"),
        (broken("0/conversation/session_1/0/text", 5), "text must be a string, got 5"),
        (broken("0/conversation/session_1/0/blip_caption", 5), "blip_caption must be a string, got 5"),
        (broken("0/conversation/session_1/0/speaker", " "), "speaker must be a string that is not empty"),
        (broken("0/conversation/session_1/0/dia_id", "1"), "dia_id must look like 'D3:12', got '1'"),
        (broken("0/conversation/session_1/0/dia_id", "D1:2"), "a dia_id is used twice"),
        (broken("0/qa", None), "qa must be a list, got nothing"),
        (broken("0/qa/0", None), "question 0: expected an object, got nothing"),
        (broken("0/qa/0/question", None), "question must be a string that is not empty, got None"),
        (broken("0/qa/0/category", 6), "category must be one of 1, 2, 3, 4, 5, got 6"),
        (broken("0/qa/0/category", [1]), r"category must be one of .* got \[1\]"),
        ([sample(), sample()], "sample_id 'conv-1' is used twice"),
    ],
)
def test_a_wrong_format_is_refused_with_its_place(tmp_path: Path, content: object, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        load(write(tmp_path, content))


@pytest.mark.parametrize("content", [b"[{", b"\xff\xfe\xff", b"[" * 200_000])
def test_what_is_not_json_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken.json"
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"broken\.json is not JSON"):
        load(file)


def test_bm25_finds_words_captions_speakers_and_dates_by_their_stems(path: Path) -> None:
    ranker = rankers.Bm25Ranker()
    ranker.prepare(load(path).conversations[0])
    assert ranker.rank("Is there a dog that swims?") == ["D1:1"]
    assert ranker.rank("kayaks")[0] == "D1:2"
    assert set(ranker.rank("Ben")) == {"D1:2", "D1:3", "D2:1"}
    assert set(ranker.rank("In December?")) == {"D2:1", "D2:2"}


@pytest.mark.parametrize("words", ["zeppelin", "the of and", "?", "a"])
def test_bm25_ranks_nothing_without_a_common_term(path: Path, words: str) -> None:
    ranker = rankers.Bm25Ranker()
    ranker.prepare(load(path).conversations[0])
    assert ranker.rank(words) == []


def test_bm25_without_its_packages_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "Stemmer", None)
    with pytest.raises(MissingExtra, match=r"Stemmer .* pip install 'ums-core\[bench\]'"):
        rankers.Bm25Ranker()


def test_random_ranks_every_turn_once_and_repeats_with_its_seed(path: Path) -> None:
    (conversation,) = load(path).conversations
    first, second, other = (rankers.RandomRanker(seed) for seed in (1, 1, 2))
    for ranker in (first, second, other):
        ranker.prepare(conversation)
    drawn = [[ranker.rank("?") for _ in range(5)] for ranker in (first, second, other)]
    assert sorted(drawn[0][0]) == sorted(entry.dia_id for entry in conversation.turns)
    assert drawn[0] == drawn[1] != drawn[2]


class Oracle:
    """Ranks what answers first; stands where UMS stands."""

    def __init__(self, data: Dataset) -> None:
        self.gold = {asked.text: asked.gold for entry in data.conversations for asked in entry.questions}
        self.closed = False

    def prepare(self, conversation: Conversation) -> None:
        self.turns = [entry.dia_id for entry in conversation.turns]

    def rank(self, question: str) -> list[str]:
        gold = self.gold[question]
        return [*gold, *(dia_id for dia_id in self.turns if dia_id not in gold)]

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("granularity", ["turn", "session"])
def test_rows_stand_in_order_and_a_perfect_ranking_has_one_everywhere(path: Path, granularity: str) -> None:
    data = load(path)
    oracle = Oracle(data)
    rows = [row.as_json() for row in locomo.rows(data, {"ums": oracle}, granularity=granularity)]
    assert [(row["name"], row["categories"]) for row in rows] == ORDER
    assert [row["questions"] for row in rows] == [4, 1, 1, 1, 1, 1, 4, 1, 4, 1]
    assert all(list(row) == [*KEYS, "intervals"] and row["granularity"] == granularity for row in rows)
    assert all(row[key] == pytest.approx(1.0) for row in rows[:6] for key in KEYS[4:])
    assert all(0.0 <= float(str(row[key])) <= 1.0 for row in rows for key in KEYS[4:])
    for row in rows:
        for key, (low, high) in row["intervals"].items():
            assert 0.0 <= low <= row[key] + 1e-9
            assert row[key] - 1e-9 <= high <= 1.0
    assert oracle.closed


def test_chance_comes_close_to_its_expectation() -> None:
    turns = tuple(
        Turn(
            dia_id=f"D1:{place}",
            session=f"session_{place % 10}",
            position=place,
            speaker="Ana",
            text=f"word{place}",
            caption="",
            occurred_at=datetime(2023, 5, 8, tzinfo=UTC),
        )
        for place in range(100)
    )
    asked = tuple(Question(text=f"word{place}", category=4, gold=(f"D1:{place}",)) for place in range(100))
    conversation = Conversation(sample_id="conv-1", turns=turns, questions=asked)
    data = Dataset(conversations=(conversation,), skipped=NOTHING_SKIPPED)
    chance = next(row for row in locomo.rows(data, {"ums": Oracle(data)}) if row.name == "random")
    assert chance.means["recall@10"] == pytest.approx(0.1, abs=0.03)
    assert chance.means["any@10"] == chance.means["recall@10"]


def test_sessions_are_judged_as_sessions(path: Path) -> None:
    data = load(path)
    by_turn = locomo.rows(data, {"ums": Oracle(data)})[-2]
    by_session = locomo.rows(data, {"ums": Oracle(data)}, granularity="session")[-2]
    assert by_turn.name == by_session.name == "bm25"
    assert by_session.means["recall@5"] == by_turn.means["session_recall@5"]


def test_categories_without_a_question_have_no_row(tmp_path: Path) -> None:
    changed = sample()
    changed["qa"] = [question("Who swims?", 4, "D1:1")]
    data = load(write(tmp_path, [changed]))
    found = [(row.name, row.categories) for row in locomo.rows(data, {"ums": Oracle(data)})]
    assert found == [("ums", (1, 2, 3, 4)), ("ums", (4,)), ("random", (1, 2, 3, 4)), ("bm25", (1, 2, 3, 4))]


def test_a_file_without_a_usable_question_is_refused(tmp_path: Path) -> None:
    data = load(write(tmp_path, broken("0/qa", [])))
    with pytest.raises(InvalidInput, match="nothing to measure"):
        locomo.rows(data, {"ums": Oracle(data)})


def test_progress_is_drawn_on_a_terminal_only(path: Path) -> None:
    data = load(path)
    leader, follower = os.openpty()
    with os.fdopen(follower, "w") as terminal, os.fdopen(leader, "rb", buffering=0) as screen:
        locomo.rows(data, {"ums": Oracle(data)}, progress=terminal)
        shown = ""
        while "\n" not in shown:
            shown += screen.read(65536).decode()
    assert shown.rstrip().endswith(f"[{'#' * 25}] 100 %")
    silent = io.StringIO()
    locomo.rows(data, {"ums": Oracle(data)}, progress=silent)
    assert silent.getvalue() == ""


def test_help_names_every_command_and_imports_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    shown = capsys.readouterr().out
    assert all(name in shown for name in cli.COMMANDS)
    with pytest.raises(SystemExit, match="0"):
        cli.main(["locomo", "--help"])
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("PATH", "--granularity", "--json", "--embedder", "CC BY-NC 4.0"))


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["locomo"], ["locomo", "x", "--granularity", "word"]])
def test_a_wrong_call_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments)
    assert "usage: python -m ums_core.bench" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "cannot read"), ("[{", "is not JSON"), ("{}", "is not in LoCoMo's format"), ("[{}]", "sample_id must be")],
)
def test_an_unusable_file_gives_one_line_and_exits_with_2(
    tmp_path: Path, content: str | None, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file.json"
    if content is not None:
        file.write_text(content)
    assert cli.main(["locomo", str(file), "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("python -m ums_core.bench: error: ")
    assert why in err
    assert err.count("\n") == 1


def test_the_package_runs_as_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "locomo", str(tmp_path / "missing.json")])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(cli.__file__), run_name="__main__")
    assert stopped.value.code == 2


@pytest.mark.needs_lite
def test_ums_ranks_the_turn_that_answers_first(path: Path) -> None:
    (conversation,) = load(path).conversations
    with contextlib.closing(rankers.UmsRanker()) as ranker:
        ranker.prepare(conversation)
        ranker.prepare(conversation)
        assert ranker.rank("Who sold a caravan?")[0] == "D10:1"
        found = ranker.rank("What did the red kayak photo show?")
    assert found[0] == "D1:2"
    assert len(set(found)) == len(found)
    assert "D1:4" not in found


@pytest.mark.needs_lite
def test_json_holds_the_rows_and_nothing_else(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["locomo", str(path), "--json"]) == 0
    out, err = capsys.readouterr()
    printed = json.loads(out)
    assert list(printed) == ["rows"]
    assert [(row["name"], row["categories"]) for row in printed["rows"]] == [*OURS, *VIEWS, *ORDER[6:]]
    assert all(list(row) == [*KEYS, "intervals"] for row in printed["rows"])
    assert err == (
        "skipped 2 questions without evidence and 1 without usable evidence; "
        "dropped 3 malformed and 2 unknown evidence ids\n"
    )


@pytest.mark.needs_lite
def test_the_table_has_a_line_a_row_with_and_without_rich(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["locomo", str(path), "--granularity", "session"]
    assert cli.main(arguments) == 0
    rich = capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "rich", None)
    assert cli.main(arguments) == 0
    plain = capsys.readouterr().out
    assert "LoCoMo, sessions" in rich
    assert "LoCoMo, sessions" in plain
    names = {name for name, _ in (*ORDER, *VIEWS)}
    words = [[line.split() for line in shown.splitlines() if line.split()[:1] and line.split()[0] in names]
             for shown in (rich, plain)]  # fmt: skip
    assert words[0] == words[1]
    assert len(words[0]) == len(ORDER) + len(VIEWS)


def test_an_unknown_embedder_exits_with_2(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["locomo", str(path), "--embedder", "no such embedder"]) == 2
    assert "no such embedder" in capsys.readouterr().err


def test_several_embedders_stand_side_by_side_and_in_a_plot(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chart = tmp_path / "locomo.png"
    arguments = ["--embedder", "hashing:64", "--embedder", "none", "--json", "--plot", str(chart)]
    assert cli.main(["locomo", str(path), *arguments]) == 0
    names = dict.fromkeys(row["name"] for row in json.loads(capsys.readouterr().out)["rows"])
    assert list(names) == [
        "ums hashing:64", "vector hashing:64", "z-scores hashing:64", "rrf hashing:64", "keyword", "ums none",
        "random", "bm25",
    ]  # fmt: skip
    assert chart.read_bytes().startswith(b"\x89PNG")


def test_a_plot_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"matplotlib .* pip install 'ums-core\[bench\]'"):
        report.plot(tmp_path / "x.png", "title", {"ums": {"recall@5": (0.5, (0.4, 0.6))}})


@pytest.mark.needs_torch
def test_a_cross_encoder_stands_beside(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_cross_encoder(tmp_path / "tiny", steps=4)
    arguments = ["--embedder", "none", "--cross-encoder", str(tmp_path / "tiny"), "--json"]
    assert cli.main(["locomo", str(path), *arguments]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["categories"] for row in rows if row["name"] == "reranked"] == [[1, 2, 3, 4], [5]]


def test_an_interval_holds_the_mean_and_narrows_with_more_questions() -> None:
    draw = np.random.default_rng(1)
    few, many = draw.integers(2, size=(40, 2)).astype(float), draw.integers(2, size=(4000, 2)).astype(float)
    for values in (few, many):
        for mean, (low, high) in zip(values.mean(axis=0), report.interval(values), strict=True):
            assert low < mean < high
    assert report.interval(few)[0][1] - report.interval(few)[0][0] > 0.2
    assert report.interval(many)[0][1] - report.interval(many)[0][0] < 0.05
    assert report.interval(few) == report.interval(few)
