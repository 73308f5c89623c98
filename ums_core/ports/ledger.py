"""Storage as the pipeline sees it: rows with their vectors go in, candidates and memories come out."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from ums_core.ports.embedder import EmbedderIdentity
from ums_core.records import Filter, Memory, Namespace
from ums_core.records.memory import Archived

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ums_core.ports.index import RowSet
    from ums_core.ranking.lexical import WordRows

__all__ = ["Archiving", "Head", "Ledger", "Row", "Transaction", "TurnRow", "VectorType"]

T = TypeVar("T")

# How the components of stored vectors are kept.
VectorType = Literal["float32", "float16", "int8"]


@dataclass(frozen=True, slots=True)
class Head:
    """Where the journal of changes stands.

    Attributes:
        seq: number of the last committed change.
        hi: the largest row id ever given.
    """

    seq: int
    hi: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A memory ready to be written.

    Attributes:
        memory: complete; an existing identity will keep its own ``created_at``.
        vectors: one unit vector for each of the memory's passages, shape (d,) float32; none where it has no passage.
        fresh: whether the id was made up, so that no such identity can exist.
    """

    memory: Memory
    vectors: "Sequence[npt.NDArray[np.float32]]"
    fresh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Archiving:
    """Why memories are put into the archive, and for how long.

    Attributes:
        why: what put them there.
        batch: what they go with, and may come back with.
        until: when they go for good; None is never.
        under: id of the summary or of the successor, in the same namespace.
        valid_to: until when they were true.
    """

    why: Archived
    batch: str
    until: datetime | None = None
    under: str | None = None
    valid_to: datetime | None = None


@dataclass(frozen=True, slots=True)
class TurnRow:
    """What a row says about its place in a conversation.

    Attributes:
        rid: row id.
        nid: which namespace it is in; equal numbers are equal namespaces.
        session: label of the conversation, or None.
        position: place in it, ascending, or None.
        speaker: name of the one who said it, or None.
        role: in an assistant's dialogue, or None.
        telling: how many words of the text tell something.
        cues: what the text does with words, the bits of ``ums_core.ranking.words``.
        moment: when it was said, else stored, in microseconds since 1970.
    """

    rid: int
    nid: int
    session: str | None
    position: int | None
    speaker: str | None
    role: str | None
    telling: int
    cues: int
    moment: int


class Transaction(Protocol):
    """One change in the making: all of it is committed, or none."""

    def bind(self, modality: str, identity: EmbedderIdentity) -> None:
        """Bind the modality of this database to an embedder, or check that it is bound to this one.

        Raises:
            EmbedderMismatch: it is bound to another.
        """
        ...

    def add(self, rows: Sequence[Row]) -> list[Memory]:
        """Insert or replace, and return the memories as stored; of one identity, the last row wins."""
        ...

    def get(self, ids: Sequence[str], namespace: Namespace, *, vectors: bool = False) -> list[Memory | None]:
        """What this transaction sees."""
        ...

    def delete(self, ids: Sequence[str], namespace: Namespace) -> int:
        """Delete, from the archive too, and return how many there were.

        What was archived under a summary that goes becomes live again, unless it goes as well.
        """
        ...

    def archive(self, rids: Sequence[int], archiving: Archiving) -> list[int]:
        """Put those rows that still exist into the archive, and return them."""
        ...

    def restore(self, rids: Sequence[int]) -> int:
        """Make those rows that are in the archive live again, under new row ids, and return how many there were."""
        ...

    def merge(self, rids: Sequence[int], summary: Row, batch: str) -> str | None:
        """Store a summary and archive its sources under it.

        Args:
            rids: the rows of the sources.
            summary: in the namespace of the sources, under an id of its own.
            batch: what ``undo`` is given to take it back.

        Returns:
            None; or why nothing was done, in words: a source was changed or removed since its row was read.
        """
        ...

    def mark_final(self, rids: Sequence[int]) -> None:
        """Mark those rows that still exist as final, in place."""
        ...


class Ledger(Protocol):
    """The canonical store of rows, vectors and keyword terms."""

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run the work in a transaction, durable when this returns; concurrent callers may share one commit.

        The work may run twice, when a neighbour in the shared commit fails, so it must not act outside.
        """
        ...

    def snapshot(self) -> AbstractContextManager[Head]:
        """Let this thread read storage as it is now, for a ``with`` block."""
        ...

    def binding(self, modality: str) -> EmbedderIdentity | None:
        """What the modality is bound to; None before its first write."""
        ...

    def allowed(self, namespace: Namespace, condition: Filter | None, head: Head) -> "RowSet | None":
        """The rows under a namespace prefix that meet a condition, at least up to a change; None is all."""
        ...

    def unexpired(self, namespace: Namespace, condition: Filter | None, head: Head, now: datetime) -> "RowSet":
        """As ``allowed``, without those that have expired."""
        ...

    def rows_with(
        self, text: str, namespace: Namespace, allowed: "RowSet | None", head: Head, *, prune: bool
    ) -> "tuple[list[WordRows], bool]":
        """The rows that hold each word of a text, the rarest word first, and whether all are under the prefix.

        Args:
            text: a question.
            namespace: a prefix; there may be rows of others where it has more than a few namespaces.
            allowed: the rows under it, as far as they are known; where nothing is pruned, others may be left out.
            head: where the journal stands.
            prune: read a bounded number of rows, and of frequent words only those that hold a rarer one too.
        """
        ...

    def head(self) -> Head:
        """The end of the journal, other processes' commits included."""
        ...

    def removed_since(self, seq: int) -> "npt.NDArray[np.int64]":
        """The rows that went after a change, in the order in which they went."""
        ...

    def turns_since(self, seq: int, hi: int) -> "tuple[int, npt.NDArray[np.int64], list[TurnRow]]":
        """Where the journal ends, rows removed after ``seq``, and the rows after row id ``hi``, ascending."""
        ...

    def scopes(self, namespace: Namespace, head: Head) -> list[int] | None:
        """The ids of the namespaces under a prefix; None for the root, and none where there are more than a few."""
        ...

    def namespace_of(self, nid: int) -> Namespace:
        """The labels of a namespace that a row names by its id."""
        ...

    def rows(self, rids: Sequence[int]) -> Mapping[int, Memory]:
        """The memories of those rows that still exist."""
        ...

    def vectors(self, rids: Sequence[int]) -> "Mapping[int, list[npt.NDArray[np.float32]]]":
        """The vectors of each row's passages, in their order."""
        ...
