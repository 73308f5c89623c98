"""The LoCoMo conversations and questions, typed, with their known dirt counted instead of scored.

Format: ``locomo10.json`` of Maharana et al., ACL 2024. The data are CC BY-NC 4.0 and not part of UMS.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from ums_core.errors import InvalidInput

__all__ = ["CATEGORIES", "Conversation", "Dataset", "Question", "Skipped", "Turn", "load"]

CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop", 5: "adversarial"}
_DATE = "%I:%M %p on %d %B, %Y"
_DIALOG_ID = re.compile(r"D([0-9]{1,9}):([0-9]{1,9})")
_SESSION = re.compile(r"session_([0-9]{1,9})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one person said.

    Attributes:
        dia_id: such as ``D3:12``, the 12th turn of session 3, without leading zeros.
        position: place in the session, from 0.
        caption: of the photo that came with it, ``""`` without one.
        occurred_at: start of the session, read as UTC; the data name no time zone. None where none is given.
        role: ``user`` or ``assistant`` where the data are of an assistant's dialogue.
    """

    dia_id: str
    session: str
    position: int
    speaker: str
    text: str
    caption: str
    occurred_at: datetime | None
    role: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question and the turns that answer it; ``gold`` is never empty and names only turns that exist."""

    text: str
    category: int
    gold: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """All sessions of two people in their order, and the questions about them."""

    sample_id: str
    turns: tuple[Turn, ...]
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """What was left out.

    Attributes:
        no_evidence: questions that name no evidence.
        no_usable_evidence: questions whose evidence is all malformed or unknown.
        malformed_ids: evidence that is not of the form ``D3:12``.
        unknown_ids: evidence that names a turn that does not exist.
    """

    no_evidence: int
    no_usable_evidence: int
    malformed_ids: int
    unknown_ids: int

    def __str__(self) -> str:
        """The counts in one sentence."""
        return (
            f"skipped {self.no_evidence} questions without evidence and {self.no_usable_evidence} without usable "
            f"evidence; dropped {self.malformed_ids} malformed and {self.unknown_ids} unknown evidence ids"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """The conversations of one file, and what was skipped."""

    conversations: tuple[Conversation, ...]
    skipped: Skipped


def load(path: Path) -> Dataset:
    """The conversations of a file in the format of ``locomo10.json``.

    An evidence string may join several ids by spaces, commas or semicolons; leading zeros are dropped, so that
    ``D30:05`` means ``D30:5``. What cannot be used is counted, see :class:`Skipped`.

    Raises:
        InvalidInput: the file cannot be read, is not JSON, or is not in this format; the message says where.
    """
    try:
        samples = json.loads(path.read_bytes())
    except OSError as e:
        raise InvalidInput(f"cannot read {path}: {e.strerror}") from e
    except (ValueError, RecursionError) as e:
        raise InvalidInput(f"{path} is not JSON: {e}") from e
    if not isinstance(samples, list) or not samples:
        raise InvalidInput(f"{path} is not in LoCoMo's format: expected a list of samples, got {_kind(samples)}")
    reader = _Reader(path)
    conversations = tuple(reader.conversation(sample, f"sample {place}") for place, sample in enumerate(samples))
    repeated = [name for name, count in Counter(c.sample_id for c in conversations).items() if count > 1]
    if repeated:
        reader.fail("samples", f"sample_id {repeated[0]!r} is used twice")
    return Dataset(conversations=conversations, skipped=reader.skipped())


class _Reader:
    """Reads the samples of one file, counts what it skips, and names the file in its errors."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._counts: Counter[str] = Counter()

    def skipped(self) -> Skipped:
        return Skipped(
            no_evidence=self._counts["no_evidence"],
            no_usable_evidence=self._counts["no_usable_evidence"],
            malformed_ids=self._counts["malformed_ids"],
            unknown_ids=self._counts["unknown_ids"],
        )

    def conversation(self, sample: object, where: str) -> Conversation:
        sample = self._object(sample, where)
        sample_id = self._text(sample, "sample_id", where)
        where = f"sample {sample_id!r}"
        turns = self._turns(self._object(sample.get("conversation"), f"{where}, conversation"), where)
        known = {turn.dia_id for turn in turns}
        if len(known) != len(turns):
            self.fail(where, "a dia_id is used twice")
        questions = sample.get("qa")
        if not isinstance(questions, list):
            self.fail(where, f"qa must be a list, got {_kind(questions)}")
        read = (self._question(item, f"{where}, question {place}", known) for place, item in enumerate(questions))
        return Conversation(sample_id=sample_id, turns=tuple(turns), questions=tuple(q for q in read if q is not None))

    def _turns(self, conversation: Mapping[str, object], where: str) -> list[Turn]:
        numbers = sorted(int(match[1]) for match in map(_SESSION.fullmatch, conversation) if match)
        if not numbers:
            self.fail(where, "there is no session_1")
        return [turn for number in numbers for turn in self._session(conversation, f"session_{number}", where)]

    def _session(self, conversation: Mapping[str, object], session: str, where: str) -> list[Turn]:
        items = conversation.get(session)
        if not isinstance(items, list):
            self.fail(where, f"{session} must be a list of turns, got {_kind(items)}")
        date = self._text(conversation, f"{session}_date_time", where)
        try:
            occurred_at = datetime.strptime(date.strip(), _DATE).replace(tzinfo=UTC)
        except ValueError:
            self.fail(where, f"{session}_date_time must look like '1:56 pm on 8 May, 2023', got {date!r}")
        turns: list[Turn] = []
        for position, entry in enumerate(items):
            place = f"{where}, {session}, turn {position}"
            item = self._object(entry, place)
            turns.append(
                Turn(
                    dia_id=self._dia_id(item, place),
                    session=session,
                    position=position,
                    speaker=self._text(item, "speaker", place),
                    text=self._text(item, "text", place, empty=True),
                    caption=self._text(item, "blip_caption", place, empty=True) if item.get("blip_caption") else "",
                    occurred_at=occurred_at,
                )
            )
        return turns

    def _dia_id(self, item: Mapping[str, object], where: str) -> str:
        name = self._text(item, "dia_id", where)
        canonical = _canonical(name)
        if canonical is None:
            self.fail(where, f"dia_id must look like 'D3:12', got {name!r}")
        return canonical

    def _question(self, item: object, where: str, known: set[str]) -> Question | None:
        item = self._object(item, where)
        text = self._text(item, "question", where)
        category = item.get("category")
        if type(category) is not int or category not in CATEGORIES:
            self.fail(where, f"category must be one of {', '.join(map(str, CATEGORIES))}, got {category!r}")
        named = _split(item.get("evidence"))
        if not named:
            self._counts["no_evidence"] += 1
            return None
        ids = [_canonical(name) for name in named]
        gold = tuple(dict.fromkeys(dia_id for dia_id in ids if dia_id in known))
        self._counts["malformed_ids"] += ids.count(None)
        self._counts["unknown_ids"] += sum(dia_id is not None and dia_id not in known for dia_id in ids)
        if not gold:
            self._counts["no_usable_evidence"] += 1
            return None
        return Question(text=text, category=category, gold=gold)

    def _object(self, value: object, where: str) -> Mapping[str, object]:
        if not isinstance(value, dict):
            self.fail(where, f"expected an object, got {_kind(value)}")
        return value

    def _text(self, item: Mapping[str, object], key: str, where: str, *, empty: bool = False) -> str:
        value = item.get(key)
        if not isinstance(value, str) or not (value.strip() or empty):
            self.fail(where, f"{key} must be a string{'' if empty else ' that is not empty'}, got {value!r:.60}")
        return value

    def fail(self, where: str, what: str) -> NoReturn:
        raise InvalidInput(f"{self._path} is not in LoCoMo's format: {where}: {what}")


def _split(evidence: object) -> list[str]:
    entries = evidence if isinstance(evidence, list) else [] if evidence is None else [evidence]
    return [name for entry in entries for name in re.split(r"[\s,;]+", str(entry)) if name]


def _canonical(name: str) -> str | None:
    match = _DIALOG_ID.fullmatch(name)
    return f"D{int(match[1])}:{int(match[2])}" if match else None


def _kind(value: object) -> str:
    return "nothing" if value is None or value == [] else type(value).__name__
