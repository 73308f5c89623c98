"""``ums ingest``: files of several forms become memories, once."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ums_core import Draft, Memory, UnifiedSettings, open_store
from ums_core.cli.app import app
from ums_core.cli.sources import drafts_of, format_of
from ums_core.errors import InvalidField, InvalidInput, InvalidText
from ums_core.testing.serving import serving

JSONL = """
{"text": "I moved to Lisbon", "speaker": "Ana", "occurred_at": "2026-03-02T07:38:00+01:00", "mood": "ok", "role": null}

{"id": "mine", "content": "Congratulations!", "role": "assistant", "timestamp": 1772433480, "tags": ["t"], "level": 1}
{"message": "and then?", "author": "user", "metadata": {"a": 1}, "session": "s2", "position": 9, "date": "2026-03-02"}
"""
MARKDOWN = """before any heading
# Notes
## Boiler ##
Pressure is 1.3 bar.

```sh
# no heading
```
### Valve
Sticks.
# Empty
# Cat
Luna.
"""
WHATSAPP = """\u200e[13/03/2025, 14:05:33] Marta: the boiler
is dead
[13/03/2025, 14:06:00] Davor: \u200eimage omitted
[14.03.25, 9:07] Marta: it lives: hooray
"""
AMERICAN = """3/13/25, 2:05 PM - Marta: the boiler is dead
3/14/25, 12:00 AM - Davor: oh
"""
TREE = [
    {
        "title": "Trip",
        "mapping": {
            "b": {
                "message": {
                    "author": {"role": "assistant"},
                    "content": {"parts": ["Go in May", {}]},
                    "create_time": 20.5,
                }
            },
            "a": {"message": {"author": {"role": "user"}, "content": {"parts": ["When to go?"]}, "create_time": 10.0}},
            "s": {"message": {"author": {"role": "system"}, "content": {"parts": [""]}}},
            "r": {"message": None},
            "e": {"message": {"author": {"role": "user"}, "content": {"parts": [" "]}, "create_time": 30}},
        },
    }
]
TELEGRAM = {
    "name": "Family",
    "type": "personal_chat",
    "messages": [
        {
            "id": 1,
            "type": "message",
            "date": "2026-03-02T07:38:00",
            "from": "Ana",
            "text": ["see ", {"type": "link", "text": "this"}],
        },
        {"id": 2, "type": "service", "date": "2026-03-02T07:39:00", "action": "joined", "text": ""},
        {"id": 3, "type": "message", "date": "2026-03-02T07:40:00", "from": "Bo", "text": "nice"},
    ],
}
TURNS = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]


def read(text: str, name: str = "file") -> list[Draft]:
    return list(drafts_of(text.splitlines(keepends=True), format_of(name, text), name))


def told(drafts: list[Draft]) -> list[tuple[str, str | None, str | None, int | None]]:
    return [(draft.text, draft.speaker or draft.role, draft.session, draft.position) for draft in drafts]


def test_json_lines_give_every_field_and_keep_what_they_do_not_know() -> None:
    first, second, third = read(JSONL, "a.jsonl")
    assert told([first, second, third]) == [
        ("I moved to Lisbon", "Ana", "a.jsonl", 1),
        ("Congratulations!", "assistant", "a.jsonl", 2),
        ("and then?", "user", "s2", 9),
    ]
    assert first.occurred_at == datetime(2026, 3, 2, 6, 38, tzinfo=UTC)
    assert (first.metadata, second.id, second.tags, second.level) == ({"mood": "ok"}, "mine", ("t",), 1)
    assert second.occurred_at == datetime(2026, 3, 2, 6, 38, tzinfo=UTC)
    assert (third.metadata, third.role, third.speaker) == ({"a": 1}, "user", None)
    assert third.occurred_at == datetime(2026, 3, 2, tzinfo=UTC)


def test_a_picture_without_a_word_is_its_caption() -> None:
    chat = '{"title": "t", "messages": [{"from": "Ana", "text": "", "caption": "a kayak"}, {"from": "Bo", "text": ""}]}'
    assert [(draft.text, draft.caption, draft.speaker) for draft in read(chat, "a.json")] == [("", "a kayak", "Ana")]
    (line,) = read('{"text": "look", "caption": "a heron"}', "a.jsonl")
    assert (line.text, line.caption) == ("look", "a heron")


def test_markdown_gives_a_memory_a_section_with_the_headings_above_it() -> None:
    drafts = read(MARKDOWN, "notes.md")
    assert [(draft.text.splitlines()[0], draft.position, draft.metadata["headings"]) for draft in drafts] == [
        ("before any heading", 0, []),
        ("## Boiler ##", 1, ["Notes", "Boiler"]),
        ("### Valve", 2, ["Notes", "Boiler", "Valve"]),
        ("# Cat", 3, ["Cat"]),
    ]
    assert "# no heading" in drafts[1].text
    assert read("#### deep\ntext", "a.md")[0].metadata["headings"] == ["deep"]
    assert read("\n\n", "a.md") == []


def test_plain_text_gives_a_memory_a_paragraph() -> None:
    assert told(read("one\ntwo\n\n\n three \n", "a.txt")) == [
        ("one\ntwo", None, "a.txt", 0),
        ("three", None, "a.txt", 1),
    ]
    assert [draft.text for draft in drafts_of(iter(["a", "", "b"]), "text", "x")] == ["a", "b"]


def test_the_export_of_a_messenger_is_read_day_first_unless_that_cannot_be() -> None:
    drafts = read(WHATSAPP, "chat.txt.export")
    assert told(drafts)[0] == ("the boiler\nis dead", "Marta", "chat.txt.export", 0)
    assert [draft.occurred_at for draft in drafts] == [
        datetime(2025, 3, 13, 14, 5, 33, tzinfo=UTC),
        datetime(2025, 3, 13, 14, 6, tzinfo=UTC),
        datetime(2025, 3, 14, 9, 7, tzinfo=UTC),
    ]
    assert [draft.occurred_at for draft in read(AMERICAN)] == [
        datetime(2025, 3, 13, 14, 5, tzinfo=UTC),
        datetime(2025, 3, 14, 0, 0, tzinfo=UTC),
    ]
    assert read("kept apart\n" + AMERICAN)[0].text == "the boiler is dead"
    assert read("1/2/25, 2:05 - Marta: \n1/2/25, 2:06 - Bo: x")[0].text == "x"


@pytest.mark.parametrize(
    ("export", "expected"),
    [
        (TREE, [("When to go?", "user", "Trip", 0), ("Go in May", "assistant", "Trip", 1)]),
        (TELEGRAM, [("see this", "Ana", "Family", 0), ("nice", "Bo", "Family", 1)]),
        (TURNS, [("hi", "user", "c.json 1", 0), ("hello", "assistant", "c.json 1", 1)]),
        ({"messages": TURNS}, [("hi", "user", "c.json 1", 0), ("hello", "assistant", "c.json 1", 1)]),
    ],
)
def test_an_export_in_json_is_read_conversation_by_conversation(export: object, expected: list[object]) -> None:
    assert told(read(json.dumps(export), "c.json")) == expected


@pytest.mark.parametrize(
    ("name", "text", "form"),
    [
        ("a.ndjson", "", "jsonl"),
        ("a.MD", "", "markdown"),
        ("a", '{"text": 1}\n{', "jsonl"),
        ("a", '{\n"messages": []}', "chat"),
        ("a", "[13/03/2025, 14:05:33] Marta: x", "chat"),
        ("a", "hello\n# Heading\n", "markdown"),
        ("a", "hello", "text"),
        ("a", "", "text"),
    ],
)
def test_the_form_of_a_file_is_seen_by_its_name_or_its_beginning(name: str, text: str, form: str) -> None:
    assert format_of(name, text) == form


def test_moments_of_several_kinds_are_put_in_some_order_and_since_when_it_is_true_is_kept() -> None:
    said = [{"role": "user"}, {"parts": ["late"]}, "2026-03-02T07:38:00Z"], [{"role": "user"}, {"parts": ["early"]}, 5]
    tree = {
        str(n): {"message": {"author": author, "content": content, "create_time": when}}
        for n, (author, content, when) in enumerate(said)
    }
    assert {draft.text for draft in read(json.dumps({"mapping": tree}), "a.json")} == {"early", "late"}
    (draft,) = read('{"text": "a", "valid_from": "2026-03-02T07:38:00Z"}', "a.jsonl")
    assert draft.valid_from == datetime(2026, 3, 2, 7, 38, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "text", "error", "match"),
    [
        ("a.jsonl", '{"text": "a"}\n{', InvalidInput, "line 2 of a.jsonl is not JSON"),
        ("a.jsonl", "5", InvalidInput, "line 1 of a.jsonl must be an object"),
        ("a.jsonl", '{"text": ""}', InvalidText, "line 1 of a.jsonl"),
        ("a.jsonl", '{"text": "a", "metadata": 5}', InvalidInput, "line 1"),
        ("a.jsonl", '{"text": "a", "time": "yesterday"}', InvalidField, "no moment"),
        ("a.jsonl", '{"text": "a", "time": 1e300}', InvalidField, "no moment"),
        ("a.json", "hello", InvalidInput, "name its --format"),
        ("a.json", "[", InvalidInput, "is not JSON"),
        ("a.json", "[5]", InvalidInput, "no chat export"),
        ("a.json", '{"messages": 5}', InvalidInput, "no list"),
        ("a.json", '{"messages": [5]}', InvalidInput, "must be an object"),
        ("a.json", '{"messages": [{"content": {}}, {"text": 5}]}', None, ""),
        ("a.json", '{"mapping": 5}', InvalidInput, "no list"),
        ("a.json", '{"mapping": {"a": 5, "b": {"message": {"author": "x"}}}}', None, ""),
        ("a.json", '{"messages": [{"role": "user", "text": [5, null, {"text": 7}]}]}', None, ""),
        ("a.jsonl", "[" * 100_000, InvalidInput, "line 1 of a.jsonl is not JSON"),
        ("a", "{" + '"a":{' * 100_000, InvalidInput, "a is not JSON"),
        ("a.json", "31/31/25, 2:05 - Marta: x", InvalidInput, "no known day"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(
    name: str, text: str, error: type[Exception] | None, match: str
) -> None:
    if error is None:
        assert read(text, name) == []
        return
    with pytest.raises(error, match=match):
        read(text, name)


@pytest.fixture(autouse=True)
def _light(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AI_MODEL__EMBEDDER", "hashing")
    monkeypatch.setenv("AI_DATABASE__BACKEND", "exact")
    monkeypatch.chdir(tmp_path)


def ums(*arguments: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin)


def held(path: str = "m.db") -> list[Memory]:
    with open_store(UnifiedSettings(database={"url": f"sqlite:///{path}"})) as store:
        return store.scan(limit=1000).memories


def test_a_file_is_stored_once_however_often_it_is_ingested(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(JSONL)
    arguments = ("--db", "m.db", "ingest", "a.jsonl", "-n", "users/ana%2Flisbon", "--batch", "2")
    run = ums(*arguments)
    assert (run.exit_code, run.stdout) == (0, "")
    assert run.stderr == "3 memories of 2 sessions from a.jsonl, read as jsonl\n"
    before = held()
    assert {memory.namespace for memory in before} == {("users", "ana/lisbon")}
    assert ums(*arguments).exit_code == 0
    assert held() == before
    # In other batches the memories are the same, and are replaced.
    assert ums(*arguments, "--batch", "64").exit_code == 0
    assert [memory.id for memory in held()] == [memory.id for memory in before]


def test_the_standard_input_is_read_to_its_end() -> None:
    run = ums("--db", "m.db", "ingest", "-", "--session", "mine", "--json", stdin="one\n\ntwo\n")
    assert json.loads(run.stdout) == {"memories": 2, "sessions": ["mine"], "format": "text"}
    assert [(memory.text, memory.session, memory.position) for memory in held()] == [
        ("one", "mine", 0),
        ("two", "mine", 1),
    ]
    assert ums("--db", "m.db", "ingest", "-", "--format", "markdown", stdin="# A\nb\n").exit_code == 0


def test_what_was_stored_before_an_error_stays_and_the_rest_follows(tmp_path: Path) -> None:
    good = "".join(json.dumps({"text": f"note {n}"}) + "\n" for n in range(5))
    (tmp_path / "a.jsonl").write_text(good + "{")
    run = ums("--db", "m.db", "ingest", "a.jsonl", "--batch", "2")
    assert run.exit_code == 2
    assert "line 6 of a.jsonl is not JSON" in run.stderr
    assert len(held()) == 4
    (tmp_path / "a.jsonl").write_text(good)
    assert ums("--db", "m.db", "ingest", "a.jsonl", "--batch", "2").exit_code == 0
    assert sorted(memory.text for memory in held()) == [f"note {n}" for n in range(5)]


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (Path.absolute, "cannot be read: No such file"),
        (Path.mkdir, "cannot be read: Is a directory"),
        (lambda path: path.write_bytes(b"caf\xe9 " * 5000), "is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, make: Callable[[Path], object], match: str) -> None:
    make(tmp_path / "a.txt")
    run = ums("--db", "m.db", "ingest", "a.txt")
    assert run.exit_code == 2
    assert match in run.stderr


def test_a_file_goes_to_the_side_that_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("water boils\n\nice floats\n")
    with serving() as service:
        monkeypatch.setenv("AI_CHANNEL", "dual")
        monkeypatch.setenv("AI_REMOTE__URL", service.url)
        monkeypatch.setenv("AI_REMOTE__TOKEN", service.token("acme"))
        for _ in range(2):
            assert ums("--db", "m.db", "ingest", "a.txt", "--channel", "global").exit_code == 0
        assert held() == []
        with service.store("acme") as shared:
            assert sorted(memory.text for memory in shared.scan().memories) == ["ice floats", "water boils"]
        found = ums("--db", "m.db", "search", "does ice sink?", "--channel", "both")
        assert "global" in found.stdout
        assert "ice floats" in found.stdout
        assert found.stderr == ""
        assert "nothing found" in ums("--db", "m.db", "search", "does ice sink?").stderr
    missed = ums("--db", "m.db", "search", "does ice sink?", "--channel", "both")
    assert missed.exit_code == 0
    assert "the global side did not answer: " in missed.stderr


def test_a_service_takes_a_file_as_a_stream(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n\n".join(f"paragraph {number}" for number in range(40)))
    (tmp_path / "b.jsonl").write_text('{"text": "fits"}\n' + json.dumps({"text": "too long " * 400}) + "\n")
    settings = UnifiedSettings.for_testing(service={"max_body_bytes": 2048})
    with serving(settings) as service:
        monkeypatch.setenv("AI_CHANNEL", "global")
        monkeypatch.setenv("AI_REMOTE__URL", service.url)
        monkeypatch.setenv("AI_REMOTE__TOKEN", service.token("acme"))
        for _ in range(2):
            told = ums("ingest", "a.txt", "--json")
            assert json.loads(told.stdout)["memories"] == 40
        (tmp_path / "c.jsonl").write_text(json.dumps({"text": "far too long " * 4000}) + "\n")
        with service.store("acme") as shared:
            assert {memory.position for memory in shared.scan().memories} == set(range(40))
            for name in ("b.jsonl", "c.jsonl"):
                refused = ums("ingest", name)
                assert refused.exit_code != 0
                assert "too_large" in refused.stderr
            assert shared.count() == 41
