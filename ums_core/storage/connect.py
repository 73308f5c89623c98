"""The one place that opens SQLite: driver, key, pragmas, and the pool of readers."""

import re
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from ums_core.errors import (
    DatabaseEncrypted,
    MissingExtra,
    StorageError,
    StoreClosed,
    WrongKey,
)
from ums_core.storage import forks
from ums_core.storage.complaint import Told, explain, translated
from ums_core.storage.files import has_content, stamps
from ums_core.storage.plain import is_plain, not_encrypted

__all__ = [
    "BUSY_TIMEOUT_S",
    "Connection",
    "Connector",
    "Reader",
    "load_driver",
    "translated",
]

# The two drivers share the DB-API but no class that a type checker could see.
Connection: TypeAlias = Any

BUSY_TIMEOUT_S = 10.0
_CACHE_KIB = 16 * 1024
# A page that is not in the cache is decrypted again, which costs many times a copy.
_SEALED_CACHE_KIB = 64 * 1024
_SECURE_DELETE_SINCE = (3, 42, 0)
_SECTOR = 512
_HEX_KEY = re.compile(r"[0-9a-f]{64}")


def load_driver(*, encrypting: bool = False) -> ModuleType:
    """``sqlcipher3`` where it is installed, for its newer SQLite, or the standard library's ``sqlite3``.

    Raises:
        MissingExtra: only ``sqlcipher3`` will do, and it is not installed.
    """
    try:
        import sqlcipher3.dbapi2 as newer  # type: ignore[import-untyped]  # noqa: PLC0415  # no types; extra `security`
    except ModuleNotFoundError as missing:
        if encrypting:
            raise MissingExtra("an encrypted database needs SQLCipher: pip install 'ums-core[security]'") from missing
        return sqlite3
    return newer  # type: ignore[no-any-return]  # as above


