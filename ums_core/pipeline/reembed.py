"""Moves a database to another embedder: prepared aside in batches, taken over at once."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from ums_core.errors import InvalidText
from ums_core.pipeline.ingest import Ingest
from ums_core.ports.embedder import EmbedderIdentity
from ums_core.ports.tending import Progress
from ums_core.records import Draft, Memory, Passage
from ums_core.records.memory import TEXT

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Aside", "reembed"]

BATCH = 256

Kept = tuple[int, Sequence[Passage], "Sequence[npt.NDArray[np.float32]]"]


class Aside(Protocol):
    """Where new vectors wait."""

    def aim(self, identity: EmbedderIdentity) -> int:
        """Note where the move goes, and return how many memories take part; -1 if one of them has no words."""
        ...

    def pending(self, limit: int) -> list[tuple[int, Memory]]:
        """Some memories that still need a new vector."""
        ...

    def keep(self, rows: Sequence[Kept]) -> None:
        """Put new passages aside, durably."""
        ...

    def kept(self) -> int:
        """How many memories have their new vectors."""
        ...

    def switch(self, identity: EmbedderIdentity, last: Callable[[Sequence[tuple[int, Memory]]], list[Kept]]) -> int:
        """Embed what came meanwhile, take over everything, and return how many memories moved."""
        ...


def reembed(aside: Aside, ingest: Ingest, identity: EmbedderIdentity, progress: Progress | None) -> int:
    """Embed every text anew and switch; killed at any point, the next call goes on where this one was.

    Raises:
        InvalidText: a memory has a text vector but no words; delete it or give it a text first.
    """
    total = aside.aim(identity)
    if total < 0:
        raise InvalidText(
            "some memories have a text vector but no text, so no other embedder can take them: "
            "delete them or give them a text, then call reembed() again"
        )

    def embedded(rows: Sequence[tuple[int, Memory]]) -> list[Kept]:
        prepared = ingest.prepare(
            [Draft(text=memory.text, caption=memory.caption, passages=_wanted(memory)) for _, memory in rows]
        )
        return [(rid, row.memory.passages, row.vectors) for (rid, _), row in zip(rows, prepared.rows, strict=True)]

    while rows := aside.pending(BATCH):
        aside.keep(embedded(rows))
        if progress is not None:
            progress(aside.kept(), total)
    return aside.switch(identity, embedded)


def _wanted(memory: Memory) -> tuple[Passage, ...]:
    own = [p for p in memory.passages if p.modality == TEXT]
    # Slices of the text were cut for the former model's window: cut the whole text anew.
    return tuple(own) if any(p.text is not None for p in own) else ()
