"""What is asked, and what comes back."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from ums_core.errors import InvalidQuery
from ums_core.records.check import check_label, check_namespace, check_text, check_time
from ums_core.records.filter import Filter
from ums_core.records.memory import TEXT, Memory, Namespace, Vector

__all__ = ["CHANNELS", "KINDS", "MODES", "SIGNALS", "Channel", "Health", "Hit", "Hits", "Kind", "Mode", "Page", "Query"]

Mode = Literal["hybrid", "vector", "keyword"]
MODES: tuple[Mode, ...] = ("hybrid", "vector", "keyword")
Kind = Literal["dialogue", "assistant", "notes"]
KINDS: tuple[Kind, ...] = ("dialogue", "assistant", "notes")
# What a weight may be given for: the fields of ums_core.ranking.profile.Profile. The first two are the shares.
SHARES = ("dense", "lexical")
SIGNALS = (
    *SHARES,
    *("before", "after_question", "after", "before_2", "after_2", "session"),
    *("named_speaker", "first_person", "question", "answer", "length", "time", "date", "user", "reply"),
)
MAX_CONTEXT = 50
Channel = Literal["personal", "global", "both"]
CHANNELS: tuple[Channel, ...] = ("personal", "global", "both")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A question to a store.

    Attributes:
        text: the question in words; embedded by the store unless ``vector`` is given.
        vector: the question as a vector, shape (d,); alone, it makes a pure vector search.
        namespace: a prefix, matched label by label; ``()`` searches everything.
        k: how many hits at most, from 1.
        filter: a :class:`Filter`, or a plain dict that means equality.
        mode: ``hybrid`` fuses vectors and keywords; ``vector`` and ``keyword`` use one alone.
        modality: which vectors to compare with.
        level: only memories of this level; None is all.
        weights: in place of those of the profile, by the names of its fields. ``dense`` and ``lexical`` are shares,
            non-negative: one alone leaves the other out.
        kind: what the memories are: ``dialogue`` of peers, ``assistant`` for a user with an assistant, ``notes``
            without order. None infers it for each session, from the roles of its memories.
        offset: how many of the best hits are left out, so that pages add up.
        min_score: only hits of at least this score; a cosine in mode ``vector``, elsewhere comparable within an answer.
        diversity: share in [0, 1] of being unlike the hits before, against being a good answer: 1 - lambda of MMR;
            None ranks by score alone.
        recency: the most that age may take from a score, in [0, 1]: what was not used for long ranks lower, by
            ``AI_DYNAMICS__…``; None and 0 leave age out. ``similarity`` stays what it is, ``score`` does not.
        explain: whether each hit says what every signal contributed to its score.
        context: how many turns before and after each hit come with it, up to 50.
        group: ``session`` puts the hits of a session together, as they were said, and sessions in the
            order of their best hit; None keeps the best first.
        max_tokens: estimated tokens of all that comes back, hits and context; what does not fit is left out, and the
            next best is tried.
        include_archived: whether the archive is searched as well, by exact comparison, linear in its size: what was
            summarised, superseded, or forgotten and can still be brought back.
        as_of: answer as of this moment: only what was stored, or valid by its ``valid_from``, and not yet superseded,
            summarised or forgotten by then. Versions that ``add`` and ``update`` replaced are not kept.
        use_cross_encoder: whether a cross-encoder reorders the best hits, about twenty; None leaves it to the setting.
        channel: whom a dual store asks: ``personal`` never leaves the device. A store of one place does not look at it.

    Raises:
        InvalidQuery, InvalidNamespace, InvalidText, InvalidFilter: by the part that is unusable.
    """

    text: str | None = None
    vector: "Vector | None" = field(default=None, compare=False, repr=False)
    namespace: Namespace = ()
    k: int = 10
    filter: Filter | Mapping[str, object] | None = None
    mode: Mode = "hybrid"
    modality: str = TEXT
    level: int | None = None
    weights: Mapping[str, float] | None = None
    kind: Kind | None = None
    offset: int = 0
    min_score: float | None = None
    diversity: float | None = None
    recency: float | None = None
    explain: bool = False
    context: int = 0
    group: Literal["session"] | None = None
    max_tokens: int | None = None
    include_archived: bool = False
    as_of: datetime | None = None
    use_cross_encoder: bool | None = None
    channel: Channel = "personal"

    def __post_init__(self) -> None:
        """Check every field once and bring the filter into its one form."""
        put = object.__setattr__
        if self.text is not None:
            check_text(self.text, "query text")
        if self.vector is None and not (self.text or "").strip():
            raise InvalidQuery("a query needs a text or a vector; this one has neither")
        if self.mode not in MODES:
            raise InvalidQuery(f"mode must be one of {', '.join(MODES)}, got {self.mode!r}")
        if self.mode == "keyword" and not (self.text or "").strip():
            raise InvalidQuery("a keyword search needs a text; give text=, or use mode='vector'")
        if self.channel not in CHANNELS:
            raise InvalidQuery(f"channel must be one of {', '.join(CHANNELS)}, got {self.channel!r}")
        _whole(self.k, "k", 1)
        if self.namespace or not isinstance(self.namespace, tuple):
            put(self, "namespace", check_namespace(self.namespace))
        check_label(self.modality, "modality")
        if self.level is not None and (isinstance(self.level, bool) or not isinstance(self.level, int)):
            raise InvalidQuery(f"level must be an integer or None, got {self.level!r}")
        if self.filter is not None:
            put(self, "filter", Filter.parse(self.filter))
        if self.weights is not None:
            put(self, "weights", _weights(self.weights))
        self._check_answer()
        self._check_rerank()
        self._check_past()

    def _check_answer(self) -> None:
        """Check what shapes the answer; the defaults need no look."""
        if self.kind is not None and self.kind not in KINDS:
            raise InvalidQuery(f"kind must be one of {', '.join(KINDS)} or None, got {self.kind!r}")
        if self.offset != 0 or isinstance(self.offset, bool):
            _whole(self.offset, "offset", 0)
        self._check_scores()
        if not isinstance(self.explain, bool):
            raise InvalidQuery(f"explain must be True or False, got {self.explain!r}")
        if (self.context != 0 or isinstance(self.context, bool)) and _whole(self.context, "context", 0) > MAX_CONTEXT:
            raise InvalidQuery(
                f"context must be at most {MAX_CONTEXT} turns, got {self.context}; scan reads whole sessions"
            )
        if self.group not in (None, "session"):
            raise InvalidQuery(f"group must be 'session' or None, got {self.group!r}")
        if self.max_tokens is not None:
            _whole(self.max_tokens, "max_tokens", 1)
            if self.offset:
                raise InvalidQuery(
                    "max_tokens leaves out what does not fit, so its pages would not add up: give a larger budget "
                    "instead of an offset"
                )

    def _check_scores(self) -> None:
        if self.min_score is not None:
            _finite(self.min_score, "min_score")
        for name, nothing in (("diversity", "relevance alone"), ("recency", "whatever the age")):
            share = getattr(self, name)
            if share is not None and not 0 <= _finite(share, name) <= 1:
                raise InvalidQuery(f"{name} must lie between 0, {nothing}, and 1, got {share!r}")

    def _check_past(self) -> None:
        if not isinstance(self.include_archived, bool):
            raise InvalidQuery(f"include_archived must be True or False, got {self.include_archived!r}")
        if self.as_of is not None:
            check_time(self.as_of, "as_of")
        elif not self.include_archived:
            return
        shapes = ("context", "group", "max_tokens", "diversity", "recency", "explain", "use_cross_encoder")
        shaped = [name for name in shapes if getattr(self, name)]
        if shaped:
            raise InvalidQuery(f"{', '.join(shaped)} cannot be had of the archive; leave it out, or ask what lives")

    def _check_rerank(self) -> None:
        if self.use_cross_encoder is None:
            return
        if not isinstance(self.use_cross_encoder, bool):
            raise InvalidQuery(f"use_cross_encoder must be True, False or None, got {self.use_cross_encoder!r}")
        if self.use_cross_encoder and not (self.text or "").strip():
            raise InvalidQuery("a cross-encoder reads the question; give text=, or leave use_cross_encoder out")


