"""Drafts become rows: split, embedded, checked, and given an identity."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from ums_core.errors import DimensionMismatch, EmbedderMismatch, InvalidText, InvalidVector
from ums_core.ports.embedder import Embedder, EmbedderIdentity
from ums_core.ports.ledger import Row
from ums_core.records import Draft, Memory, Passage, Query
from ums_core.records.assembled import assembled
from ums_core.records.memory import TEXT, WHOLE, Vector

__all__ = ["CALLER", "Ingest", "Prepared", "new_id", "unit_rows"]

CALLER = "caller"
MAX_PASSAGES = 2**16
_MIN_NORM = 1e-12
_SHORT, _LONG = 1e-6, 1e30
_FLOAT32 = np.dtype(np.float32)

Split = Callable[[str, Embedder], list[tuple[int, int]]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch ready to be written.

    Attributes:
        rows: one a draft, in their order.
        identities: the embedder that each modality's vectors come from.
    """

    rows: list[Row]
    identities: dict[str, EmbedderIdentity]


@dataclass(slots=True)
class _Plan:
    """The passages of a batch, flat; those without a vector are embedded together."""

    passages: list[list[Passage]]
    places: dict[str, list[tuple[int, int]]]
    given: dict[str, list[Vector]]
    to_embed: list[tuple[int, int]]
    texts: list[str]


