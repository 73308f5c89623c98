"""Sealed columns on the way between SQL and whoever holds the keys."""

import threading
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

from ums_core.errors import DatabaseEncrypted, DatabaseNotEncrypted, KeyFailure, SealBroken, UMSError
from ums_core.ports.sealed import FieldSeal, Sealing
from ums_core.records import Namespace
from ums_core.storage import filters
from ums_core.storage.connect import Connection, Connector, load_driver
from ums_core.storage.hidden_words import HiddenWords
from ums_core.storage.keyword import TOKENIZER, Terms
from ums_core.storage.migrations import MIGRATIONS, check
from ums_core.storage.sealed_columns import OPEN_BLOB, OPEN_TEXT, SEAL, SEALED, triggers_of, views_of
from ums_core.storage.table import COLUMNS, encode_namespace

__all__ = ["Codec", "check_kind", "codec_of", "holds_fields"]

_KEYS = "field_keys"
_KEY_ID = slice(1, 9)
# A row's columns are asked for one by one, and a filter asks for one several times.
_REMEMBERED = 256
_MEMORIES = SEALED[0]
_NAMES = [name.removeprefix("m.") for name in COLUMNS.split(", ")]
_RID, _ID = _NAMES.index("rid"), _NAMES.index("id")
_PLACES = [_NAMES.index(name) for name in _MEMORIES.texts]


def _place(parts: Iterable[object]) -> bytes:
    raw = [part if isinstance(part, bytes) else str(part).encode() for part in parts]
    return b"".join([piece for part in raw for piece in (len(part).to_bytes(4), part)])


# With the beginning of its place.
_LABELS = [(label, _place([label])) for label in (f"{_MEMORIES.label}.{name}" for name in _MEMORIES.texts)]


