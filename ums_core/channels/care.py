"""What is done to a whole database from outside: backup and restore, encryption of a plain one, and back."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from os import PathLike
from pathlib import Path

from ums_core.channels.keys import key_source
from ums_core.channels.sealed import Keys, check_production, keys_of, open_database
from ums_core.crypto import Envelope, envelope_path, private_file
from ums_core.crypto.sealed_file import about
from ums_core.errors import (
    DatabaseEncrypted,
    DatabaseNotEncrypted,
    InvalidInput,
    KeyCorrupt,
    KeyFailure,
    KeyMissing,
    NotADatabase,
    SealBroken,
)
from ums_core.ports import FileSeal, Header
from ums_core.ports.sealed import Sealing
from ums_core.ports.tending import Progress
from ums_core.records.arguments import check_callbacks
from ums_core.settings import UnifiedSettings
from ums_core.storage.anchor import anchor_path
from ums_core.storage.codec import Codec, codec_of, holds_fields
from ums_core.storage.connect import Connection, Connector, load_driver
from ums_core.storage.copies import (
    Checked,
    checked,
    connector_of,
    copied,
    database_id_of,
    in_place,
    without_snapshots,
)
from ums_core.storage.database import Database
from ums_core.storage.exclusive import alone, changed_kind, exclusive
from ums_core.storage.files import copy_path, prepare_directory, replace_durably, temporary
from ums_core.storage.guard import Guard
from ums_core.storage.plain import is_plain
from ums_core.storage.refit import fields_opened, fields_sealed

__all__ = ["Backup", "back_up", "decrypt_store", "encrypt_store", "restore_store"]

_CHUNK = 1 << 20
# In the header of a backup: its key file, as it was.
_KEYS = "keys"
# Beyond that there is no room for it, after some hundred rotations; then the one beside the backup is the only one.
_MAX_KEYS = 32 << 10


@dataclass(frozen=True, kw_only=True)
class Backup:
    """What a backup holds.

    Attributes:
        path: the file; where it is sealed, its wrapped keys are in it, and beside it, named ``.keys.json``.
        seq: number of the last change in it.
        memories: how many there are in it.
        sealed: whether it can be read without its key.
    """

    path: Path
    seq: int
    memories: int
    sealed: bool


def back_up(database: Database, path: str | PathLike[str], progress: Progress | None = None) -> Backup:
    """Copy an open database into a file, and check the copy; see ``LocalStore.backup``."""
    path = _file(path)
    sealing = database.guard.sealing
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
        # The keys and the file that they open are one, whoever rotates meanwhile, and whatever lies beside it.
        sealing.keys.refresh()
        keys = private_file.read(envelope_path(database.path))
        header: dict[str, object] = {"kind": "backup", "seq": found[0], "memories": found[1]}
        header |= {_KEYS: keys.decode()} if len(keys) <= _MAX_KEYS else {}
        with temporary(copy) as sealed:
            _seal(copy, sealed, sealing.keys.files, header, _halves(progress, copy.stat().st_size))
            _write_keys(keys, envelope_path(path))
            replace_durably(sealed, path)
    return Backup(path=path, seq=found[0], memories=found[1], sealed=True)


def _seal(copy: Path, sealed: Path, seal: FileSeal, header: Header, told: Callable[[int], None]) -> None:
    """Seal a copy, and prove it from the disk, before it takes the place of an older backup."""
    with copy.open("rb") as content, sealed.open("r+b") as file:
        writer = seal.writer(file, header)
        while chunk := content.read(_CHUNK):
            writer.write(chunk)
            told(len(chunk))
        writer.close()
    with sealed.open("rb") as file, copy.open("rb") as content:
        for chunk in seal.reader(file).chunks():
            if content.read(len(chunk)) != chunk:
                raise SealBroken(f"{sealed} is not what was written into it; nothing was replaced")
            told(len(chunk))


def _halves(progress: Progress | None, size: int) -> Callable[[int], None]:
    """Tells of pieces of a file that is gone through twice."""
    done = 0

    def told(piece: int) -> None:
        nonlocal done
        done += piece
        if progress is not None:
            progress(done, 2 * size)

    return told


def restore_store(
    backup: str | PathLike[str],
    settings: UnifiedSettings | None = None,
    *,
    replace: bool = False,
    progress: Progress | None = None,
) -> Backup:
    """Put the content of a backup where the settings say, sealed as it was, and return what it holds.

    The backup is opened and every page checked before anything is replaced. The indexes are built anew at the next
    opening. Killed in between, call it again.

    Args:
        backup: as ``LocalStore.backup`` wrote it.
        settings: where to, and with which key; None reads the environment and ``.env``.
        replace: whether a database that is there may be overwritten.
        progress: told how many bytes were read, and of how many.

    Raises:
        InvalidInput: there is a database, and it may not be replaced.
        DatabaseEncrypted, DatabaseNotEncrypted: the backup is sealed and the settings name no key, or the reverse.
        SealBroken, NotADatabase: the backup is damaged.
        DatabaseBusy: the database is open somewhere.
        KeyFailure: the source gives no key.
    """
    backup = _file(backup)
    check_callbacks(progress=progress)
    settings = settings or UnifiedSettings()
    check_production(settings)
    path = settings.database.path
    if not replace and any(file.exists() and file.stat().st_size for file in (path, envelope_path(path))):
        raise InvalidInput(f"there is a database at {path}, or its keys; say replace=True (--replace) to overwrite it")
    if not backup.exists():
        raise InvalidInput(f"there is no backup {backup}")
    prepare_directory(path)
    with temporary(path) as copy, temporary(envelope_path(copy)) as own:
        keys = _keys_of_backup(backup, settings, own)
        size = backup.stat().st_size
        with backup.open("rb") as file, copy.open("r+b") as content:
            chunks = iter(lambda: file.read(_CHUNK), b"") if keys is None else keys.files.reader(file).chunks()
            for chunk in chunks:
                content.write(chunk)
                if progress is not None:
                    progress(min(file.tell(), size), size)
        found = checked(copy, None if keys is None else keys.sealing.page_key)
        with _closed(path, settings):
            _take_over(copy, path, None if keys is None else keys.envelope.path)
    _accept(settings)
    return Backup(path=path, seq=found[0], memories=found[1], sealed=keys is not None)


def encrypt_store(settings: UnifiedSettings | None = None, *, progress: Progress | None = None) -> Checked:
    """Seal the plain database that the settings name, in its place, and return its last change and its size.

    Its pages are encrypted, or its fields sealed, as the settings say.

    Index snapshots are removed first, and built anew at the next opening. The plain file is overwritten with zeros;
    what file systems, SSDs and backups keep of it is out of reach. Killed at any moment, one of both is there as a
    whole: call it again if it is the plain one.

    Args:
        settings: where it is, and with which key; None reads the environment and ``.env``.
        progress: told how many steps are done, and of how many: copied, checked, replaced.

    Raises:
        InvalidInput: there is no database, or it is encrypted already.
        DatabaseBusy: it is open somewhere.
        KeyFailure: the source gives no key.
    """
    check_callbacks(progress=progress)
    settings = settings or UnifiedSettings()
    path = settings.database.path
    if not settings.security.sealed:
        raise InvalidInput("there is no key to encrypt with: give AI_SECURITY__ENCRYPTION_KEY, or a key service")
    if not is_plain(path) or holds_fields(path):
        raise InvalidInput(f"{path} is no plain database; nothing was changed")
    identity = database_id_of(path)
    file = envelope_path(path)
    source = key_source(settings.security)
    made = Envelope.open(file, source) if file.exists() else Envelope.create(file, source, database_id=identity)
    sealing = Keys(made, pages=settings.pages).sealing
    plain = connector_of(path, None, settings.database.busy_timeout)
    without_snapshots(path)
    if settings.pages:
        target = connector_of(copy_path(path), sealing.page_key)
        changed_kind(plain, target, _exported, progress)
    else:
        codec = _codec(path, sealing)
        target = Connector(copy_path(path), plain.driver, codec.setup)
        changed_kind(plain, target, partial(fields_sealed, codec=codec, guard=Guard(plain, sealing)), progress)
    _accept(settings)
    return checked(path, sealing.page_key)


def decrypt_store(settings: UnifiedSettings | None = None, *, progress: Progress | None = None) -> Checked:
    """Decrypt the database that the settings name, in its place, and destroy its keys; the inverse of encryption.

    Raises:
        InvalidInput: there is nothing to decrypt.
        DatabaseBusy: it is open somewhere.
        TamperSuspected: nobody accepted the database as it is.
        KeyFailure: the source gives no key.
    """
    check_callbacks(progress=progress)
    settings = settings or UnifiedSettings()
    path = settings.database.path
    if not envelope_path(path).exists():
        raise InvalidInput(f"{path} is not sealed; nothing was changed")
    envelope = Envelope.open(envelope_path(path), key_source(settings.security))
    plain = is_plain(path)
    # A plain file beside keys, and nothing sealed in it, is what a decryption left that was killed at the end.
    if not plain or holds_fields(path):
        keys = Keys(envelope, pages=not plain)
        _disturbed(settings, keys)
        without_snapshots(path)
        fill = partial(fields_opened, codec=_codec(path, keys.sealing)) if plain else _exported
        sealed = connector_of(path, keys.sealing.page_key, settings.database.busy_timeout)
        changed_kind(sealed, connector_of(copy_path(path), None), fill, progress)
    found = checked(path, None)
    anchor_path(path).unlink(missing_ok=True)
    envelope.destroy()
    return found


def _file(path: object) -> Path:
    if not isinstance(path, str | PathLike):
        raise InvalidInput(f"a backup is named by a path, got {type(path).__name__}")
    try:
        # What the file system cannot name is found here, and not half-way.
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            Path(path).stat()
    except (OSError, ValueError) as error:
        raise InvalidInput(f"no file can be called {str(path)[:80]!r}: {error}; name the backup otherwise") from error
    return Path(path)


def _exported(connection: Connection, target: Connector) -> None:
    target.export_from(connection)
    copy = target.open(writable=True)
    try:
        # Of the anchor that the former file had, or of none.
        copy.execute("DELETE FROM meta WHERE key = 'anchored'")
        copy.execute("PRAGMA journal_mode=DELETE")
    finally:
        copy.close()


def _disturbed(settings: UnifiedSettings, keys: Keys) -> None:
    """See that a sealed database is the one that was left here, and note that its file is going to change."""
    database = open_database(settings, lambda: datetime.now(UTC), keys)
    database.close()
    database.guard.refuse()
    database.guard.disturbed()


def _codec(path: Path, sealing: Sealing) -> Codec:
    codec = codec_of(path, load_driver(encrypting=True), sealing)
    assert codec is not None  # noqa: S101  # asked only where fields are sealed
    return codec


def _keys_of_backup(backup: Path, settings: UnifiedSettings, own: Path) -> Keys | None:
    """The keys of a backup: those beside it, where they open it, or those that it came with, written into a file."""
    beside = envelope_path(backup)
    if not is_plain(backup):
        if not settings.security.sealed:
            raise DatabaseEncrypted(f"{backup} is sealed: give AI_SECURITY__ENCRYPTION_KEY or its key service")
        with backup.open("rb") as file:
            key_id, header = about(file)
        own.write_bytes(str(header.get(_KEYS, "")).encode())
        source, problem = key_source(settings.security), None
        for path in (beside, own):
            try:
                envelope = Envelope.open(path, source)
            except (KeyCorrupt, KeyMissing) as error:
                problem = error
                continue
            if key_id in {key.key_id for key in envelope.keys}:
                return Keys(envelope, pages=settings.pages)
        raise NotADatabase(
            f"{backup} is sealed by the key {key_id}, and no keys that it came with hold it"
        ) from problem
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
            stack.enter_context(alone(path, settings.database.busy_timeout, certainly=True))
        yield


def _connector(path: Path, settings: UnifiedSettings) -> Connector:
    if not path.exists() or not path.stat().st_size:
        raise NotADatabase(f"{path} is empty")
    keys = keys_of(settings, lambda: key_source(settings.security))
    return connector_of(path, None if keys is None else keys.sealing.page_key, settings.database.busy_timeout)


def _take_over(copy: Path, path: Path, envelope: Path | None) -> None:
    anchor_path(path).unlink(missing_ok=True)
    if envelope is None:
        envelope_path(path).unlink(missing_ok=True)
    else:
        _write_keys(private_file.read(envelope), envelope_path(path))
    in_place(copy, path)


def _write_keys(content: bytes, target: Path) -> None:
    with temporary(target) as copy:
        with copy.open("r+b") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        replace_durably(copy, target)


def _accept(settings: UnifiedSettings) -> None:
    """Open the database once, and take it for what it is: whoever put it there knows."""
    keys = keys_of(settings, lambda: key_source(settings.security))
    database = open_database(settings, lambda: datetime.now(UTC), keys)
    database.accept()
    database.close()