class Ingest:
    """Turns drafts into rows.

    Args:
        embedder: for texts that come without a vector; None stores them for keyword search alone.
        binding: what a modality of the database is bound to.
        dim_of: the dimension of a caller's vectors of a modality that is not bound yet.
        split: spans of a text that fit the embedder's window.
        clock: the current time in UTC.
    """

    def __init__(
        self,
        embedder: Embedder | None,
        binding: Callable[[str], EmbedderIdentity | None],
        dim_of: Callable[[str], int],
        split: Split,
        clock: Callable[[], datetime],
    ) -> None:
        self.embedder = embedder
        self.next_embedder: Embedder | None = None
        self._binding = binding
        self._dim_of = dim_of
        self._split = split
        self._clock = clock

    def towards(self, embedder: Embedder) -> "Ingest":
        """An ingest that embeds for a database which is still to be bound to the embedder; this one learns of it."""
        self.next_embedder = embedder
        return Ingest(embedder, lambda _modality: None, self._dim_of, self._split, self._clock)

    def prepare(self, drafts: Sequence[Draft]) -> Prepared:
        """Check and embed a whole batch, or raise and have done nothing.

        Raises:
            InvalidVector, DimensionMismatch, InvalidText: the first draft that cannot be stored, by its place.
            EmbedderMismatch: the database is bound to another embedder.
        """
        plan = self._plan(drafts)
        identities = self._identities(plan)
        vectors: list[list[npt.NDArray[np.float32]]] = [[] for _ in drafts]
        slots: dict[tuple[int, int], npt.NDArray[np.float32]] = {}
        for modality, given in plan.given.items():
            units = unit_rows(given, identities[modality], modality)
            slots.update(zip(plan.places[modality], units, strict=True))
        if plan.texts and self.embedder is not None:
            slots.update(zip(plan.to_embed, self.embedder.embed_documents(plan.texts), strict=True))
        for number, passages in enumerate(plan.passages):
            vectors[number] = [slots[number, ordinal] for ordinal in range(len(passages))]
        now = self._clock()
        rows = [
            Row(memory=_memory(draft, passages, now), vectors=held, fresh=draft.id is None)
            for draft, passages, held in zip(drafts, plan.passages, vectors, strict=True)
        ]
        return Prepared(rows, identities)

    def passages(self, draft: Draft) -> tuple[Passage, ...]:
        """The passages that a draft is stored in, without their vectors."""
        return _bare(self._passages(draft))

    def dim(self, modality: str) -> int:
        """How many components a vector of the modality has here, also before the first one."""
        bound = self._binding(modality)
        if bound is None and modality == TEXT and self.embedder is not None:
            bound = self.embedder.identity
        return self._dim_of(modality) if bound is None else bound.dim

    def query_vector(self, query: Query, text: str) -> tuple[EmbedderIdentity, npt.NDArray[np.float32]] | None:
        """A unit vector for a question and what it may be compared with; None where there is nothing or no embedder.

        Args:
            query: its own vector counts, if it has one.
            text: what is embedded, if it has none.

        Raises:
            InvalidVector, DimensionMismatch: the caller's vector cannot be compared with the stored ones.
            EmbedderMismatch: the text would be embedded by another embedder than the stored texts were.
        """
        bound = self._binding(query.modality)
        if query.vector is not None:
            identity = bound or EmbedderIdentity(CALLER, "", self._dim_of(query.modality))
            checked = _unit_row(query.vector, identity, query.modality)
            if checked is None:
                checked = unit_rows([query.vector], identity, query.modality)[0]
            return None if bound is None else (bound, checked)
        if bound is None:
            return None
        if bound.name == CALLER or self.embedder is None or query.modality != TEXT:
            if query.mode == "vector":
                raise EmbedderMismatch(
                    f"the {query.modality} vectors of this database come from {bound}, and no embedder here can make "
                    "one of a text: give vector=, or search with mode='keyword'"
                )
            return None
        return bound, self._bound_to(bound).embed_query(text)

    def _plan(self, drafts: Sequence[Draft]) -> _Plan:
        plan = _Plan([], {}, {}, [], [])
        for number, draft in enumerate(drafts):
            passages = self._passages(draft)
            if len(passages) > MAX_PASSAGES:
                raise InvalidText(
                    f"draft {number} makes {len(passages)} passages, the most is {MAX_PASSAGES}: store it in parts"
                )
            plan.passages.append(passages)
            for ordinal, passage in enumerate(passages):
                vector = draft.embedding if passage.vector is None else passage.vector
                if vector is not None:
                    plan.places.setdefault(passage.modality, []).append((number, ordinal))
                    plan.given.setdefault(passage.modality, []).append(vector)
                else:
                    plan.to_embed.append((number, ordinal))
                    plan.texts.append(passage.of(draft.text))
        return plan

    def _passages(self, draft: Draft) -> list[Passage]:
        if draft.embedding is not None:
            return [Passage(modality=draft.modality)] if draft.modality != TEXT else [WHOLE]
        whole = draft.passages or (WHOLE,)
        if self.embedder is None:
            return [passage for passage in draft.passages if passage.vector is not None]
        if not draft.passages and not draft.text.strip():
            said = draft.caption or ""
            return self._pieces(Passage(text=said), said) if said.strip() else []
        out: list[Passage] = []
        for passage in whole:
            words = passage.of(draft.text)
            if passage.vector is not None:
                out.append(passage)
            elif passage.modality != TEXT or not words.strip():
                raise InvalidVector(
                    f"a {passage.modality} passage without a vector and without words cannot be embedded: give a vector"
                )
            else:
                out += self._pieces(passage, words)
        return out

    def _pieces(self, passage: Passage, words: str) -> list[Passage]:
        embedder = self.embedder
        # A token takes at least one byte, so most texts need no counting.
        if embedder is None or len(words.encode()) < embedder.max_tokens:
            return [passage]
        spans = self._split(words, embedder)
        if len(spans) == 1:
            return [passage]
        if passage.text is not None:
            return [Passage(text=words[start:end]) for start, end in spans]
        return [Passage(start=passage.start + start, end=passage.start + end) for start, end in spans]

    def _identities(self, plan: _Plan) -> dict[str, EmbedderIdentity]:
        identities: dict[str, EmbedderIdentity] = {}
        for modality in plan.given:
            bound = self._binding(modality)
            identities[modality] = bound or EmbedderIdentity(CALLER, "", self._dim_of(modality))
        if plan.texts and self.embedder is not None:
            bound = self._binding(TEXT)
            if bound is not None:
                self._bound_to(bound)
            identities[TEXT] = bound or self.embedder.identity
        return identities

    def _bound_to(self, bound: EmbedderIdentity) -> Embedder:
        """The embedder that the database is bound to: the configured one, or at the end of a move the next one."""
        for embedder in (self.embedder, self.next_embedder):
            if embedder is not None and embedder.identity == bound:
                return embedder
        configured = None if self.embedder is None else self.embedder.identity
        remedy = (
            "give embedding= with each draft"
            if bound.name == CALLER
            else f"set AI_MODEL__EMBEDDER to {bound.name.partition('/')[0]!r}"
        )
        raise EmbedderMismatch(
            f"the text vectors of this database come from {bound}, the configured embedder is {configured}: {remedy}, "
            "or move the database with store.reembed()"
        )