def _whole(value: object, name: str, low: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise InvalidQuery(f"{name} must be an integer of at least {low}, got {value!r}")
    return value


def _finite(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidQuery(f"{name} must be a finite number, got {value!r}")
    return value


def _weights(weights: Mapping[str, float]) -> dict[str, float]:
    if not isinstance(weights, Mapping) or not weights:
        raise InvalidQuery(f"weights must map names of signals to numbers, got {weights!r}; such as {{'dense': 1.0}}")
    for name, value in weights.items():
        if name not in SIGNALS:
            raise InvalidQuery(f"unknown signal {name!r} in weights; known are {', '.join(SIGNALS)}")
        if _finite(value, f"the weight of {name!r}") < 0 and name in SHARES:
            raise InvalidQuery(f"the weight of {name!r} is a share of at least 0, got {value!r}")
    shares = [value for name, value in weights.items() if name in SHARES]
    if shares and not any(shares):
        raise InvalidQuery("at least one of the weights of dense and lexical must be greater than 0")
    return dict(weights)


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One answer.

    Attributes:
        memory: what was found.
        score: higher is better; comparable only within one result.
        similarity: cosine of the query and the best passage, in [-1, 1]; None where no vector was compared.
        passage: which of the memory's passages matched best.
        signals: what each signal contributed, by name; the score is their sum. None unless the query says ``explain``.
        kind: as what the memory was ranked, likewise; None as well where the mode ranks all alike.
        before: the turns before it that ``Query.context`` asks for, in the order of the conversation. Like hits, they
            meet the filter of the query.
        after: the turns after it.
        channel: which side of a dual store it came from; None where one store answered.
        reranked: whether a cross-encoder decided on its place; False where its time did not suffice and the hits keep
            their order, None where it was not asked about this one.
    """

    memory: Memory
    score: float
    similarity: float | None = None
    passage: int = 0
    signals: dict[str, float] | None = None
    kind: Kind | None = None
    before: tuple[Memory, ...] = ()
    after: tuple[Memory, ...] = ()
    channel: Literal["personal", "global"] | None = None
    reranked: bool | None = None


class Hits(list[Hit]):
    """The answer of a dual store: a list of hits that says what it lacks.

    Attributes:
        degraded: why the global side has no part in it although it was asked; None where nothing is missing.
    """

    degraded: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a scan, in the order in which the identities were first stored.

    Attributes:
        memories: at most as many as were asked for.
        cursor: give it to the next ``scan``; None after the last page.
    """

    memories: list[Memory]
    cursor: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a store is.

    Attributes:
        status: ``ok``; ``recovering`` while an index is rebuilt: reads are answered, writes are refused; ``degraded``
            while a sealed database may have been tampered with: as ``recovering``, until the owner accepts it.
        memories: how many are stored.
        seq: number of the last committed change.
        index_seq: number of the last change that the index has taken up, by modality.
        index: kind of index that answers, by modality, such as ``exact`` or ``hnsw``.
        embedder: what the database is bound to, by modality.
        dim: how many components a vector has, by modality; of text also before the first one.
        driver: name and SQLite version of the driver.
        encryption: ``pages`` where the whole file is encrypted, ``fields`` where what it holds is, else ``none``.
        detail: anything else worth a look, in words.
    """

    status: Literal["ok", "recovering", "degraded"]
    memories: int
    seq: int
    index_seq: dict[str, int]
    index: dict[str, str]
    embedder: dict[str, str]
    driver: str
    dim: dict[str, int] = field(default_factory=dict)
    encryption: str = "none"
    detail: tuple[str, ...] = ()
