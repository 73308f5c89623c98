"""What can be ingested: files of several forms as drafts, one after the other, without holding a whole file.

A memory's id follows from its place and its text, so that a file that is ingested again replaces what it brought.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Literal

from ums_core.errors import InvalidField, InvalidInput, UMSError
from ums_core.records import Draft

__all__ = ["FORMATS", "Format", "drafts_of", "format_of"]

Format = Literal["auto", "jsonl", "markdown", "text", "chat"]
FORMATS: tuple[Format, ...] = ("auto", "jsonl", "markdown", "text", "chat")

_ENDINGS: dict[str, Format] = {
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "md": "markdown",
    "markdown": "markdown",
    "json": "chat",
}
_HEADING = re.compile(r"(#{1,6})\s+(.+?)\s*#*")
_FENCE = re.compile(r"\s*(```|~~~)")
# "[12/03/2025, 14:05:33] Marta: text" and "12/03/2025, 14:05 - Marta: text", as messengers export.
_SAID = re.compile(
    r"\u200e?\[?(\d{1,2})[/.](\d{1,2})[/.](\d{2,4}),?\s+(\d{1,2}):(\d{2})(?::(\d{2}))?(?:\s?([AaPp])\.?[Mm]\.?)?\]?(?:\s+-)?\s+"
    r"([^:]{1,80}):\s(.*)"
)
_DATED = re.compile(r"\u200e?\[?\d{1,2}[/.]\d{1,2}[/.]\d{2,4},?\s+\d{1,2}:\d{2}")
_SAMPLE = 20
_FIELDS = {entry.name for entry in fields(Draft)} - {"embedding", "passages", "channel"}
_MOMENTS = {"created_at", "expires_at", "occurred_at", "valid_from"}
# How others call what a draft calls otherwise.
_ALIASES = {
    "content": "text",
    "message": "text",
    "timestamp": "occurred_at",
    "time": "occurred_at",
    "date": "occurred_at",
}
_ALIASES |= {"author": "speaker", "sender": "speaker", "from": "speaker", "name": "speaker", "conversation": "session"}
_ROLES = {"user", "assistant", "system", "tool"}


def format_of(name: str, head: str) -> Format:
    """The form of a file, by the ending of its name, else by how it begins."""
    ending = name.rpartition(".")[2].lower()
    if ending in _ENDINGS:
        return _ENDINGS[ending]
    lines = [line for line in head.splitlines() if line.strip()][:_SAMPLE]
    if lines and lines[0].lstrip().startswith("{") and _is_json(lines[0]):
        return "jsonl"
    if head.lstrip().startswith(("[", "{")) and not _DATED.match(head.lstrip()):
        return "chat"
    if any(_SAID.match(line) for line in lines):
        return "chat"
    return "markdown" if any(_HEADING.fullmatch(line) for line in lines) else "text"


def drafts_of(lines: Iterable[str], form: Format, source: str) -> Iterator[Draft]:
    """The drafts of a file, in its order; each has a session, a position in it, and where it came from.

    Args:
        lines: with or without their ends.
        form: any but ``auto``.
        source: the file's name.

    Raises:
        InvalidInput: what cannot be read, with the number of its line.
    """
    readers: dict[str, Callable[[Iterable[str], str], Iterator[Draft]]] = {
        "jsonl": _jsonl,
        "markdown": _markdown,
        "text": _text,
        "chat": _chat,
    }
    for draft in readers[form](lines, source):
        yield draft if draft.id is not None else replace(draft, id=_id(draft))


def _id(draft: Draft) -> str:
    about = [draft.session, draft.position, draft.speaker, draft.text]
    return blake2b(json.dumps(about).encode(), digest_size=12).hexdigest()


def _jsonl(lines: Iterable[str], source: str) -> Iterator[Draft]:
    position = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        position += 1
        where = f"line {number} of {source}"
        yield _draft(_parsed(line, where), where, session=source, position=position)


def _markdown(lines: Iterable[str], source: str) -> Iterator[Draft]:
    """One draft a section; the headings above it are its metadata."""
    above: list[str] = []
    body: list[str] = []
    position, fenced = 0, False

    def section() -> Draft | None:
        text = "\n".join(body).strip()
        metadata: dict[str, object] = {"source": source, "headings": list(filter(None, above))}
        # A heading alone says nothing that the metadata of the sections below does not say.
        if not text or _HEADING.fullmatch(text):
            return None
        return Draft(text=text, session=source, position=position, metadata=metadata)

    for raw in lines:
        line = raw.rstrip("\r\n")
        fenced ^= bool(_FENCE.match(line))
        heading = None if fenced else _HEADING.fullmatch(line)
        if heading is None:
            body.append(line)
            continue
        if done := section():
            yield done
            position += 1
        depth = len(heading[1])
        above = [*above[: depth - 1], *[""] * (depth - 1 - len(above)), heading[2]]
        body = [line]
    if done := section():
        yield done


def _text(lines: Iterable[str], source: str) -> Iterator[Draft]:
    """One draft a paragraph."""
    paragraph: list[str] = []
    position = 0
    for raw in _and_end(lines):
        line = raw.strip()
        if line:
            paragraph.append(line)
        elif paragraph:
            yield Draft(text="\n".join(paragraph), session=source, position=position, metadata={"source": source})
            position += 1
            paragraph = []


def _and_end(lines: Iterable[str]) -> Iterator[str]:
    yield from lines
    yield ""


def _chat(lines: Iterable[str], source: str) -> Iterator[Draft]:
    """An export of a messenger or an assistant: lines of who said what when, or JSON."""
    waiting = iter(lines)
    first = next((line for line in waiting if line.strip()), "")
    if first.lstrip().startswith(("[", "{")) and not _DATED.match(first.lstrip()):
        yield from _exported("".join([first, *waiting]), source)
    else:
        yield from _said([first, *waiting], source)


def _said(lines: list[str], source: str) -> Iterator[Draft]:
    found = [_SAID.match(line.rstrip("\r\n")) for line in lines]
    # Whoever writes the month first is found out by a 13th to 31st in second place.
    month_first = any(said and int(said[2]) > 12 for said in found)  # noqa: PLR2004  # months
    told: list[tuple[re.Match[str], list[str]]] = []
    for line, said in zip(lines, found, strict=True):
        if said:
            told.append((said, [said[9]]))
        elif told:
            told[-1][1].append(line.rstrip("\r\n"))
    if not told:
        raise InvalidInput(f"{source} holds no line such as [12/03/2025, 14:05] Marta: hello; name its --format")
    for position, (said, text) in enumerate(told):
        words = "\n".join(text).strip()
        if words:
            when = _when(said, month_first=month_first, source=source)
            yield Draft(
                text=words,
                session=source,
                position=position,
                speaker=said[8].strip(),
                occurred_at=when,
                metadata={"source": source},
            )


def _when(said: re.Match[str], *, month_first: bool, source: str) -> datetime:
    first, second, year, hour, minute, seconds = (int(said[n] or 0) for n in range(1, 7))
    month, day = (first, second) if month_first else (second, first)
    if said[7]:
        hour = hour % 12 + 12 * (said[7].lower() == "p")
    try:
        return datetime(year + 2000 * (year < 100), month, day, hour, minute, seconds, tzinfo=UTC)  # noqa: PLR2004
    except ValueError as error:
        raise InvalidInput(f"{source} has a message of no known day: {said[0][:30]!r}") from error


def _exported(text: str, source: str) -> Iterator[Draft]:
    export = _parsed(text, source)
    conversations = export if isinstance(export, list) else [export]
    if conversations and all(
        isinstance(entry, Mapping) and {"role", "text", "content"} & set(entry) for entry in conversations
    ):
        conversations = [{"messages": conversations}]
    for number, conversation in enumerate(conversations, start=1):
        if not isinstance(conversation, Mapping) or not {"messages", "mapping"} & set(conversation):
            raise InvalidInput(f"{source} is no chat export: a conversation has messages, or a mapping of them")
        label = str(conversation.get("title") or conversation.get("name") or f"{source} {number}")
        mapping = conversation.get("mapping")
        turns = _mapped(mapping) if isinstance(mapping, Mapping) else conversation.get("messages")
        if not isinstance(turns, list):
            raise InvalidInput(f"{source} is no chat export: the messages of {label!r} are no list")
        position = 0
        for turn in turns:
            entry = {**turn, "text": _words(turn)} if isinstance(turn, Mapping) else turn
            if isinstance(entry, Mapping) and not (entry["text"].strip() or entry.get("caption")):
                continue
            yield _draft(_without_ids(entry), f"{label!r} in {source}", session=label, position=position)
            position += 1


def _without_ids(turn: Any) -> Any:  # noqa: ANN401  # JSON
    # Numbers of messages are their own within one conversation only.
    return (
        {k: v for k, v in turn.items() if k not in {"id", "type", "text_entities"}}
        if isinstance(turn, Mapping)
        else turn
    )


def _mapped(mapping: Mapping[str, Any]) -> list[dict[str, object]]:
    """The messages of a tree of them that have words, in the order of time."""
    turns: list[dict[str, object]] = []
    for node in mapping.values():
        match node:
            case {
                "message": {"author": {"role": "user" | "assistant" as role}, "content": {"parts": [*parts]}} as said
            }:
                words = "\n".join(part for part in parts if isinstance(part, str))
                turns.append({"role": role, "text": words, "occurred_at": said.get("create_time")})
    return sorted(turns, key=lambda turn: at if isinstance(at := turn["occurred_at"], int | float) else 0.0)


def _words(turn: Mapping[str, Any]) -> str:
    """The text of a message, also where it comes in pieces."""
    told = turn.get("text", turn.get("content", turn.get("message")))
    if isinstance(told, list):
        pieces = [piece.get("text") if isinstance(piece, Mapping) else piece for piece in told]
        return "".join(piece for piece in pieces if isinstance(piece, str))
    return told if isinstance(told, str) else ""


def _draft(entry: object, where: str, *, session: str, position: int) -> Draft:
    if not isinstance(entry, Mapping):
        raise InvalidInput(f"{where} must be an object with a text, got {type(entry).__name__}")
    values: dict[str, Any] = {"session": session, "position": position}
    metadata: dict[str, object] = {}
    for name, value in entry.items():
        field = name if name in _FIELDS else _ALIASES.get(name, "")
        if not field:
            metadata[name] = value
        elif value is not None:
            values[field] = _moment(value, where) if field in _MOMENTS else value
    if str(values.get("speaker", "")).lower() in _ROLES and "role" not in values:
        values["role"] = values.pop("speaker").lower()
    given = values.pop("metadata", {})
    try:
        return Draft(**values, metadata={**metadata, **given} if isinstance(given, Mapping) else given)
    except UMSError as error:
        raise type(error)(f"{where}: {error}") from error


def _moment(value: object, where: str) -> datetime:
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        moment = datetime.fromisoformat(str(value))
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidField(f"{where}: {value!r} is no moment; write 2026-03-02T07:38:00+00:00") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _parsed(text: str, where: str) -> Any:  # noqa: ANN401  # JSON
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{where} is not JSON that can be read: {error}") from error


def _is_json(line: str) -> bool:
    try:
        _parsed(line, "")
    except InvalidInput:
        return False
    return True
