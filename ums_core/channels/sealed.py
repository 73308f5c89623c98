"""Opens sealed databases: the envelope beside the file, the key that fits, and what production asks for."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import BinaryIO

from ums_core.crypto import DataKey, Envelope, Fields, Files, envelope_path
from ums_core.errors import DatabaseEncrypted, InvalidInput, KeyMissing, SettingsError, WrongKey
from ums_core.ports import FileSeal, Header, KeySource, SealedReader, SealedWriter
from ums_core.ports.sealed import KeyState, Sealing
from ums_core.settings import UnifiedSettings
from ums_core.storage.codec import holds_fields
from ums_core.storage.database import Database
from ums_core.storage.files import prepare_directory, swept
from ums_core.storage.folding import Pace
from ums_core.storage.plain import is_plain, not_encrypted

__all__ = ["Keys", "check_production", "keys_of", "open_database"]

_OTHERS = 0o007
_GONE = "{} exists, and its keys in {} do not: restore them from their backup"


def check_production(settings: UnifiedSettings) -> None:
    """Refuse to open, where ``AI_ENV`` is ``production``, what everybody could read.

    Raises:
        SettingsError: no key, encryption off, or a directory open to everybody.
    """
    if settings.env != "production":
        return
    security, directory = settings.security, settings.database.path.resolve().parent
    if not security.sealed and not security.allow_unsealed:
        raise SettingsError(
            "AI_ENV=production opens no store that is not sealed: give AI_SECURITY__ENCRYPTION_KEY or a key service, "
            "or say AI_SECURITY__ALLOW_UNSEALED=true"
        )
    if security.sealed and not security.encrypt_at_rest and not security.allow_unsealed:
        raise SettingsError(
            "AI_ENV=production encrypts whole files: set AI_SECURITY__ENCRYPT_AT_REST=true, "
            "or say AI_SECURITY__ALLOW_UNSEALED=true for fields alone"
        )
    if directory.exists() and directory.stat().st_mode & _OTHERS:
        raise SettingsError(f"{directory} is open to every user of this machine: chmod 700 {directory}")


def keys_of(settings: UnifiedSettings, source: Callable[[], KeySource]) -> "Keys | None":
    """The keys of the database that the settings name, made where neither it nor they exist; None for a plain one.

    Args:
        settings: where the database is, and whether it is sealed.
        source: what wraps its keys; called only where it is sealed.

    Raises:
        DatabaseEncrypted: there are keys, and the settings ask for a plain database.
        DatabaseNotEncrypted: the database is plain, and the settings ask for a sealed one.
        KeyMissing: the database is encrypted, and its keys are gone.
        KeyFailure: the source gives no key; a subclass tells why.
    """
    path, security = settings.database.path, settings.security
    envelope_file = envelope_path(path)
    if not security.sealed:
        if settings.database.encrypted:
            raise SettingsError(
                "the database URL asks for SQLCipher, and there is no key: give AI_SECURITY__ENCRYPTION_KEY, "
                "or a key service with AI_SECURITY__KMS_BACKEND"
            )
        # Keys beside a plain file are those of an encryption that was cut off before it began to replace the file.
        if envelope_file.exists() and (not is_plain(path) or holds_fields(path)):
            raise DatabaseEncrypted(
                f"{path} has keys in {envelope_file.name}, so it is sealed: give AI_SECURITY__ENCRYPTION_KEY or its "
                "key service; nothing was written"
            )
        return None
    pages = settings.pages
    if envelope_file.exists():
        return Keys(Envelope.open(envelope_file, source()), pages=pages)
    if is_plain(path):
        raise KeyMissing(_GONE.format(path, envelope_file.name)) if holds_fields(path) else not_encrypted(path)
    if path.exists() and path.stat().st_size:
        raise KeyMissing(_GONE.format(path, envelope_file.name))
    wraps = source()
    prepare_directory(path)
    try:
        return Keys(Envelope.create(envelope_file, wraps), pages=pages)
    except InvalidInput:
        # Another process was quicker.
        return Keys(Envelope.open(envelope_file, wraps), pages=pages)


def open_database(settings: UnifiedSettings, clock: Callable[[], datetime], keys: "Keys | None") -> Database:
    """The database under the key that opens it; one whose rotation was cut off between two steps is seen through.

    Raises:
        WrongKey: none of its keys opens it.
        StorageError: the file cannot be used; a subclass tells why.
    """

    def make(sealing: Sealing | None) -> Database:
        database = Database(
            settings.database.path,
            clock,
            Pace(
                checkpoint_writes=settings.database.wal_checkpoint_writes,
                checkpoint_interval_s=settings.database.wal_checkpoint_interval,
                busy_timeout_s=settings.database.busy_timeout,
            ),
            sealing,
        )
        database.vector_type = settings.database.vector_type
        return database

    if keys is None:
        return make(None)
    pending = keys.envelope.pending
    try:
        database = make(keys.sealing)
    except WrongKey:
        if pending is None or not keys.pages:
            raise
        database = make(keys.sealing_by(pending))
        keys.promote(pending.key_id)
    # Nobody converts what is open: a copy that is there was left, perhaps readable, by a decryption that was killed.
    swept(settings.database.path)
    return database


class Keys:
    """The keys of one database, out of its envelope: a :class:`~ums_core.ports.sealed.KeyRing`, and what seals files.

    Args:
        envelope: opened.
        pages: whether the whole file is encrypted.
    """

    def __init__(self, envelope: Envelope, *, pages: bool) -> None:
        self.envelope = envelope
        self.pages = pages
        self._fields = Fields(envelope.database_id, lambda: envelope.keys, envelope.reload)

    @property
    def files(self) -> FileSeal:
        """Seals files with the key that is active at that moment."""
        return _Files(self.envelope)

    @property
    def sealing(self) -> Sealing:
        """The keys that the database is under."""
        return self.sealing_by(self.envelope.active)

    def state(self) -> KeyState:
        """Where the keys stand; it asks the source how it is."""
        status = self.envelope.status()
        pending = self.envelope.pending
        return KeyState(
            mode="pages" if self.pages else "fields",
            active=self.envelope.active.key_id,
            pending=None if pending is None else pending.key_id,
            former=tuple(key.key_id for key in status.keys if key.state == "retired"),
            detail=() if status.source.reachable else status.source.detail,
        )

    def begin(self) -> Sealing:
        """The keys that a rotation leads to, on the disk before they are used."""
        return self.sealing_by(self.envelope.begin())

    def promote(self, key_id: str) -> None:
        """Everything in the database is under the keys of that id."""
        self.envelope.promote(key_id)

    def refresh(self) -> None:
        """Take up what other processes changed."""
        self.envelope.reload()

    def retire(self) -> None:
        """Nothing is under former keys any more: destroy them."""
        for key_id in self.state().former:
            # Another process may have been quicker.
            with suppress(InvalidInput):
                self.envelope.retire(key_id)

    def destroy(self) -> None:
        """Destroy every key."""
        self.envelope.destroy()

    def sealing_by(self, key: DataKey) -> Sealing:
        """What one of the keys, the active or the pending one, is to the database."""
        if not self.pages:
            return Sealing(database_id=key.database_id, key_id=key.key_id, fields=self._fields, keys=self)
        others = [other for other in self.envelope.keys if other.key_id != key.key_id]
        return Sealing(
            database_id=key.database_id,
            key_id=key.key_id,
            page_key=key.derive("pages"),
            anchor_keys=tuple(each.derive("anchor") for each in (key, *others)),
            keys=self,
        )


class _Files:
    """Seals with what the envelope holds now: a rotation exchanges the key while an index keeps its seal."""

    def __init__(self, envelope: Envelope) -> None:
        self._envelope = envelope

    def writer(self, file: BinaryIO, header: Header) -> SealedWriter:
        return self._files().writer(file, header)

    def reader(self, file: BinaryIO) -> SealedReader:
        return self._files().reader(file)

    def _files(self) -> FileSeal:
        return Files(*self._envelope.keys)
