"""What a history is written in: digests under a key of the database, and the notes of one change."""

import json
import os
from collections.abc import Sequence
from hashlib import blake2b
from struct import Struct
from typing import Any

from ums_core.records.lifecycle import Action

__all__ = ["DIGEST_BYTES", "GENESIS", "Ink", "Noted", "Notes"]

DIGEST_BYTES = 16
_LINK_BYTES = 32
# What the first link continues.
GENESIS = bytes(_LINK_BYTES)

# who, action, birth, row id before and after, batch
Noted = tuple[bytes, Action, int, int, int | None, str | None]

# None among numbers: the least one, which no column holds.
_NONE = -(2**63)
_NUMBERS = Struct("<15q3d")
_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Ink:
    """Keyed digests: whoever has not the key can neither make one nor confirm a guess of what one is of.

    Args:
        key: 32 bytes.
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def digest(self, values: Sequence[Any], salt: bytes) -> bytes:
        """Of what a row says, from the values of ``COLUMNS``; without the salt it tells nothing even with the key.

        Costs some 4 microseconds.
        """
        return blake2b(_content(values), digest_size=DIGEST_BYTES, key=self._key, salt=salt).digest()

    def who(self, nid: int, id_: str) -> bytes:
        """Of an identity."""
        return blake2b(f"{nid}/{id_}".encode(), digest_size=DIGEST_BYTES, key=self._key, person=b"ums/who").digest()

    def aid(self, actor: str) -> int:
        """Of a name, as a positive number."""
        digest = blake2b(actor.encode(), digest_size=8, key=self._key, person=b"ums/actor").digest()
        return int.from_bytes(digest, "little") >> 1

    def link(self, former: bytes, entry: Sequence[Any], actor: str, notes: "Notes") -> bytes:
        """Of a change and all before it: the link before, the first seven values of its entry, who made it, and what.

        Salts are no part of it.
        """
        *plain, removed = entry
        changes = [(who.hex(), *rest) for who, *rest in notes.changes]
        covered = [*plain, removed and removed.hex(), actor, notes.digests.hex(), changes]
        text = _dumps(covered).encode()
        return blake2b(former + text, digest_size=_LINK_BYTES, key=self._key, person=b"ums/link").digest()


class Notes:
    """What one change does to which memories.

    Args:
        ink: writes digests.

    Attributes:
        ink: as given.
        digests: of the rows that came, in the order of their row ids.
        salts: likewise.
        changes: of memories that did not merely come.
    """

    __slots__ = ("changes", "digests", "ink", "salts")

    def __init__(self, ink: Ink) -> None:
        self.ink = ink
        self.digests = bytearray()
        self.salts = bytearray()
        self.changes: list[Noted] = []

    def came(self, rows: Sequence[Sequence[Any]]) -> None:
        """Note rows that came, by the values of ``INSERTED``, in the order of their row ids."""
        salts = os.urandom(DIGEST_BYTES * len(rows))
        for place, values in enumerate(rows):
            self.digests += self.ink.digest(values, salts[DIGEST_BYTES * place : DIGEST_BYTES * (place + 1)])
        self.salts += salts

    def changed(
        self, action: Action, identity: tuple[int, str], birth: int, rids: tuple[int, int], batch: str | None = None
    ) -> None:
        """Note that a memory, by namespace id and id, is in another row, or the same one elsewhere."""
        self.changes.append((self.ink.who(*identity), action, birth, *rids, batch))

    def gone(self, action: Action, nid: int, rows: Sequence[tuple[int, str, int]], batch: str | None = None) -> None:
        """Note that memories went, by row id, id and birth."""
        self.changes += [(self.ink.who(nid, id_), action, birth, rid, None, batch) for rid, id_, birth in rows]


def _content(values: Sequence[Any]) -> bytes:
    """What a row says, as bytes that no other content has, the same of what is written and of what is read back."""
    (
        _, _, nid, id_, text, role, tags, metadata, level, modality, importance, emotional_intensity, valence, created,
        updated, _, _, source_ids, _, speaker, session, position, occurred, _, pinned, _, valid_from, ttl, caption, *_,
    ) = values  # fmt: skip
    numbers = _NUMBERS.pack(
        nid, level, created, updated, pinned,
        _NONE if position is None else position,
        _NONE if occurred is None else occurred,
        _NONE if valid_from is None else valid_from,
        _NONE if ttl is None else ttl,
        len(id_), len(text), len(modality),
        _NONE if role is None else len(role),
        _NONE if speaker is None else len(speaker),
        _NONE if session is None else len(session),
        # SQLite keeps no negative zero.
        importance + 0.0, emotional_intensity + 0.0, valence + 0.0,
    )  # fmt: skip
    # Of tags, metadata and sources, JSON or nothing, each ends where the next one begins, and all else is the caption.
    texts = (
        id_,
        text,
        modality,
        role or "",
        speaker or "",
        session or "",
        tags or "",
        metadata or "",
        source_ids or "",
        *(() if caption is None else (caption,)),
    )
    return numbers + "\0".join(texts).encode()
