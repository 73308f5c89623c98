"""What is remembered: a draft before it is stored, a memory after, a patch to change one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ums_core.errors import InvalidField, InvalidText
from ums_core.records.check import (
    check_flag,
    check_label,
    check_metadata,
    check_namespace,
    check_number,
    check_text,
    check_time,
    check_whole,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["TEXT", "WHOLE", "Archived", "Draft", "Memory", "Namespace", "Passage", "Patch", "Vector"]

Namespace: TypeAlias = tuple[str, ...]
Vector: TypeAlias = "Sequence[float] | npt.NDArray[np.float32]"
Archived: TypeAlias = Literal["consolidated", "forgotten", "superseded"]
TEXT = "text"
# A microsecond, and a hundred years.
_SHORTEST_S, _LONGEST_S = 1e-6, 3_155_760_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """One embedded piece of a memory.

    Attributes:
        modality: what the vector was made from, ``text`` unless said otherwise.
        start: first character of the piece in the memory's text.
        end: one past its last character; None is the end of the text.
        text: the embedded text, where it is not a slice of the memory's own.
        vector: shape (d,); None where it was not asked for, or is still to be computed.
    """

    modality: str = TEXT
    start: int = 0
    end: int | None = None
    text: str | None = None
    vector: "Vector | None" = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Check every field once."""
        check_label(self.modality, "modality")
        check_whole(self.start, "start of a passage")
        if self.end is not None:
            check_whole(self.end, "end of a passage", self.start)
        if self.text is not None:
            check_text(self.text, "text of a passage")

    def of(self, text: str) -> str:
        """The words of this passage, given the text of its memory."""
        return text[self.start : self.end] if self.text is None else self.text


# The one passage of a text that needs no splitting.
WHOLE = Passage()


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A memory that is not stored yet.

    Give a ``text``, an ``embedding``, or both; a text without an embedding is embedded by the store, in several
    passages when it is long. What has metadata alone is found by ids and filters, never by a question. Everything
    else is optional.

    Attributes:
        id: identity within the namespace; an existing one is replaced and keeps its ``created_at``. None: made up.
        embedding: the caller's own vector for the whole memory, shape (d,).
        modality: what ``embedding`` was made from.
        role: who speaks in an assistant's dialogue, such as ``user`` or ``assistant``.
        metadata: a JSON object; integers fit 64 bits.
        level: 0 for what was said or learned, higher for summaries of lower levels.
        importance: in [0, 1].
        emotional_intensity: in [0, 1].
        valence: from -1, unpleasant, to 1, pleasant.
        expires_at: never found from this moment on.
        source_ids: what this memory was made from.
        final: not to be summarised any further.
        speaker: name of the person who said it.
        session: label of the conversation.
        position: place in the session, from 0 or 1, ascending.
        occurred_at: when it was said or happened, where that is not when it was stored.
        passages: the caller's own passages, in place of ``embedding``; those without a vector are embedded.
        pinned: never forgotten.
        ttl_s: seconds that it is kept, from now on, unless ``expires_at`` says another moment; greater than 0.
        valid_from: since when it is true, where that is not since it was stored.
        caption: what a picture that came with it shows, in words; the words find it as those of the text do. It is
            embedded only where there is no text.
        channel: where a dual store puts it: ``personal`` stays on the device. A store of one place does not look at it.

    Raises:
        InvalidInput: a subclass that names the field; see ``ums_core.errors``.
    """

    text: str = ""
    namespace: Namespace = ()
    id: str | None = None
    embedding: "Vector | None" = field(default=None, compare=False, repr=False)
    modality: str = TEXT
    role: str | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)
    level: int = 0
    importance: float = 0.5
    emotional_intensity: float = 0.0
    valence: float = 0.0
    created_at: datetime | None = None
    expires_at: datetime | None = None
    source_ids: tuple[str, ...] = ()
    final: bool = False
    speaker: str | None = None
    session: str | None = None
    position: int | None = None
    occurred_at: datetime | None = None
    passages: tuple[Passage, ...] = ()
    pinned: bool = False
    ttl_s: float | None = None
    valid_from: datetime | None = None
    caption: str | None = None
    channel: Literal["personal", "global"] = "personal"

    def __post_init__(self) -> None:
        """Check every field once, and copy what could be changed behind our back."""
        put = object.__setattr__
        for name, default, check in _CHECKED:
            value = getattr(self, name)
            # What was left out is as it should be; most drafts say little.
            if value is not default:
                put(self, name, check(value, name))
        if self.passages and self.embedding is not None:
            raise InvalidField("give either embedding or passages, not both; put the vector into a Passage")
        said = self.text.strip() or (self.caption or "").strip()
        if not said and self.embedding is None and not self.passages and not self.metadata:
            raise InvalidText("a memory needs a text, a vector or metadata; this one has nothing to be found by")


@dataclass(frozen=True, kw_only=True)
class Memory:
    """One remembered item, as the store holds it. Identity is ``(namespace, id)``.

    Attributes are those of :class:`Draft`, and:

    Attributes:
        created_at: when this identity was first stored.
        updated_at: when it was last replaced or changed.
        last_accessed_at: when it was last reinforced; ``created_at`` until then.
        passages: the embedded pieces; their vectors are present only when asked for.
        accesses: how many spaced uses reinforced it.
        valid_to: until when it was true; None of what still is.
        archived: why it is in the archive, where a search does not look unless told to; None of what is alive.
        under: id of the summary that stands for it, or of the memory that superseded it.
        batch: what it was put into the archive with; ``undo`` takes it.
    """

    id: str
    namespace: Namespace
    text: str
    role: str | None
    tags: tuple[str, ...]
    metadata: dict[str, object]
    level: int
    modality: str
    importance: float
    emotional_intensity: float
    valence: float
    created_at: datetime
    updated_at: datetime
    last_accessed_at: datetime
    expires_at: datetime | None
    source_ids: tuple[str, ...]
    final: bool
    speaker: str | None
    session: str | None
    position: int | None
    occurred_at: datetime | None
    passages: tuple[Passage, ...]
    pinned: bool = False
    ttl_s: float | None = None
    valid_from: datetime | None = None
    accesses: int = 0
    valid_to: datetime | None = None
    archived: Archived | None = None
    under: str | None = None
    batch: str | None = None
    caption: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """A change of one memory: only the fields named in ``changes`` are replaced.

    A changed ``text``, ``embedding`` or ``passages`` embeds the memory anew.

    Raises:
        InvalidField: a field that does not exist, or is not the caller's to change.
    """

    id: str
    namespace: Namespace = ()
    changes: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the identity and the names of the fields; the values are checked with the memory they change."""
        check_label(self.id, "id")
        object.__setattr__(self, "namespace", check_namespace(self.namespace))
        if not isinstance(self.changes, Mapping):
            raise InvalidField(f"changes must be a mapping of field to value, got {type(self.changes).__name__}")
        object.__setattr__(self, "changes", dict(self.changes))
        unknown = sorted(set(self.changes) - _PATCHABLE)
        if unknown:
            raise InvalidField(f"cannot change {unknown}; what can be changed is {sorted(_PATCHABLE)}")