class Codec:
    """Opens and seals the columns of one database in field mode. Thread-safe, but for what only a writer calls.

    Args:
        path: of the database, for messages.
        sealing: its keys, with ``fields``.
        words: hides the words of texts.

    Attributes:
        newest: id of the key that new values are sealed with.
        words: hides words, with the keys that a search has to look under.
    """

    def __init__(self, path: Path, sealing: Sealing, words: HiddenWords) -> None:
        assert sealing.fields is not None  # noqa: S101  # asked by whoever makes one
        self.newest = sealing.key_id
        self.words = words
        self.resealing = False
        self._path = path
        self._fields: FieldSeal = sealing.fields
        self._problem = threading.local()
        self._remembered = lru_cache(_REMEMBERED)(self._opened)

    def setup(self, connection: Connection) -> None:
        """Give a new connection the functions, and the views where every table is there already."""
        self.register(connection)
        if connection.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS):
            for statement in list(views_of(connection)):
                connection.execute(statement)

    def register(self, connection: Connection) -> None:
        """Give a new connection the functions alone."""
        filters.register(connection)
        connection.create_function(OPEN_TEXT, -1, self._noting(self._remembered), deterministic=True)
        connection.create_function(OPEN_BLOB, -1, self._noting(self._opened), deterministic=True)
        connection.create_function(SEAL, -1, self._noting(self._sealed))

    def begin(self, connection: Connection) -> None:
        """Let a database whose tables are there be one of field mode, if it is not; and the connection write it."""
        connection.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (_KEYS, self.newest))
        shadows = chain(
            () if connection.execute("SELECT 1 FROM temp.sqlite_master").fetchone() else views_of(connection),
            triggers_of(connection),
        )
        for statement in list(shadows):
            connection.execute(statement)

    def keys(self, connection: Connection) -> tuple[str, ...]:
        """The ids of the keys that something may be under, as the connection sees it; the first one seals."""
        return tuple(_read_keys(connection).split())

    def follow(self, connection: Connection) -> None:
        """Seal from now on with the key that the database is to be under, whoever decided it."""
        self.newest = self.keys(connection)[0]

    def turn_to(self, connection: Connection, *keys: str) -> None:
        """Seal with the first of these keys from now on, in every process; terms may be under any of them."""
        connection.execute("UPDATE meta SET value = ? WHERE key = ?", (" ".join(keys), _KEYS))
        self.newest = keys[0]

    def hidden(self, terms: Sequence[Terms]) -> list[Terms]:
        """The terms of new rows, their words hidden."""
        return self._hidden(terms, self.newest)

    def hidden_as_written(self, connection: Connection, terms: Sequence[Terms]) -> list[Terms]:
        """The terms of rows that are there, hidden as they are in the table."""
        by_key: dict[str, list[Terms]] = {}
        for each in terms:
            row = connection.execute("SELECT text FROM main.memories WHERE rid = ?", (each[0],)).fetchone()
            by_key.setdefault(row[0][_KEY_ID].hex(), []).append(each)
        return [each for key_id, part in by_key.items() for each in self._hidden(part, key_id)]

    def asked(self, connection: Connection, words: Sequence[str]) -> list[str]:
        """Words of a question, as expressions that find them in rows under any key that there may be."""
        keys = self.keys(connection)
        return [self.words.asked(word, keys) for word in words]

    def problem(self) -> UMSError | None:
        """Why the last statement of this thread failed, where it was a sealed column; told once."""
        found: UMSError | None = getattr(self._problem, "error", None)
        self._problem.error = None
        return found

    def row(self, values: Sequence[Any], namespace: Namespace) -> Sequence[Any]:
        """The values of ``table.COLUMNS`` of a bare row of memories, opened.

        Args:
            values: as they stand in the table.
            namespace: of the row.

        Raises:
            SealBroken: one of them does not open.
            KeyFailure: its key is gone.
        """
        bound = (encode_namespace(namespace), values[_ID], values[_RID])
        # The same for each of its columns.
        end = _place(bound)
        shown = list(values)
        for at, (label, start) in zip(_PLACES, _LABELS, strict=True):
            if shown[at] is not None:
                shown[at] = self._proved(label, start + end, shown[at], bound).decode()
        return shown

    def forget(self) -> None:
        """Drop what was opened lately."""
        self._remembered.cache_clear()

    def _hidden(self, terms: Sequence[Terms], key_id: str) -> list[Terms]:
        texts = self.words.hidden([text for each in terms for text in each[1:3]], key_id)
        return [(each[0], texts[2 * n], texts[2 * n + 1], each[3]) for n, each in enumerate(terms)]

    def _noting(self, work: Callable[..., object]) -> Callable[..., object]:
        """The function, with its error kept: a driver drops it."""

        def run(*values: object) -> object:
            try:
                return work(*values)
            except (SealBroken, KeyFailure) as error:
                self._problem.error = error
                raise

        return run

    def _opened(self, label: str, value: object, *bound: object) -> bytes:
        return self._proved(label, _place((label, *bound)), value, bound)

    def _proved(self, label: str, place: bytes, value: object, bound: Sequence[object]) -> bytes:
        try:
            return self._fields.open(place, value if isinstance(value, bytes) else b"")
        except SealBroken as error:
            raise SealBroken(f"{self._path}: the {label} of {bound} does not open: {error}; restore a backup") from None

    def _sealed(self, text: int, former: bytes | None, label: str, value: bytes, *bound: object) -> bytes:
        key_id = self.newest if former is None or self.resealing else former[_KEY_ID].hex()
        return self._fields.seal(key_id, _place((label, *bound)), value, text=bool(text))


def codec_of(path: Path, driver: ModuleType, sealing: Sealing | None) -> Codec | None:
    """The codec of a database in field mode; None for any other."""
    if sealing is None or sealing.fields is None:
        return None
    return Codec(path, sealing, HiddenWords(driver, TOKENIZER, sealing.fields))


def check_kind(connection: Connection, path: Path, sealing: Sealing | None) -> None:
    """As ``migrations.check``; and a database in field mode is opened with its keys, and no other one is.

    Raises:
        DatabaseEncrypted, DatabaseNotEncrypted: it is of the other kind.
        DatabaseTooNew, NotADatabase: as ``migrations.check``.
    """
    if not check(connection, path):
        return
    found, asked = _read_keys(connection), sealing is not None and sealing.fields is not None
    if found and not asked:
        raise DatabaseEncrypted(
            f"what {path} holds is sealed field by field: give its key (AI_SECURITY__ENCRYPTION_KEY or a key service, "
            "and no AI_SECURITY__ENCRYPT_AT_REST); nothing was written"
        )
    if asked and not found:
        raise DatabaseNotEncrypted(
            f"{path} is a plain database, and a sealed one was asked for: seal it with `ums db encrypt`, or remove the "
            "AI_SECURITY__… settings; the file was left as it is"
        )


def holds_fields(path: Path) -> bool:
    """Whether a plain file is a database whose fields are sealed."""
    found: list[bool] = []

    def look(connection: Connection) -> None:
        found.append(bool(check(connection, path) and _read_keys(connection)))

    Connector(path, load_driver(), filters.register).peek(look)
    return found == [True]


def _read_keys(connection: Connection) -> str:
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (_KEYS,)).fetchone()
    return "" if row is None else str(row[0])
