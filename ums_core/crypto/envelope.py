"""The envelope of a database: its data keys, wrapped, in a file beside it, and the steps of their rotation."""

import hmac
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Self

from ums_core.crypto import private_file
from ums_core.crypto.envelope_file import Document, KeyRecord, SlotName, decoded, encoded, proof_of
from ums_core.crypto.keys import DataKey, context_of, new_database_id, new_key_id
from ums_core.crypto.recovery import RecoverySource
from ums_core.errors import InvalidInput, KeyCorrupt, KeyMissing
from ums_core.ports import KeySource, KeyStatus

__all__ = ["Envelope", "EnvelopeStatus", "envelope_path"]

_ASK_AGAIN_S = 30.0


@dataclass(frozen=True, slots=True)
class EnvelopeStatus:
    """What an envelope holds. It holds no secret.

    Attributes:
        database_id: whose keys they are.
        revision: how often the file was written.
        keys: oldest first, with the wrappings of each.
        recovery: whether there is a recovery code.
        source: how the source is now.
    """

    database_id: str
    revision: int
    keys: tuple[KeyRecord, ...]
    recovery: bool
    source: KeyStatus


def envelope_path(database: Path) -> Path:
    """The envelope file of a database file: ``memory.db.keys.json`` beside ``memory.db``."""
    return database.with_name(f"{database.name}.keys.json")


