"""How a memory on the device becomes one of the global side."""

from collections.abc import Callable
from dataclasses import dataclass

from ums_core.records import Draft

__all__ = ["Promotion", "said"]


@dataclass(frozen=True, slots=True)
class Promotion:
    """How personal memories become global ones.

    Attributes:
        redact: given what policy lets through of a memory, returns what may be published of it, or None for nothing.
        consent: shown exactly what would be sent; only True sends it.
        move: whether the personal memory is deleted once the global one is stored.
    """

    redact: Callable[[Draft], Draft | None]
    consent: Callable[[Draft], bool]
    move: bool = False


def said(draft: Draft) -> str:
    """All that a draft says, its vectors too, which its repr leaves out: another one is another promotion."""
    vectors = (draft.embedding, *(passage.vector for passage in draft.passages))
    return repr((draft, [None if vector is None else [float(number) for number in vector] for vector in vectors]))
