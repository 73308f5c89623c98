"""Which columns are sealed in field mode, and the views that let everybody else read and write them as they are.

Every connection of a database in field mode gets a temporary view in front of each table below, of the same name and
the same columns. It opens a sealed column where one is read, and seals it where one is written; SQL that names a table
plainly needs to know nothing of it, and ``main.memories`` is the bare table. A view costs what is read of it: a column
that a statement does not name is not opened.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from ums_core.storage.connect import Connection

__all__ = [
    "READABLE",
    "SEALED",
    "SealedTable",
    "opened",
    "rows_in",
    "sealed_as",
    "triggers_of",
    "under_another_key",
    "views_of",
]

# Functions that every connection in field mode has; see ``codec``. They take and give bytes, as a driver may end a text
# at NUL. What is opened by the first one is remembered for a while.
OPEN_TEXT, OPEN_BLOB, SEAL = "ums_open_text", "ums_open_blob", "ums_seal"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedTable:
    """One table with sealed columns.

    Attributes:
        name: of the table.
        key: its primary key.
        texts: columns that hold text.
        blobs: columns that hold bytes.
        bound: SQL of what a value is bound to beside its column; ``{row}`` is the row.
        label: what the table is called in a place; tables between which rows move as they are share one.
        fernet: the text column that is under Fernet; the others are under AES-256-GCM.
        worded: whether the keyword terms of a row are under the same key as the row, which a mere change must leave.
    """

    name: str
    key: tuple[str, ...]
    texts: tuple[str, ...] = ()
    blobs: tuple[str, ...] = ()
    bound: tuple[str, ...]
    label: str
    fernet: str = ""
    worded: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """All that is sealed."""
        return (*self.texts, *self.blobs)


_PATH = "(SELECT CAST(n.path AS BLOB) FROM main.namespaces n WHERE n.nid = {row}.nid)"

_MEMORY = (_PATH, "CAST({row}.id AS BLOB)", "{row}.rid")
_TEXTS = ("text", "role", "tags", "metadata", "source_ids", "speaker", "session", "spans", "caption")

SEALED: tuple[SealedTable, ...] = (
    SealedTable(
        name="memories",
        key=("rid",),
        texts=_TEXTS,
        bound=_MEMORY,
        label="memory",
        fernet="text",
        worded=True,
    ),
    SealedTable(
        name="archived",
        key=("rid",),
        texts=_TEXTS,
        bound=_MEMORY,
        label="memory",
        fernet="text",
    ),
    SealedTable(name="archived_passages", key=("pid",), blobs=("vector",), bound=("{row}.pid",), label="passage"),
    SealedTable(name="passages", key=("pid",), blobs=("vector",), bound=("{row}.pid",), label="passage"),
    SealedTable(
        name="kv",
        key=("collection", "key"),
        blobs=("value",),
        bound=("CAST({row}.collection AS BLOB)", "CAST({row}.key AS BLOB)"),
        label="kv",
    ),
    SealedTable(
        name="idempotency",
        key=("key",),
        texts=("answer",),
        blobs=("digest",),
        bound=("CAST({row}.key AS BLOB)",),
        label="idempotency",
    ),
    SealedTable(
        name="reembedded", key=("rid",), texts=("spans",), blobs=("vectors",), bound=("{row}.rid",), label="reembedded"
    ),
    SealedTable(name="actors", key=("aid",), texts=("name",), bound=("{row}.aid",), label="actor"),
    SealedTable(name="secrets", key=("key",), texts=("value",), bound=("CAST({row}.key AS BLOB)",), label="secret"),
)

# What stays readable in field mode, and why. A test sees to it that every column which may hold words is in one of both
# lists.
READABLE = {
    "meta.key": "names of ours",
    "meta.value": "ids and versions of ours",
    "namespaces.path": "labels are compared by prefix, as SQL does it",
    "memories.id": "ids are looked up",
    "memories.modality": "a name of ours, such as text",
    "archived.id": "as above",
    "archived.modality": "a name of ours, such as text",
    "archived.why": "a word of ours, such as forgotten",
    "archived.under": "an id",
    "archived.batch": "an id of ours",
    "archived_passages.modality": "a name of ours, such as text",
    "passages.modality": "as above",
    "journal.kind": "a name of ours, such as add",
    "journal.removed": "row ids",
    "journal.digests": "keyed digests, and the key is sealed",
    "journal.salts": "random",
    "journal.link": "a keyed digest",
    "history.who": "a keyed digest",
    "history.action": "a word of ours, such as deleted",
    "history.batch": "an id of ours",
    "idempotency.key": "keys are looked up",
    "kv.collection": "collections are looked up",
    "kv.key": "keys are compared by prefix and order, as SQL does it",
    "embedders.modality": "a name of ours, such as text",
    "embedders.name": "the name of a model",
    "embedders.revision": "as above",
    "secrets.key": "names of ours",
}


def views_of(connection: Connection) -> Iterator[str]:
    """The statements that put a view in front of each sealed table that there is; they let it be read."""
    for table, names, _ in _columns(connection):
        yield _view(table, names)


def triggers_of(connection: Connection) -> Iterator[str]:
    """The statements that let those views be written."""
    for table, names, defaults in _columns(connection):
        yield from _triggers(table, names, defaults)


def rows_in(connection: Connection) -> int:
    """How many rows the sealed tables hold."""
    return sum(connection.execute(f"SELECT count(*) FROM main.{table.name}").fetchone()[0] for table in SEALED)


def under_another_key(table: SealedTable) -> str:
    """SQL that is true of a bare row of which anything is under another key than ``:key``, the 8 bytes of its id."""
    return f"({' OR '.join(f'substr({column}, 2, 8) <> :key' for column in table.columns)})"


def sealed_as(table: SealedTable, name: str, row: str, former: str = "NULL") -> str:
    """SQL of a column as it is to be written, of a row that holds it as it is."""
    if name not in table.columns:
        return f"{row}.{name}"
    arguments = _arguments(table, name, row, f"CAST({row}.{name} AS BLOB)")
    return f"iif({row}.{name} IS NULL, NULL, {SEAL}({int(name == table.fernet)}, {former}, {arguments}))"


def opened(table: SealedTable, name: str, row: str) -> str:
    """SQL of a column as it is, of a bare row."""
    if name not in table.columns:
        return f"{row}.{name}"
    arguments = _arguments(table, name, row, f"{row}.{name}")
    value = f"CAST({OPEN_TEXT}({arguments}) AS TEXT)" if name in table.texts else f"{OPEN_BLOB}({arguments})"
    return f"iif({row}.{name} IS NULL, NULL, {value})"


def _columns(connection: Connection) -> Iterator[tuple[SealedTable, tuple[str, ...], tuple[str | None, ...]]]:
    """The columns of each sealed table that there is, and their defaults."""
    for table in SEALED:
        columns = connection.execute(f"PRAGMA main.table_info({table.name})").fetchall()
        if columns:
            yield table, tuple(row[1] for row in columns), tuple(row[4] for row in columns)


@cache
def _view(table: SealedTable, names: tuple[str, ...]) -> str:
    shown = ", ".join(f"{opened(table, name, 't')} AS {name}" for name in names)
    return f"CREATE TEMP VIEW {table.name} AS SELECT {shown} FROM main.{table.name} t"


@cache
def _triggers(table: SealedTable, names: tuple[str, ...], defaults: tuple[str | None, ...]) -> tuple[str, ...]:
    default = {name: value for name, value in zip(names, defaults, strict=True) if value is not None}

    def value(name: str, former: str) -> str:
        given = sealed_as(table, name, "NEW", former)
        return f"coalesce({given}, {default[name]})" if name in default else given

    same = " AND ".join(f"{name} = OLD.{name}" for name in table.key)
    # A row whose terms are under a former key stays under it, until a rotation takes both.
    former = f"(SELECT o.{table.fernet} FROM main.{table.name} o WHERE o.{same})" if table.worded else "NULL"
    start = f"CREATE TEMP TRIGGER ums_{{}}_{table.name} INSTEAD OF {{}} ON {table.name} BEGIN"
    given = ", ".join(value(name, "NULL") for name in names)
    changed = ", ".join(f"{name} = {value(name, former)}" for name in names)
    bare = f"main.{table.name}"
    return (
        f"{start.format('insert', 'INSERT')} INSERT INTO {bare} ({', '.join(names)}) VALUES ({given}); END",
        f"{start.format('update', 'UPDATE')} UPDATE {bare} SET {changed} WHERE {same}; END",
        f"{start.format('delete', 'DELETE')} DELETE FROM {bare} WHERE {same}; END",
    )


def _arguments(table: SealedTable, name: str, row: str, value: str) -> str:
    bound = ", ".join(part.format(row=row) for part in table.bound)
    return f"'{table.label}.{name}', {value}, {bound}"