class Envelope:
    """The data keys of one database. Thread-safe, and safe beside other processes.

    Every change takes the lock of the file, reads what others wrote, and is on the disk as a whole, or not at all, when
    the call returns. ``create`` and ``open`` make it; they need the source. Afterwards only what makes, wraps or meets
    a new key needs it.
    """

    def __init__(self, path: Path, source: KeySource) -> None:
        self.path = path
        self.source = source
        self._lock = threading.RLock()
        self._opened: dict[str, DataKey] = {}
        self._document = Document("", 0, "", ())
        self._told: tuple[float, KeyStatus] | None = None

    @classmethod
    def create(cls, path: Path, source: KeySource, *, database_id: str | None = None) -> Self:
        """A new envelope file with one active data key.

        Raises:
            InvalidInput: the file exists.
            KeyFailure: the source gives no key; a subclass tells why.
        """
        envelope = cls(path, source)
        document = Document(database_id or new_database_id(), 0, "", ())
        with private_file.locked(path):
            if path.exists():
                raise InvalidInput(f"{path} exists and is not overwritten; it may hold the only keys of a database")
            document = envelope._with_new_key(document, "active")  # its own class
            private_file.create(path, envelope._text(document))  # as above
        envelope._document = document
        return envelope

    @classmethod
    def open(cls, path: Path, source: KeySource) -> Self:
        """The envelope in a file, with its active and its pending key unwrapped.

        Raises:
            KeyMissing: there is no such file, or it was wrapped by another source.
            KeyFileUnsafe: others could read or replace it.
            KeyCorrupt: it was changed, or is the file of another database.
            KeyUnavailable, KeyDenied: the source gives no key.
        """
        envelope = cls(path, source)
        envelope.reload()
        return envelope

    @property
    def database_id(self) -> str:
        """Whose keys they are, 32 hexadecimal digits."""
        return self._document.database_id

    @property
    def active(self) -> DataKey:
        """The key that seals."""
        return self.keys[0]

    @property
    def pending(self) -> DataKey | None:
        """The key that will seal once everything is under it; None where no rotation is under way."""
        return (*self.keys, None)[1]

    @property
    def keys(self) -> list[DataKey]:
        """The active key, and the pending one where there is one. Both may be needed to open the database."""
        return [self._opened[record.key_id] for record in self._document.current]

    @property
    def retired(self) -> list[DataKey]:
        """Keys that no longer seal and may still open something, oldest first. Costs a call of the source for each.

        Raises:
            KeyFailure: the source gives no key; a subclass tells why.
        """
        with self._lock:
            document = self._document
            return [self._open(document, key) for key in document.keys if key.state == "retired"]

    def reload(self) -> None:
        """Take up what other processes changed.

        Raises:
            KeyFailure: as ``open``; what was known stays.
        """
        with self._lock:
            self._document = self._read()

    def begin(self) -> DataKey:
        """Begin a rotation: a new pending key, or the one whose rotation was interrupted."""

        def step(document: Document) -> Document:
            return document if document.pending else self._with_new_key(document, "pending")

        self._change(step)
        return self.keys[1]

    def promote(self, key_id: str | None = None) -> None:
        """Everything is under the pending key: it becomes the active one, and the former one is retired.

        Args:
            key_id: the pending key that is meant. Where it is no longer that, another process did this already, and
                may have begun another rotation: nothing happens.

        Raises:
            InvalidInput: no rotation is under way, and no key was named.
        """

        def step(document: Document) -> Document:
            if key_id is not None and (document.pending is None or document.pending.key_id != key_id):
                return document
            if document.pending is None:
                raise InvalidInput(f"{self.path} holds no pending key; begin a rotation first")
            active, pending = replace(document.active, state="retired"), replace(document.pending, state="active")
            return document.with_key(active).with_key(pending)

        self._change(step)

    def abandon(self) -> None:
        """Nothing is under the pending key: destroy it. Without one, nothing happens."""

        def step(document: Document) -> Document:
            pending = document.pending
            return document if pending is None else document.with_key(replace(pending, state="destroyed", slots=()))

        self._change(step)

    def retire(self, key_id: str) -> None:
        """Nothing is under a retired key any more: destroy its wrappings for good.

        The file is replaced: what file systems and SSDs keep of the former one is out of reach, as are its copies.

        Raises:
            InvalidInput: it is not a retired key of this envelope.
        """

        def step(document: Document) -> Document:
            record = document.named(key_id)
            if record is None or record.state != "retired":
                found = f"is {record.state}" if record else "is not in it"
                raise InvalidInput(f"only a retired key can be destroyed, and {key_id} {found}: see ums keys status")
            return document.with_key(replace(record, state="destroyed", slots=()))

        self._change(step)
        self._opened.pop(key_id, None)

    def rewrap(self, progress: Callable[[int, int], None] | None = None) -> int:
        """Bring every wrapping under the newest version of the source's key, and return how many were moved.

        One after the other, each opened and compared before it takes the place of the former; killed, the next call
        goes on where this one was. The data keys stay what they are, and the database is not touched.

        Args:
            progress: told how many keys are done, and of how many.
        """
        self._check_lasting()
        newest = self.source.describe().version
        # In this order: a key that another process begins is either in the file now, or under the newest version.
        self.reload()
        wrapped = [key.key_id for key in self._document.keys if key.state != "destroyed"]
        moved = 0
        for done, key_id in enumerate(wrapped, start=1):
            moved += self._rewrapped(key_id, newest)
            if progress is not None:
                progress(done, len(wrapped))
        return moved

    def move(self, source: KeySource) -> None:
        """Wrap every key by another source, which is the one to open the envelope with from now on."""
        keys = self._all_keys()

        def step(document: Document) -> Document:
            for key in document.keys:
                if key.state != "destroyed":
                    context = context_of(document.database_id, key.key_id)
                    wrapped = source.wrap(keys[key.key_id].secret, context)
                    if source.unwrap(wrapped, context) != keys[key.key_id].secret:
                        raise KeyCorrupt(
                            f"the {source.provider} key {source.key_id!r} does not give back what it wrapped"
                        )
                    document = document.with_key(key.with_slot("main", wrapped))
            return document

        self._change(step)
        self.source = source

    def add_recovery(self, recovery: RecoverySource) -> None:
        """Wrap every key, and every one to come, for a recovery code as well; a former code opens nothing any more."""
        keys = self._all_keys()

        def step(document: Document) -> Document:
            document = replace(document, recovery=recovery.public.hex())
            for key in document.keys:
                if key.state != "destroyed":
                    wrapped = recovery.wrap(keys[key.key_id].secret, context_of(document.database_id, key.key_id))
                    document = document.with_key(key.with_slot("recovery", wrapped))
            return document

        self._change(step)

    def destroy(self) -> None:
        """Destroy every wrapping and the file: what the keys sealed can never be opened again.

        As far as there is no copy: a backup of the file, a snapshot of the file system, the worn cells of an SSD.
        """
        with self._lock, private_file.locked(self.path):
            private_file.destroy(self.path)
            self._opened.clear()

    def status(self) -> EnvelopeStatus:
        """What the envelope holds, and how its source is; the source is asked at most twice a minute."""
        document, told, now = self._document, self._told, time.monotonic()
        if told is None or now - told[0] > _ASK_AGAIN_S:
            told = self._told = now, self.source.describe()
        return EnvelopeStatus(document.database_id, document.revision, document.keys, bool(document.recovery), told[1])

    def _change(self, step: Callable[[Document], Document]) -> None:
        with self._lock, private_file.locked(self.path):
            before = self._read()
            after = step(before)
            self._told = None
            if after != before:
                after = replace(after, revision=before.revision + 1)
                private_file.replace(self.path, self._text(after))
            self._document = after

    def _read(self) -> Document:
        document, proof = decoded(private_file.read(self.path), str(self.path))
        for record in document.current:
            self._open(document, record)
        if not hmac.compare_digest(proof, proof_of(document, self._opened[document.active.key_id])):
            raise KeyCorrupt(
                f"{self.path} was changed by somebody who does not have its key; restore it from its backup"
            )
        return document

    def _open(self, document: Document, record: KeyRecord) -> DataKey:
        known = self._opened.get(record.key_id)
        if known is None or known.database_id != document.database_id:
            name: SlotName = "recovery" if self.source.provider == "recovery" else "main"
            wrapped = record.slot(name)
            if wrapped is None:
                raise KeyMissing(f"{self.path} has no {name} wrapping of the key {record.key_id}")
            if (wrapped.provider, wrapped.key_id) != (self.source.provider, self.source.key_id):
                raise KeyMissing(
                    f"{self.path} was wrapped by the {wrapped.provider} key {wrapped.key_id!r}, and the settings name "
                    f"the {self.source.provider} key {self.source.key_id!r}; name the former one"
                )
            secret = self.source.unwrap(wrapped, context_of(document.database_id, record.key_id))
            known = DataKey(secret, database_id=document.database_id, key_id=record.key_id)
            self._opened[record.key_id] = known
        return known

    def _all_keys(self) -> dict[str, DataKey]:
        with self._lock:
            document = self._read()
            return {key.key_id: self._open(document, key) for key in document.keys if key.state != "destroyed"}

    def _with_new_key(self, document: Document, state: Literal["active", "pending"]) -> Document:
        self._check_lasting()
        key_id = new_key_id()
        context = context_of(document.database_id, key_id)
        secret, wrapped = self.source.generate(context)
        self._opened[key_id] = DataKey(secret, database_id=document.database_id, key_id=key_id)
        record = KeyRecord(key_id, state, _now(), ()).with_slot("main", wrapped)
        if document.recovery:
            recovery = RecoverySource(bytes.fromhex(document.recovery))
            record = record.with_slot("recovery", recovery.wrap(secret, context))
        return document.with_key(record)

    def _rewrapped(self, key_id: str, newest: str) -> bool:
        moved = False

        def step(document: Document) -> Document:
            nonlocal moved
            record = document.named(key_id)
            wrapped = record.slot("main") if record else None
            if record is None or wrapped is None or (newest and wrapped.version == newest):
                return document
            context = context_of(document.database_id, key_id)
            fresh = self.source.rewrap(wrapped, context)
            if self.source.unwrap(fresh, context) != self._open(document, record).secret:
                raise KeyCorrupt(f"the {fresh.provider} key {fresh.key_id!r} does not give back what it wrapped anew")
            moved = True
            return document.with_key(record.with_slot("main", fresh))

        self._change(step)
        return moved

    def _check_lasting(self) -> None:
        if self.source.provider == "recovery":
            raise InvalidInput(
                f"{self.path} was opened by its recovery code: give it a lasting key first, by ums keys move"
            )

    def _text(self, document: Document) -> bytes:
        return encoded(document, self._opened[document.active.key_id])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
