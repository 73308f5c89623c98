"""Work on a whole database file, with nobody else in it: another key, an encrypted copy in its place, and back."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from filelock import FileLock

from ums_core.errors import DatabaseBusy, NotADatabase
from ums_core.storage.complaint import translated
from ums_core.storage.connect import BUSY_TIMEOUT_S, Connection, Connector
from ums_core.storage.files import replace_durably, sync_directory, temporary

__all__ = ["alone", "changed_kind", "check_alone", "check_pages", "check_rows", "exclusive", "rekey"]

_STEPS = 3
Fill: TypeAlias = Callable[[Connection, Connector], None]


@contextmanager
def alone(path: Path, wait_s: float = BUSY_TIMEOUT_S, *, certainly: bool = False) -> Iterator[None]:
    """Hold the lock file beside a database for a ``with`` block, if it can be had in time.

    Two that turn one file into a database at the same moment would otherwise lock each other out.

    Raises:
        DatabaseBusy: it cannot be had in time, and was to be had ``certainly``.
    """
    lock = FileLock(f"{path}.lock", timeout=wait_s, poll_interval=0.005)
    try:
        lock.acquire()
    except OSError as error:
        if certainly:
            raise DatabaseBusy(f"{path} is being worked on by another process: retry when it is done") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def exclusive(connector: Connector) -> Iterator[Connection]:
    """The only connection to a database for a ``with`` block; it has no write-ahead log meanwhile.

    Raises:
        DatabaseBusy: another connection has the file open, in this process or in another one.
        StorageError: the file cannot be opened.
    """
    with alone(connector.path, connector.wait_s, certainly=True), translated(connector.path):
        connection = connector.open(writable=True)
        try:
            run = connection.execute
            run("PRAGMA wal_checkpoint(TRUNCATE)")
            # To leave the log behind takes a lock that no other open connection allows.
            check_alone(run("PRAGMA journal_mode=DELETE").fetchone()[0], connector.path)
            run("PRAGMA locking_mode=EXCLUSIVE")
            run("BEGIN EXCLUSIVE")
            run("COMMIT")
            yield connection
        finally:
            connection.close()


def rekey(connector: Connector, page_key: bytes, still: Callable[[], bool] = lambda: True) -> None:
    """Encrypt every page anew with another key, and check each. Killed at any moment, one of both keys opens the file.

    Costs about 1.7 s for 60 MB.

    Args:
        connector: of the database, which nobody has open.
        page_key: 32 bytes.
        still: whether that is the key that it is to be under, asked when nobody else can do the same.

    Raises:
        DatabaseBusy: as ``exclusive``, or another process was quicker.
        StorageError: as ``exclusive``.
    """
    with exclusive(connector) as connection:
        if not still():
            raise DatabaseBusy(f"{connector.path}: another process exchanged its key meanwhile: retry, if need be")
        connector.rekey(connection, page_key)
        check_pages(connection, connector.path)


def changed_kind(
    connector: Connector, target: Connector, fill: Fill, progress: Callable[[int, int], None] | None = None
) -> None:
    """Put a copy of another kind in the place of a database: a sealed one for a plain one, or the reverse.

    The copy is checked before it takes the place. What was there is overwritten with zeros, as far as the file system
    writes in place. Killed before, the old file is whole; killed afterwards, the new one is.

    Args:
        connector: of the database as it is.
        target: of the copy, in a file that ``copy_path`` names; made anew.
        fill: copies, given the only connection to the database, and the target.
        progress: told how many steps are done, and of how many.

    Raises:
        DatabaseBusy, StorageError: as ``exclusive``.
    """
    path = connector.path
    tell = progress or (lambda _done, _total: None)
    with exclusive(connector) as connection, temporary(path) as copy:
        fill(connection, target)
        tell(1, _STEPS)
        checked = target.open(writable=False)
        try:
            check_pages(checked, copy)
            check_rows(connection, checked, copy)
        finally:
            checked.close()
        tell(2, _STEPS)
        with path.open("r+b") as old:
            replace_durably(copy, path)
            _overwrite(old.fileno())
    for beside in ("-wal", "-shm", "-journal"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + beside).unlink()
    sync_directory(path.parent)
    tell(_STEPS, _STEPS)


def check_pages(connection: Connection, path: Path) -> None:
    """Check every page and the rows in them.

    Raises:
        NotADatabase: something is damaged.
    """
    run = connection.execute
    said = [row[0] for row in run("PRAGMA integrity_check").fetchall() if row[0] != "ok"]
    # Only of an encrypted file; there is nothing to say of a plain one.
    said += [row[0] for row in run("PRAGMA cipher_integrity_check").fetchall()]
    if said:
        raise NotADatabase(f"{path} is damaged: {said[0]}; restore a backup")


def check_rows(original: Connection, copy: Connection, path: Path) -> None:
    """Whether a copy holds as many rows as what it was made of.

    Raises:
        NotADatabase: it does not.
    """
    for table in ("memories", "passages", "journal", "kv"):
        count = f"SELECT count(*) FROM {table}"
        if copy.execute(count).fetchone() != original.execute(count).fetchone():
            raise NotADatabase(f"{path} does not hold every row of {table}; the database was left as it is")


def check_alone(journal_mode: str, path: Path) -> None:
    """Whether a connection is the only one, by the journal that SQLite let it change to.

    Raises:
        DatabaseBusy: it is not.
    """
    if journal_mode != "delete":
        raise DatabaseBusy(f"{path} is open elsewhere: close every other store on it, then retry")


def _overwrite(descriptor: int) -> None:
    """Zeros over a file that has lost its name; whoever still has it open finds that it is no database any more."""
    size, block = os.fstat(descriptor).st_size, bytes(1 << 20)
    for start in range(0, size, len(block)):
        os.pwrite(descriptor, block[: size - start], start)
    os.fsync(descriptor)
