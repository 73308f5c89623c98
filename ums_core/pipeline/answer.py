"""Ranked rows become hits: with their turns around, within a budget, in the order that was asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ums_core.ranking.pack import estimate_tokens, pack
from ums_core.records import Hit, Memory
from ums_core.records.assembled import assembled
from ums_core.records.memory import Namespace
from ums_core.records.query import Query

__all__ = ["Around", "bare_hit", "shaped", "with_context"]

Around = Mapping[int, tuple[list[int], list[int]]]


@dataclass(frozen=True, slots=True)
class _Session:
    namespace: Namespace
    label: str


def bare_hit(memory: Memory, score: float, similarity: float | None, passage: int, *, reranked: bool | None) -> Hit:
    """A hit without explanation and context."""
    return assembled(
        Hit,
        {
            "memory": memory,
            "score": score,
            "similarity": similarity,
            "passage": passage,
            "signals": None,
            "kind": None,
            "before": (),
            "after": (),
            "channel": None,
            "reranked": reranked,
        },
    )


def with_context(hits: Sequence[tuple[int, Hit]], around: Around, memories: Mapping[int, Memory]) -> list[Hit]:
    """The hits with the turns before and after them, as far as those still exist.

    Args:
        hits: each with its row id.
        around: row ids before and after each, in the order of the conversation.
        memories: what those rows hold.
    """
    return [
        replace(
            hit,
            before=tuple(memories[other] for other in around[rid][0] if other in memories),
            after=tuple(memories[other] for other in around[rid][1] if other in memories),
        )
        for rid, hit in hits
    ]


def shaped(hits: Sequence[Hit], query: Query) -> list[Hit]:
    """What fits into the budget, and then in the order of sessions, if the query asks for either."""
    kept = list(hits) if query.max_tokens is None else _packed(hits, query.max_tokens)
    return _grouped(kept) if query.group == "session" else kept


def _packed(hits: Sequence[Hit], budget: int) -> list[Hit]:
    """The best hits that fit, with their turns around where those fit too; a memory counts once."""
    bare = [replace(hit, before=(), after=()) if hit.before or hit.after else hit for hit in hits]
    numbers: dict[tuple[Namespace, str], int] = {}

    def costs(hit: Hit) -> list[tuple[int, int]]:
        return [
            (numbers.setdefault((memory.namespace, memory.id), len(numbers)), estimate_tokens(memory.text))
            for memory in (*hit.before, hit.memory, *hit.after)
        ]

    ways = list(zip(hits, bare, strict=True))
    taken = pack(([costs(way) for way in each] for each in ways), budget)
    return [each[place] for each, place in zip(ways, taken, strict=True) if place is not None]


def _grouped(hits: Sequence[Hit]) -> list[Hit]:
    """Hits of one session together, as they were said; sessions by their best hit, what has none by itself."""
    groups: dict[_Session | int, list[Hit]] = {}
    for place, hit in enumerate(hits):
        session = hit.memory.session
        key = place if session is None else _Session(hit.memory.namespace, session)
        groups.setdefault(key, []).append(hit)
    return [hit for group in groups.values() for hit in sorted(group, key=_said)]


def _said(hit: Hit) -> tuple[int, float]:
    memory = hit.memory
    return memory.position or 0, (memory.occurred_at or memory.created_at).timestamp()
