"""The data key of a database exchanged for another one, while the store stays open."""

from functools import partial
from typing import TypeAlias

from ums_core.errors import DatabaseBusy, WrongKey
from ums_core.ports.sealed import KeyRing
from ums_core.ports.tending import Progress
from ums_core.storage.codec import Codec
from ums_core.storage.connect import Connection
from ums_core.storage.database import Database
from ums_core.storage.exclusive import rekey
from ums_core.storage.keyword import SOURCE, remove_terms, terms_of, write_terms
from ums_core.storage.sealed_columns import SEALED, SealedTable, rows_in, under_another_key
from ums_core.storage.transaction import SqlTransaction

__all__ = ["rotate_fields", "rotate_pages", "share_under"]

# Some 50 ms of the write lock, for which other writers wait.
_BATCH = 200

_Key: TypeAlias = tuple[object, ...]


def rotate_pages(database: Database, ring: KeyRing) -> None:
    """Put every page under a new key of the ring; reads and writes wait meanwhile, about 1.7 s for 60 MB.

    Killed at any moment, the database opens with one of the two keys in the ring, and the next call goes on.

    Raises:
        DatabaseBusy: another process has the file open, or exchanges its key.
        TamperSuspected: nobody accepted the database as it is.
        StorageError: the disk refused; the former key still opens the file.
    """
    database.guard.refuse()
    sealing = ring.begin()

    def still() -> bool:
        ring.refresh()
        return ring.state().pending == sealing.key_id

    with database.let_go() as connector:
        try:
            rekey(connector, sealing.page_key or b"", still)
        except WrongKey as error:
            raise DatabaseBusy(f"{connector.path}: another process exchanges its key: retry when it is done") from error
        # Before the step after which the former key reads no anchor any more.
        database.guard.rekeyed(sealing)
        ring.promote(sealing.key_id)


def rotate_fields(database: Database, codec: Codec, ring: KeyRing, progress: Progress | None = None) -> None:
    """Put every sealed value, row by row, under a new key of the ring; reads and writes go on, in any process.

    From the first step on every process seals with the new key. Once no row is under another one, counted in the
    transaction that says so, the former keys may be destroyed. Killed at any moment, the next call goes on. Where
    another process finished meanwhile, and began a rotation of its own, the rest is that one's.

    Args:
        database: the database.
        codec: of it.
        ring: holds its keys; where it has a former key and no pending one, what is left under that is gone on with.
        progress: told how many rows are done, and of how many.

    Raises:
        TamperSuspected: nobody accepted the database as it is.
        SealBroken: a value does not open; what was done so far is done.
    """
    state = ring.state()
    sealing = ring.begin() if state.pending is not None or not state.former else ring.sealing
    newest = sealing.key_id
    database.write(partial(_turn, codec, newest))
    with database.reader() as connection:
        left, total = _left(connection, newest), rows_in(connection)
    while left_over := database.write(partial(_left_over, codec, newest)):
        for table in SEALED:
            after: _Key | None = ()
            while after is not None:
                after, moved = database.write(partial(_reseal, codec, newest, table, after))
                left -= moved
                if progress is not None and moved:
                    progress(min(total, total - left), total)
    if left_over is not None:
        ring.promote(newest)
        database.guard.sealing = sealing


def share_under(connection: Connection, codec: Codec) -> float:
    """The share of rows that are under the newest key, from 0 to 1. Costs a pass over the rows."""
    total = rows_in(connection)
    return 1 - _left(connection, codec.keys(connection)[0]) / total if total else 1.0


def _turn(codec: Codec, newest: str, transaction: SqlTransaction) -> None:
    connection = transaction.connection
    codec.turn_to(connection, newest, *(key for key in codec.keys(connection) if key != newest))


def _left_over(codec: Codec, newest: str, transaction: SqlTransaction) -> int | None:
    """How many rows are under another key; if none, nobody asks for one any more. None where another rotation began."""
    connection = transaction.connection
    if codec.keys(connection)[0] != newest:
        return None
    left = _left(connection, newest)
    if not left:
        codec.turn_to(connection, newest)
    return left


def _reseal(
    codec: Codec, newest: str, table: SealedTable, after: _Key, transaction: SqlTransaction
) -> tuple[_Key | None, int]:
    """Some rows sealed anew, and the last of them, to go on after; None where there are no more."""
    connection = transaction.connection
    names = ", ".join(table.key)
    beyond = f"AND ({names}) > ({', '.join(f':k{n}' for n in range(len(after)))})" if after else ""
    keys: list[_Key] = connection.execute(
        f"SELECT {names} FROM main.{table.name} WHERE {under_another_key(table)} {beyond} "
        f"ORDER BY {names} LIMIT {_BATCH}",
        {"key": bytes.fromhex(newest)} | {f"k{n}": value for n, value in enumerate(after)},
    ).fetchall()
    terms = [_terms(connection, key) for key in keys] if table.worded else []
    worded = [each for each in terms if each[1]]
    if worded:
        remove_terms(connection, codec.hidden_as_written(connection, worded), secure=True)
    codec.resealing = True
    try:
        same = " AND ".join(f"{name} = ?" for name in table.key)
        connection.executemany(f"UPDATE {table.name} SET {table.key[0]} = {table.key[0]} WHERE {same}", keys)
    finally:
        codec.resealing = False
    if worded:
        write_terms(connection, codec.hidden(worded))
    return (keys[-1] if len(keys) == _BATCH else None), len(keys)


def _terms(connection: Connection, key: _Key) -> tuple[int, str, str, str]:
    return terms_of(connection.execute(f"SELECT {SOURCE} FROM memories WHERE rid = ?", key).fetchone())


def _left(connection: Connection, newest: str) -> int:
    key = {"key": bytes.fromhex(newest)}
    counts = (f"SELECT count(*) FROM main.{table.name} WHERE {under_another_key(table)}" for table in SEALED)
    return sum(connection.execute(count, key).fetchone()[0] for count in counts)
