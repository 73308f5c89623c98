"""What stands for a write under its idempotency key, and how its answer is told again."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from ums_core.errors import MemoryNotFound
from ums_core.pipeline.patch import DRAFT_FIELDS
from ums_core.ports.ledger import Transaction
from ums_core.records import Draft, Memory, Passage, Patch

__all__ = ["answer_of", "draft_parts", "existing", "patch_parts", "replayed"]


def draft_parts(draft: Draft) -> list[bytes]:
    """All that a draft asks for, as bytes to digest."""
    plain = {name: getattr(draft, name) for name in DRAFT_FIELDS if name not in {"passages", "caption"}}
    # Left out where there is none: an earlier version knew of no caption, and its keys are to be known again.
    plain |= {} if draft.caption is None else {"caption": draft.caption}
    spans = [[p.modality, p.start, p.end, p.text] for p in draft.passages]
    vectors = [draft.embedding, *(p.vector for p in draft.passages)]
    return [_told([plain, spans]), *(_told(vector) for vector in vectors)]


def patch_parts(patch: Patch) -> list[bytes]:
    """All that a patch asks for, as bytes to digest."""
    return [_told([patch.namespace, patch.id]), *(_told([name, patch.changes[name]]) for name in sorted(patch.changes))]


def answer_of(memory: Memory) -> list[object]:
    """What a memory has beyond its draft: kept with the key, it holds nothing of the text."""
    moments = (memory.created_at, memory.updated_at, memory.last_accessed_at)
    beyond: dict[str, object] = {"accesses": memory.accesses, "ttl_s": memory.ttl_s}
    beyond["expires_at"] = None if memory.expires_at is None else memory.expires_at.isoformat()
    return [memory.id, *(moment.isoformat() for moment in moments), beyond]


def replayed(draft: Draft, passages: Sequence[Passage], answer: Sequence[Any]) -> Memory:
    """The memory that a draft became, from the draft, its passages, and what was kept of the answer."""
    # What an earlier version kept ends with the moments.
    id_, created_at, updated_at, accessed_at, *rest = answer
    beyond: dict[str, Any] = dict(rest[0]) if rest else {}
    if beyond.get("expires_at") is not None:
        beyond["expires_at"] = _moment(beyond["expires_at"])
    values = (
        {name: getattr(draft, name) for name in DRAFT_FIELDS}
        | beyond
        | {
            "id": id_,
            "created_at": _moment(created_at),
            "updated_at": _moment(updated_at),
            "last_accessed_at": _moment(accessed_at),
            "passages": tuple(passages),
        }
    )
    return Memory(**values)


def existing(transaction: Transaction, patches: Sequence[Patch]) -> list[Memory]:
    """The patched memories as they are now.

    Raises:
        MemoryNotFound: one was deleted since the first use of the key.
    """
    found = []
    for patch in patches:
        (memory,) = transaction.get([patch.id], patch.namespace)
        if memory is None:
            raise MemoryNotFound(f"memory {patch.id!r} was updated under this idempotency key, and deleted since")
        found.append(memory)
    return found


def _told(value: object) -> bytes:
    """A value as bytes, the same for the same value; also one that the write is about to refuse."""
    try:
        return json.dumps(value, default=_plain, sort_keys=True).encode()
    except (TypeError, ValueError):
        return repr(value).encode()


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return [str(value.dtype), value.shape, value.tobytes().hex()]
    if isinstance(value, Passage):
        return [value.modality, value.start, value.end, value.text, value.vector]
    return str(value)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
