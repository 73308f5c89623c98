"""A database copied into one of another kind: from plain to sealed field by field, and back."""

from collections.abc import Callable

from ums_core.storage import filters
from ums_core.storage.codec import Codec
from ums_core.storage.connect import Connection, Connector
from ums_core.storage.guard import Guard
from ums_core.storage.migrations import fill_terms, migrate
from ums_core.storage.sealed_columns import SEALED, opened, sealed_as

__all__ = ["check_values", "fields_opened", "fields_sealed"]

_BATCH = 500
# What the copy says of itself in its own way.
_OWN = ("terms", "field_keys", "anchored")


def fields_sealed(connection: Connection, target: Connector, codec: Codec, guard: Guard) -> None:
    """Copy a plain database into an empty file, its fields sealed. No byte of a field is on the disk as it is.

    The anchor of the copy is there before the copy can take its place, or the copy would seem to have lost it.

    Args:
        connection: the only one to the plain database.
        target: of the empty file, with the setup of the codec.
        codec: seals.
        guard: of the database that the copy is to be.
    """
    _copied(connection, target, codec, guard)


def fields_opened(connection: Connection, target: Connector, codec: Codec) -> None:
    """Copy a database whose fields are sealed into an empty file, as it is.

    Args:
        connection: the only one to the sealed database.
        target: of the empty file.
        codec: opens.
    """
    _copied(connection, target, codec, None)


def check_values(connection: Connection, told: Callable[[int], None] = lambda _: None) -> None:
    """Open every sealed value. Costs some 10 microseconds for each.

    Args:
        connection: to a database whose fields are sealed.
        told: how many rows are done.

    Raises:
        SealBroken: one does not open; only the first one is told of.
    """
    done = 0
    for table in SEALED:
        rows = connection.execute(f"SELECT {', '.join(table.columns)} FROM {table.name}")
        while part := rows.fetchmany(_BATCH):
            done += len(part)
            told(done)


def _copied(connection: Connection, target: Connector, codec: Codec, guard: Guard | None) -> None:
    sealing = guard is not None
    identity = str(connection.execute("SELECT value FROM main.meta WHERE key = 'database_id'").fetchone()[0])
    _made(target, identity)
    codec.register(connection)
    connection.execute("ATTACH DATABASE ? AS target", (str(target.path),))
    try:
        connection.execute("BEGIN")
        tables = connection.execute(
            "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite~_%' "
            "ESCAPE '~'"
        ).fetchall()
        for (name,) in tables:
            connection.execute(_copying(connection, name, sealing=sealing), _OWN if name == "meta" else ())
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        connection.execute("DETACH DATABASE target")
    writer = target.open(writable=True)
    try:
        if sealing:
            codec.begin(writer)
        writer.execute("BEGIN")
        fill_terms(writer, codec.hidden if sealing else list)
        writer.execute("COMMIT")
        if guard is not None:
            check_values(writer)
            guard.check(writer)
            guard.accept(writer)
        writer.execute("PRAGMA journal_mode=DELETE")
    finally:
        writer.close()


def _made(target: Connector, identity: str) -> None:
    """The tables, without the views that are put in front of them."""
    bare = Connector(target.path, target.driver, filters.register)
    connection = bare.open(writable=True)
    try:
        migrate(connection, bare.path, secure_terms=bare.deletes_terms, database_id=identity)
    finally:
        connection.close()


def _copying(connection: Connection, name: str, *, sealing: bool) -> str:
    columns = [row[1] for row in connection.execute(f"PRAGMA main.table_info({name})")]
    table = next((table for table in SEALED if table.name == name), None)
    if table is None:
        values = [f"t.{column}" for column in columns]
    elif sealing:
        values = [sealed_as(table, column, "t") for column in columns]
    else:
        values = [opened(table, column, "t") for column in columns]
    where = "WHERE t.key NOT IN (?, ?, ?)" if name == "meta" else ""
    selected = f"SELECT {', '.join(values)} FROM main.{name} t {where}"
    return f"INSERT OR REPLACE INTO target.{name} ({', '.join(columns)}) {selected}"
