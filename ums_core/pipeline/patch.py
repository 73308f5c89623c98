"""Patches become whole drafts, given what the patched memories are now."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from ums_core.errors import MemoryNotFound
from ums_core.ports.ledger import Transaction
from ums_core.records import Draft, Memory, Namespace, Patch

__all__ = ["DRAFT_FIELDS", "patched"]

# An embedding is one of the passages of a stored memory; a store is of one channel.
DRAFT_FIELDS = tuple(entry.name for entry in fields(Draft) if entry.name not in {"embedding", "channel"})
_CONTENT = {"text", "embedding", "passages"}


def patched(transaction: Transaction, patches: Sequence[Patch]) -> list[Draft]:
    """A draft for each patch: the memory as it is now, with the changes of this and the patches before it.

    Raises:
        MemoryNotFound: there is no such memory.
        InvalidInput: a changed value that a draft would refuse.
    """
    drafts: dict[tuple[Namespace, str], Draft] = {}
    for patch in patches:
        identity = (patch.namespace, patch.id)
        draft = drafts.get(identity)
        if draft is None:
            (memory,) = transaction.get([patch.id], patch.namespace, vectors=True)
            if memory is None:
                raise MemoryNotFound(f"no memory {patch.id!r} in namespace {patch.namespace!r}; nothing was changed")
            draft = _draft_of(memory)
        changes: dict[str, Any] = dict(patch.changes)
        if _CONTENT & set(changes) or ("caption" in changes and _embeds_caption(draft)):
            # The passages belong to the former content.
            changes = {"passages": (), "embedding": None} | changes
        if "ttl_s" in changes:
            # It counts from now.
            changes = {"expires_at": None} | changes
        drafts[identity] = replace(draft, **changes)
    return [drafts[patch.namespace, patch.id] for patch in patches]


def _embeds_caption(draft: Draft) -> bool:
    """Whether the passages are those of a caption that stands in place of a text."""
    said = None if draft.text.strip() else draft.caption
    return said is not None and any(passage.text and passage.text in said for passage in draft.passages)


def _draft_of(memory: Memory) -> Draft:
    return Draft(**{name: getattr(memory, name) for name in DRAFT_FIELDS})