def unit_rows(vectors: Sequence[Vector], identity: EmbedderIdentity, modality: str) -> npt.NDArray[np.float32]:
    """Unit rows, shape (n, d) float32, from a caller's vectors.

    Raises:
        DimensionMismatch: a vector of another length.
        InvalidVector: not a row of numbers, NaN, infinite, or zero.
    """
    if len(vectors) == 1 and (unit := _unit_row(vectors[0], identity, modality)) is not None:
        return unit[None]
    matrix: npt.NDArray[np.float32] = np.empty(0, np.float32)
    with np.errstate(over="ignore"), suppress(TypeError, ValueError, OverflowError):
        matrix = np.array(vectors, dtype=np.float32)
    if matrix.ndim != 2 or matrix.shape[1] != identity.dim:  # noqa: PLR2004  # rows and columns
        matrix = np.array([_row(each, place, identity, modality) for place, each in enumerate(vectors)], np.float32)
    norms = np.sqrt(np.einsum("ij,ij->i", matrix, matrix, dtype=np.float64))
    bad = ~((norms > _MIN_NORM) & np.isfinite(norms))
    if bad.any():
        place = int(bad.argmax())
        finite = np.isfinite(matrix[place]).all()
        reason = "has no length, so no direction to compare: leave it out" if finite else "holds NaN or infinity"
        raise InvalidVector(f"{modality} vector {place} {reason}")
    matrix /= norms[:, None]
    return matrix


def _unit_row(vector: Vector, identity: EmbedderIdentity, modality: str) -> npt.NDArray[np.float32] | None:
    """The only vector of a write or a search, without float64; None where its length is no ordinary one."""
    row = _row(vector, 0, identity, modality)
    # Of the products of two vectors this is the one that does not warn where it becomes infinite.
    square = float(np.vdot(row, row))
    return row / square**0.5 if _SHORT < square < _LONG else None


def _row(vector: Vector, place: int, identity: EmbedderIdentity, modality: str) -> npt.NDArray[np.float32]:
    if isinstance(vector, np.ndarray) and vector.dtype == _FLOAT32:
        row = np.asarray(vector)
    else:
        try:
            # What does not fit becomes infinite, and is found by its length.
            with np.errstate(over="ignore"):
                row = np.array(vector, _FLOAT32)
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidVector(f"{modality} vector {place} is not a row of numbers: {error}") from error
    if row.ndim != 1:
        raise InvalidVector(f"{modality} vector {place} must be one row of numbers, got an array of shape {row.shape}")
    if len(row) != identity.dim:
        raise DimensionMismatch(
            f"{modality} vector {place} has {len(row)} components, this database takes those of {identity}: "
            "use the embedder that made the others, or set AI_MODEL__VECTOR_DIM before the first write"
        )
    return row


def new_id() -> str:
    """A new id: 32 hexadecimal digits, ascending by millisecond, as the first 48 bits of a UUIDv7 (RFC 9562)."""
    return f"{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"


def _bare(passages: Sequence[Passage]) -> tuple[Passage, ...]:
    return tuple(
        Passage(modality=p.modality, start=p.start, end=p.end, text=p.text) if p.vector is not None else p
        for p in passages
    )


def _memory(draft: Draft, passages: Sequence[Passage], now: datetime) -> Memory:
    created_at = draft.created_at or now
    return assembled(
        Memory,
        {
            "id": draft.id or new_id(),
            "namespace": draft.namespace,
            "text": draft.text,
            "role": draft.role,
            "tags": draft.tags,
            "metadata": draft.metadata,
            "level": draft.level,
            "modality": draft.modality,
            "importance": draft.importance,
            "emotional_intensity": draft.emotional_intensity,
            "valence": draft.valence,
            "created_at": created_at,
            "updated_at": now,
            "last_accessed_at": created_at,
            "expires_at": _end(draft, now),
            "source_ids": draft.source_ids,
            "final": draft.final,
            "speaker": draft.speaker,
            "session": draft.session,
            "position": draft.position,
            "occurred_at": draft.occurred_at,
            "passages": _bare(passages),
            "pinned": draft.pinned,
            "ttl_s": draft.ttl_s,
            "valid_from": draft.valid_from,
            "accesses": 0,
            "valid_to": None,
            "archived": None,
            "under": None,
            "batch": None,
            "caption": draft.caption,
        },
    )


def _end(draft: Draft, now: datetime) -> datetime | None:
    if draft.ttl_s is None or draft.expires_at is not None:
        return draft.expires_at
    return now + timedelta(seconds=draft.ttl_s)
