"""What is done to a whole database from outside: backup and restore, encryption of a plain one, and back."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path

from ums_core.channels.keys import key_source
from ums_core.channels.sealed import Keys, check_production, keys_of, open_database
from ums_core.crypto import Envelope, envelope_path
from ums_core.errors import DatabaseEncrypted, DatabaseNotEncrypted, InvalidInput, KeyFailure, NotADatabase, SealBroken
from ums_core.settings import UnifiedSettings
from ums_core.storage.anchor import anchor_path
from ums_core.storage.connect import Connector, alone, is_plain, prepare_directory
from ums_core.storage.copies import (
    Checked,
    checked,
    connector_of,
    copied,
    database_id_of,
    in_place,
    temporary,
    without_snapshots,
)
from ums_core.storage.database import Database
from ums_core.storage.exclusive import changed_kind, exclusive
from ums_core.storage.files import replace_durably

__all__ = ["Backup", "back_up", "decrypt_store", "encrypt_store", "restore_store"]

_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Backup:
    """What a backup holds.

    Attributes:
        path: the file; where it is sealed, its keys are in a second one beside it, named ``.keys.json``.
        seq: number of the last change in it.
        memories: how many there are in it.
        sealed: whether it can be read without its key.
    """

    path: Path
    seq: int
    memories: int
    sealed: bool


def back_up(database: Database, path: str | PathLike[str]) -> Backup:
    """Copy an open database into a file, and check the copy; see ``LocalStore.backup``."""
    path = _file(path)
    sealing = database.sealing
    page_key = None if sealing is None else sealing.page_key
    if path.exists() and path.samefile(database.path):
        raise InvalidInput(f"{path} is the database itself; name another file for its backup")
    prepare_directory(path)
    with temporary(path) as copy:
        copied(connector_of(database.path, page_key), copy)
        found = checked(copy, page_key)
        if sealing is None or sealing.keys is None:
            replace_durably(copy, path)
            return Backup(path=path, seq=found[0], memories=found[1], sealed=False)
        header = {"kind": "backup", "seq": found[0], "memories": found[1]}
        with temporary(copy) as sealed:
            with copy.open("rb") as content, sealed.open("r+b") as file:
                writer = sealing.keys.files.writer(file, header)
                while chunk := content.read(_CHUNK):
                    writer.write(chunk)
                writer.close()
            # Proved from the disk, before it takes the place of an older backup.
            with sealed.open("rb") as file, copy.open("rb") as content:
                for chunk in sealing.keys.files.reader(file).chunks():
                    if content.read(len(chunk)) != chunk:
                        raise SealBroken(f"{sealed} is not what was written into it; nothing was replaced")
            _copy_keys(envelope_path(database.path), envelope_path(path))
            replace_durably(sealed, path)
    return Backup(path=path, seq=found[0], memories=found[1], sealed=True)


def restore_store(
    backup: str | PathLike[str], settings: UnifiedSettings | None = None, *, replace: bool = False
) -> Backup:
    """Put the content of a backup where the settings say, sealed as it was, and return what it holds.

    The backup is opened and every page checked before anything is replaced. The indexes are built anew at the next
    opening. Killed in between, call it again.

    Args:
        backup: as ``LocalStore.backup`` wrote it.
        settings: where to, and with which key; None reads the environment and ``.env``.
        replace: whether a database that is there may be overwritten.

    Raises:
        InvalidInput: there is a database, and it may not be replaced.
        DatabaseEncrypted, DatabaseNotEncrypted: the backup is sealed and the settings name no key, or the reverse.
        SealBroken, NotADatabase: the backup is damaged.
        DatabaseBusy: the database is open somewhere.
        KeyFailure: the source gives no key.
    """
    backup = _file(backup)
    settings = settings or UnifiedSettings()
    check_production(settings)
    path = settings.database.path
    if not replace and any(file.exists() and file.stat().st_size for file in (path, envelope_path(path))):
        raise InvalidInput(f"there is a database at {path}, or its keys; say replace=True (--replace) to overwrite it")
    if not backup.exists():
        raise InvalidInput(f"there is no backup {backup}")
    keys = _keys_of_backup(backup, settings)
    prepare_directory(path)
    with temporary(path) as copy:
        with backup.open("rb") as file, copy.open("r+b") as content:
            chunks = iter(lambda: file.read(_CHUNK), b"") if keys is None else keys.files.reader(file).chunks()
            for chunk in chunks:
                content.write(chunk)
        found = checked(copy, None if keys is None else keys.sealing.page_key)
        with _closed(path, settings):
            _take_over(copy, path, None if keys is None else envelope_path(backup))
    _accept(settings)
    return Backup(path=path, seq=found[0], memories=found[1], sealed=keys is not None)


def encrypt_store(settings: UnifiedSettings | None = None) -> Checked:
    """Encrypt the plain database that the settings name, in its place, and return its last change and its size.

    Index snapshots are removed first, and built anew at the next opening. The plain file is overwritten with zeros;
    what file systems, SSDs and backups keep of it is out of reach. Killed at any moment, one of both is there as a
    whole: call it again if it is the plain one.

    Raises:
        InvalidInput: there is no database, or it is encrypted already.
        DatabaseBusy: it is open somewhere.
        KeyFailure: the source gives no key.
    """
    settings = settings or UnifiedSettings()
    path = settings.database.path
    if not settings.security.sealed:
        raise InvalidInput("there is no key to encrypt with: give AI_SECURITY__ENCRYPTION_KEY, or a key service")
    if not is_plain(path):
        raise InvalidInput(f"{path} is no plain database; nothing was changed")
    identity = database_id_of(path)
    file = envelope_path(path)
    source = key_source(settings.security)
    made = Envelope.open(file, source) if file.exists() else Envelope.create(file, source, database_id=identity)
    keys = Keys(made, pages=True)
    without_snapshots(path)
    changed_kind(connector_of(path, None), keys.sealing.page_key)
    _accept(settings)
    return checked(path, keys.sealing.page_key)


def decrypt_store(settings: UnifiedSettings | None = None) -> Checked:
    """Decrypt the database that the settings name, in its place, and destroy its keys; the inverse of encryption.

    Raises:
        InvalidInput: there is nothing to decrypt.
        DatabaseBusy: it is open somewhere.
        KeyFailure: the source gives no key.
    """
    settings = settings or UnifiedSettings()
    path = settings.database.path
    if not envelope_path(path).exists():
        raise InvalidInput(f"{path} is not sealed; nothing was changed")
    envelope = Envelope.open(envelope_path(path), key_source(settings.security))
    # A plain file beside keys is what a decryption left that was killed at the end.
    if not is_plain(path):
        without_snapshots(path)
        changed_kind(connector_of(path, Keys(envelope, pages=True).sealing.page_key), None)
    found = checked(path, None)
    anchor_path(path).unlink(missing_ok=True)
    envelope.destroy()
    return found


def _file(path: object) -> Path:
    if not isinstance(path, str | PathLike):
        raise InvalidInput(f"a backup is named by a path, got {type(path).__name__}")
    return Path(path)


def _keys_of_backup(backup: Path, settings: UnifiedSettings) -> Keys | None:
    if envelope_path(backup).exists():
        if not settings.security.sealed:
            raise DatabaseEncrypted(f"{backup} is sealed: give AI_SECURITY__ENCRYPTION_KEY or its key service")
        return Keys(Envelope.open(envelope_path(backup), key_source(settings.security)), pages=True)
    if not is_plain(backup):
        raise NotADatabase(f"{backup} is no backup, or its keys in {envelope_path(backup).name} are missing")
    if settings.security.sealed:
        raise DatabaseNotEncrypted(
            f"{backup} is plain, and the settings ask for a sealed database: restore it without AI_SECURITY__… "
            "settings, and then encrypt it with `ums db encrypt`"
        )
    return None


@contextmanager
def _closed(path: Path, settings: UnifiedSettings) -> Iterator[None]:
    """Nobody has the database open for a ``with`` block, as far as one that may be damaged can tell."""
    with ExitStack() as stack:
        try:
            stack.enter_context(exclusive(_connector(path, settings)))
        except (NotADatabase, KeyFailure):
            stack.enter_context(alone(path, certainly=True))
        yield


def _connector(path: Path, settings: UnifiedSettings) -> Connector:
    if not path.exists() or not path.stat().st_size:
        raise NotADatabase(f"{path} is empty")
    keys = keys_of(settings, lambda: key_source(settings.security))
    return connector_of(path, None if keys is None else keys.sealing.page_key)


def _take_over(copy: Path, path: Path, envelope: Path | None) -> None:
    anchor_path(path).unlink(missing_ok=True)
    if envelope is None:
        envelope_path(path).unlink(missing_ok=True)
    else:
        _copy_keys(envelope, envelope_path(path))
    in_place(copy, path)


def _copy_keys(source: Path, target: Path) -> None:
    with temporary(target) as copy:
        with copy.open("r+b") as file:
            file.write(source.read_bytes())
            file.flush()
            os.fsync(file.fileno())
        replace_durably(copy, target)


def _accept(settings: UnifiedSettings) -> None:
    """Open the database once, and take it for what it is: whoever put it there knows."""
    keys = keys_of(settings, lambda: key_source(settings.security))
    database = open_database(settings, lambda: datetime.now(UTC), keys)
    database.accept()
    database.close()
