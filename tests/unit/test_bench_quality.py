"""LongMemEval's and BEIR's formats and measures, on small files written here."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from ums_core.bench import __main__ as cli
from ums_core.bench import beir, longmemeval
from ums_core.errors import InvalidInput

WORDS = ("beagle", "kayak", "pottery", "caravan", "cello", "lighthouse", "peanut", "violin")


def session(name: str, word: str) -> tuple[str, str, list[dict[str, Any]]]:
    turns = [
        {"role": "user", "content": f"I told my friends about the {word} yesterday.", "has_answer": True},
        {"role": "assistant", "content": "That sounds lovely, tell me more."},
    ]
    return name, "2023/05/20 (Sat) 02:21", turns


def instance(name: str, kind: str, words: list[str], *, marked: bool = True) -> dict[str, Any]:
    found = [session(f"s_{word}", word) for word in WORDS]
    for key, _, turns in found:
        if key.removeprefix("s_") not in words or not marked:
            for turn in turns:
                turn.pop("has_answer", None)
    return {
        "question_id": name,
        "question_type": kind,
        "question": f"What did I tell my friends about the {' and the '.join(words)}?",
        "answer": "unused",
        "question_date": "2023/06/01 (Thu) 10:00",
        "haystack_session_ids": [key for key, _, _ in found],
        "haystack_dates": [date for _, date, _ in found],
        "haystack_sessions": [turns for _, _, turns in found],
        "answer_session_ids": [f"s_{word}" for word in words],
    }


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    entries = [
        instance("q1", "single-session-user", ["beagle"]),
        instance("q2", "multi-session", ["kayak", "violin"]),
        instance("q3_abs", "multi-session", ["cello"], marked=False),
        instance("q4", "multi-session", []),
    ]
    file = tmp_path / "longmemeval_s.json"
    file.write_text(json.dumps(entries))
    return file


def rows(out: str) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["name"], row["group"]): row for row in json.loads(out)["rows"]}


def test_longmemeval_finds_sessions_and_turns_and_reports_abstentions_apart(
    memory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["longmemeval", str(memory), "--embedder", "none", "--json"]) == 0
    out, err = capsys.readouterr()
    found = rows(out)
    assert "skipped 1 questions" in err
    assert {group for _, group in found} == {
        "all but abstention", "single-session-user", "multi-session", "abstention",
    }  # fmt: skip
    assert found["ums", "all but abstention"]["questions"] == 2
    assert found["ums", "abstention"]["questions"] == 1
    for measure in ("session any@5", "session all@5", "turn any@5", "turn all@5", "session nDCG@10"):
        assert found["ums", "all but abstention"][measure] == 1.0
        assert 0 <= found["random", "multi-session"][measure] <= 1
    assert found["random", "multi-session"]["turn all@5"] < found["random", "multi-session"]["turn any@5"]
    low, high = found["random", "multi-session"]["intervals"]["turn any@5"]
    assert low <= found["random", "multi-session"]["turn any@5"] <= high


def test_longmemeval_prints_a_table_of_the_first_questions(memory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["longmemeval", str(memory), "--embedder", "hashing:64", "--limit", "1"]) == 0
    out = capsys.readouterr().out
    assert "LongMemEval" in out
    assert "single-session-user" in out
    assert "vector" in out
    assert "multi-session" not in out


def test_abstentions_alone_have_no_other_row(memory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory.write_text(json.dumps(json.loads(memory.read_text())[2:3]))
    assert cli.main(["longmemeval", str(memory), "--embedder", "none", "--json"]) == 0
    assert {group for _, group in rows(capsys.readouterr().out)} == {"abstention"}


def test_turns_carry_role_session_place_and_date(memory: Path) -> None:
    instances, skipped = longmemeval.load(memory)
    assert skipped == 1
    turns = instances[0].haystack.conversation.turns
    assert [(turn.dia_id, turn.role, turn.session, turn.position) for turn in turns[:2]] == [
        ("s_beagle#0", "user", "s_beagle", 0),
        ("s_beagle#1", "assistant", "s_beagle", 1),
    ]
    assert turns[0].occurred_at is not None
    assert turns[0].occurred_at.isoformat() == "2023-05-20T02:21:00+00:00"
    assert set(instances[1].haystack.questions[0].gold) == {"s_kayak#0", "s_violin#0"}
    assert instances[1].sessions == {"s_kayak", "s_violin"}


def test_a_date_without_a_time_is_read(memory: Path) -> None:
    entries = json.loads(memory.read_text())[:1]
    entries[0]["haystack_dates"] = ["2023/05/20"] * len(WORDS)
    memory.write_text(json.dumps(entries))
    moment = longmemeval.load(memory)[0][0].haystack.conversation.turns[0].occurred_at
    assert moment is not None
    assert moment.isoformat() == "2023-05-20T00:00:00+00:00"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"question": None, "haystack_dates": 3}, "question 0: TypeError.*haystack_dates must be a list"),
        ({"haystack_dates": ["yesterday"] * 8}, "must look like '2023/05/20"),
        ({"haystack_session_ids": []}, "question 0: ValueError"),
        ({"haystack_sessions": [["hello"]] * 8}, "question 0: TypeError"),
    ],
)
def test_a_wrong_longmemeval_format_is_refused_with_its_place(
    memory: Path, change: dict[str, object], why: str
) -> None:
    entries = json.loads(memory.read_text())
    entries[0] |= change
    memory.write_text(json.dumps(entries))
    with pytest.raises(InvalidInput, match=why):
        longmemeval.load(memory)


@pytest.mark.parametrize(("content", "why"), [("{}", "expected a list"), ("[", "is not JSON"), ("[]", None)])
def test_an_unusable_longmemeval_file_is_refused(
    tmp_path: Path, content: str, why: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file.json"
    file.write_text(content)
    assert cli.main(["longmemeval", str(file)]) == 2
    assert (why or "nothing to measure") in capsys.readouterr().err
    assert cli.main(["longmemeval", str(tmp_path / "missing.json")]) == 2
    assert "cannot read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("ranking", "expected"),
    [
        (["a", "b"], 1.0),
        (["b", "a"], (1 + 2 / math.log2(3)) / (2 + 1 / math.log2(3))),
        (["x", "a"], (2 / math.log2(3)) / (2 + 1 / math.log2(3))),
        (["x"], 0.0),
        ([], 0.0),
    ],
)
def test_graded_ndcg_is_what_trec_eval_gives(ranking: list[str], expected: float) -> None:
    assert beir.ndcg_graded(ranking, {"a": 2.0, "b": 1.0}) == pytest.approx(expected)


def test_all_at_k_wants_every_one() -> None:
    assert longmemeval.all_at_k(["a", "b", "c"], frozenset("ab"), 2) == 1.0
    assert longmemeval.all_at_k(["a", "c", "b"], frozenset("ab"), 2) == 0.0


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    (folder / "qrels").mkdir(parents=True)
    corpus = [{"_id": word, "title": word.title(), "text": f"All about the {word}."} for word in WORDS]
    queries = [{"_id": f"q{n}", "text": f"where is the {word}"} for n, word in enumerate(WORDS)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(line) + "\n" for line in corpus))
    (folder / "queries.jsonl").write_text("".join(json.dumps(line) + "\n" for line in queries))
    lines = ["query-id\tcorpus-id\tscore", "q0\tbeagle\t2", "q1\tkayak\t1", "q1\tcello\t0", "q2\tnowhere\t1"]
    (folder / "qrels/test.tsv").write_text("\n".join(lines) + "\n")
    return folder


def test_beir_judges_the_queries_that_have_a_relevant_document(
    collection: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["beir", str(collection), "--embedder", "hashing:64", "--json"]) == 0
    out, err = capsys.readouterr()
    found = rows(out)
    assert "skipped 1 queries" in err
    assert found["ums", "test"]["questions"] == 2
    assert found["ums", "test"]["nDCG@10"] == found["bm25", "test"]["nDCG@10"] == 1.0
    assert found["ums", "test"]["R@100"] == 1.0
    assert found["random", "test"]["nDCG@10"] < 1.0
    assert cli.main(["beir", str(collection), "--embedder", "none"]) == 0
    assert "tiny, test" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("qrels/test.tsv", "head\nq0 beagle 1\n", "line 2, must be query-id"),
        ("qrels/test.tsv", "head\nq0\tbeagle\tmuch\n", "line 2, must be query-id"),
        ("corpus.jsonl", "{\n", "line 1, is not JSON"),
        ("queries.jsonl", '{"_id": 3, "text": "x"}\n', "line 1, must be an object with the strings"),
        ("queries.jsonl", "[]\n", "line 1, must be an object with the strings"),
    ],
)
def test_a_wrong_beir_format_is_refused_with_its_place(collection: Path, name: str, content: str, why: str) -> None:
    (collection / name).write_text(content)
    with pytest.raises(InvalidInput, match=why):
        beir.load(collection, "test")


def test_a_missing_beir_file_is_refused(collection: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["beir", str(collection), "--split", "dev"]) == 2
    assert "cannot read" in capsys.readouterr().err