class Connector:
    """Opens connections to one database file, and keeps idle readers for the next caller.

    Args:
        path: the database file.
        driver: a DB-API module, as ``load_driver`` gives it.
        setup: run on every new connection, to register functions.
        page_key: 32 bytes that SQLCipher encrypts every page with; None for a plain file.
        wait_s: seconds that a connection waits for a lock.

    Attributes:
        told: gives the error of a function of ours that SQL called last.
        newer_key: asked where the key does not fit: the one that it was exchanged for, or None.
        of_parent: whether this process was forked since: SQLite's connections do not pass to a child.

    Raises:
        ValueError: the key has another length.
    """

    def __init__(
        self,
        path: Path,
        driver: ModuleType,
        setup: Callable[[Connection], None],
        page_key: bytes | None = None,
        wait_s: float = BUSY_TIMEOUT_S,
    ) -> None:
        _literal(page_key)
        self.wait_s = wait_s
        self.path = path
        self.driver = driver
        self.setup = setup
        self.told: Told = lambda: None
        self.newer_key: Callable[[], bytes | None] = lambda: None
        self._page_key = page_key
        self._idle: deque[Connection] = deque()
        # Which thread has it, by the connection, or by what stands for one that is being opened.
        self._lent: dict[object, int] = {}
        self._paused = False
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._pinned = _Pinned()
        self._closed = self.of_parent = False
        forks.tell(self)

    @property
    def label(self) -> str:
        """Driver and SQLite version, such as ``sqlcipher3 (SQLite 3.53.4)``."""
        return f"{self.driver.__name__.partition('.')[0]} (SQLite {self.driver.sqlite_version})"

    @property
    def deletes_terms(self) -> bool:
        """Whether FTS5 can delete terms for good (its ``secure-delete`` option)."""
        return tuple(map(int, self.driver.sqlite_version.split("."))) >= _SECURE_DELETE_SINCE

    def open(self, *, writable: bool) -> Connection:
        """A new connection in autocommit mode; it never checkpoints by itself.

        Raises:
            StorageError: by what the driver said.
        """
        try:
            return self._opened(writable=writable)
        except WrongKey:
            newer = self.newer_key()
            if newer is None:
                raise
            self._page_key = newer
        return self._opened(writable=writable)

    def _opened(self, *, writable: bool) -> Connection:
        with translated(self.path):
            connection = self.driver.connect(
                str(self.path), timeout=self.wait_s, isolation_level=None, check_same_thread=False
            )
            try:
                self._unlock(connection)
                run = connection.execute
                run("PRAGMA wal_autocheckpoint=0")
                run(f"PRAGMA cache_size=-{_CACHE_KIB if self._page_key is None else _SEALED_CACHE_KIB}")
                run("PRAGMA temp_store=MEMORY")
                run("PRAGMA trusted_schema=OFF")
                if writable:
                    run("PRAGMA journal_mode=WAL")
                    run("PRAGMA synchronous=FULL")
                    run("PRAGMA secure_delete=ON")
                self.setup(connection)
                if not writable:
                    run("PRAGMA query_only=ON")
            except BaseException:
                connection.close()
                raise
        return connection

    def peek(self, look: Callable[[Connection], object]) -> None:
        """Look at a file that exists, without changing a byte of it; again where somebody writes to it meanwhile.

        Whoever writes without a pause is looked at for as long as a call waits for a lock.

        Raises:
            DatabaseEncrypted, DatabaseNotEncrypted: the file is of the other kind than this connector opens.
            WrongKey: the key does not open it.
            StorageError: by what the driver, or the look, said.
        """
        log, until = self.path.with_name(f"{self.path.name}-wal"), time.monotonic() + self.wait_s
        while True:
            before = stamps(self.path, log)
            try:
                self._peek(look, log)
            except StorageError:
                # Half of what it was and half of what it is, perhaps: no lock keeps a writer away from this look.
                if stamps(self.path, log) == before or time.monotonic() > until:
                    raise
            else:
                return

    def _peek(self, look: Callable[[Connection], object], log: Path) -> None:
        if not has_content(self.path):
            return
        self._refuse_other_kind()
        with translated(self.path):
            if self._page_key is not None and has_content(self.path.with_name(f"{self.path.name}-journal")):
                # Left by a rotation that was killed: only a writer can take it back, so there is nothing to see yet.
                return
            # Without a log beside it nothing is missed, and no file is made beside it either.
            alone = "" if has_content(log) else "&immutable=1"
            name = f"{self.path.resolve().as_uri()}?mode=ro{alone}"
            connection = self.driver.connect(name, uri=True, timeout=self.wait_s, isolation_level=None)
            try:
                self._unlock(connection)
                look(connection)
            finally:
                connection.close()

    def _refuse_other_kind(self) -> None:
        plain = is_plain(self.path)
        if plain and self._page_key is not None:
            raise not_encrypted(self.path)
        if not plain and self._page_key is None and self.path.stat().st_size % _SECTOR == 0:
            raise DatabaseEncrypted(
                f"{self.path} is encrypted, or not a database: give its key (AI_SECURITY__ENCRYPT_AT_REST=true and "
                "AI_SECURITY__ENCRYPTION_KEY or a key source), or name another file in AI_DATABASE__URL"
            )

    def _unlock(self, connection: Connection) -> None:
        """Give a new connection its key, and see that it opens the file.

        Raises:
            MissingExtra: the driver ignored the key.
            WrongKey: it opens nothing.
        """
        if self._page_key is None:
            return
        # It would write of each failed page to stderr.
        connection.execute("PRAGMA cipher_log_level=NONE")
        connection.execute(f"PRAGMA key={_literal(self._page_key)}")
        if not connection.execute("PRAGMA cipher_version").fetchone():
            raise MissingExtra(f"{self.label} cannot encrypt: pip install 'ums-core[security]'")
        try:
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
        except self.driver.DatabaseError as error:
            if "not a database" not in str(error):
                raise
            raise WrongKey(
                f"{self.path}: the key does not open it; it is the key of another database, or the first page is "
                "damaged: give the right key, or restore a backup"
            ) from error

    def rekey(self, connection: Connection, page_key: bytes) -> None:
        """Encrypt every page anew, through the only connection there is; the next ones are opened with the new key."""
        connection.execute(f"PRAGMA rekey={_literal(page_key)}")
        self._page_key = page_key

    def export_from(self, connection: Connection) -> None:
        """Copy the whole database of another connection into this empty file, encrypted or plain."""
        run = connection.execute
        run(f"ATTACH DATABASE ? AS target KEY {_literal(self._page_key)}", (str(self.path),))
        run("SELECT sqlcipher_export('target')").fetchall()
        for name in ("application_id", "user_version"):
            run(f"PRAGMA target.{name}={int(run(f'PRAGMA main.{name}').fetchone()[0])}")
        run("DETACH DATABASE target")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """No reader is open for a ``with`` block: those lent are waited for, and those who want one wait."""
        self.check_open()
        try:
            with self._changed:
                self._paused = True
                self._changed.wait_for(lambda: not self._lent)
                self._drain()
            yield
        finally:
            with self._changed:
                self._paused = False
                self._changed.notify_all()

    def reader(self) -> "Reader":
        """A connection that only reads, from the pool, for a ``with`` block; one caller has it at a time.

        Raises:
            StoreClosed: after ``close``.
        """
        return Reader(self)

    def lend(self) -> Connection:
        """An idle reader, or a new one; give it back with ``take_back``.

        Raises:
            StoreClosed: after ``close``.
        """
        pinned = self._pinned.connection
        if pinned is not None and not self._closed:
            return pinned
        me = threading.get_ident()
        # The lock itself, and not the condition around it, which would cost every search a microsecond.
        with self._lock:
            # A thread that has another reader is itself waited for.
            if self._paused and me not in self._lent.values():
                self._changed.wait_for(lambda: not self._paused)
            self.check_open()
            if self._idle:
                connection = self._idle.pop()
                self._lent[connection] = me
                return connection
            opening = object()
            self._lent[opening] = me
        try:
            connection = self.open(writable=False)
            self._lent[connection] = me
        finally:
            self._returned(opening)
        return connection

    def check_open(self) -> None:
        """Refuse what comes after ``close``, or in a child of the process that opened the store.

        Raises:
            StoreClosed: that is so.
        """
        if self.of_parent:
            raise StoreClosed(f"the store on {self.path} was opened before this process was forked; open it here again")
        if self._closed:
            raise StoreClosed(f"the store on {self.path} was closed; open it again with open_store(settings)")

    def disown(self) -> None:
        """Leave all to the parent process; another thread of it may have held the lock."""
        self.of_parent = self._closed = True
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)

    def take_back(self, connection: Connection) -> None:
        """Keep a reader for the next caller."""
        if self._pinned.connection is connection:
            return
        with self._lock:
            self._idle.append(connection)
            # Closed while a reader was out: nobody else would close it.
            if self._closed:
                self._drain()
            self._returned(connection)

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """One reader in one transaction for all that this thread reads in a ``with`` block; within another one, its."""
        with self.reader() as connection:
            if connection is self._pinned.connection:
                yield connection
                return
            connection.execute("BEGIN")
            self._pinned.connection = connection
            try:
                yield connection
            finally:
                self._pinned.connection = None
                connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the idle readers; one in use is closed when it comes back."""
        with self._changed:
            self._closed = True
            self._drain()

    def _returned(self, lent: object) -> None:
        with self._lock:
            del self._lent[lent]
            if self._paused:
                self._changed.notify_all()

    def _drain(self) -> None:
        while self._idle:
            self._idle.pop().close()


class _Pinned(threading.local):
    """The connection that this thread has a snapshot in."""

    connection: Connection | None = None


class Reader:
    """A lent connection; what the driver raises meanwhile becomes this project's errors.

    A class, as a generator would cost every search several microseconds.
    """

    __slots__ = ("_connection", "_connector")

    def __init__(self, connector: Connector) -> None:
        self._connector = connector

    def __enter__(self) -> Connection:
        """Borrow a connection."""
        self._connection = self._connector.lend()
        return self._connection

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Give it back."""
        self._connector.take_back(self._connection)
        if isinstance(error, self._connector.driver.Error):
            raise explain(error, self._connector.path, self._connector.told) from error


def _literal(page_key: bytes | None) -> str:
    """A key as SQLCipher takes it, since a pragma takes no bound value; ``''`` is none.

    Exactly 64 digits, so that the statement cannot be malformed, which would put the key into the error's text.

    Raises:
        ValueError: the key has another length, and would be taken for a passphrase.
    """
    if page_key is None:
        return "''"
    if not _HEX_KEY.fullmatch(page_key.hex()):
        raise ValueError(f"a page key has 32 bytes, got {len(page_key)}")
    return f"\"x'{page_key.hex()}'\""