_PATCHABLE = {entry.name for entry in fields(Draft)} - {"id", "namespace", "created_at", "channel"}


def _labels(value: object, what: str) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidField(f"{what} must be a sequence of strings, got {type(value).__name__} {value!r}")
    return tuple(check_label(label, f"each of {what}") for label in value)


def _passages(value: Any, what: str) -> tuple[Passage, ...]:  # noqa: ANN401  # looked at here
    try:
        passages = tuple(value)
    except TypeError as error:
        raise InvalidField(f"{what} must be Passage objects in a list, got {value!r}") from error
    for passage in passages:
        if not isinstance(passage, Passage):
            raise InvalidField(f"{what} must be Passage objects, got {type(passage).__name__}")
    return passages


def _ttl_s(value: object, what: str) -> float:
    # As exact as a moment.
    return round(check_number(value, what, _SHORTEST_S, _LONGEST_S), 6)


def _channel(value: object, what: str) -> object:
    if value not in ("personal", "global"):
        raise InvalidField(f"{what} must be personal or global, got {value!r}")
    return value


_share = partial(check_number, low=0.0, high=1.0)
_CHECKS: dict[str, Callable[[Any, str], object]] = {
    "text": check_text,
    "caption": check_text,
    "namespace": lambda value, _: check_namespace(value),
    **dict.fromkeys(("id", "role", "speaker", "session", "modality"), check_label),
    **dict.fromkeys(("tags", "source_ids"), _labels),
    "metadata": lambda value, _: check_metadata(value),
    **dict.fromkeys(("level", "position"), check_whole),
    **dict.fromkeys(("importance", "emotional_intensity"), _share),
    "valence": partial(check_number, low=-1.0, high=1.0),
    **dict.fromkeys(("final", "pinned"), check_flag),
    "ttl_s": _ttl_s,
    "channel": _channel,
    **dict.fromkeys(("created_at", "expires_at", "occurred_at", "valid_from"), check_time),
    "passages": _passages,
}
_DEFAULTS = {entry.name: entry.default for entry in fields(Draft)}
_CHECKED = tuple((name, _DEFAULTS[name], check) for name, check in _CHECKS.items())
