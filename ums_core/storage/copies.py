"""A whole database copied while it is in use, and put in the place of another one."""

from pathlib import Path

from ums_core.errors import InvalidInput, NotADatabase
from ums_core.storage import filters, journal
from ums_core.storage.complaint import translated
from ums_core.storage.connect import BUSY_TIMEOUT_S, Connector, load_driver
from ums_core.storage.erase import files_of
from ums_core.storage.exclusive import check_pages
from ums_core.storage.files import replace_durably, sync_directory
from ums_core.storage.migrations import check

__all__ = [
    "Checked",
    "checked",
    "connector_of",
    "copied",
    "database_id_of",
    "in_place",
    "without_snapshots",
]

# Number of the last change, and of memories.
Checked = tuple[int, int]


def connector_of(path: Path, page_key: bytes | None, wait_s: float = BUSY_TIMEOUT_S) -> Connector:
    """A connector to a file that nothing else has to know of."""
    return Connector(path, load_driver(encrypting=page_key is not None), filters.register, page_key, wait_s)


def copied(connector: Connector, target: Path) -> None:
    """Copy a database, as it is at one moment, into an empty file, under the same key; others go on meanwhile."""
    with translated(connector.path):
        connection = connector.open(writable=True)
        try:
            connection.execute("VACUUM INTO ?", (str(target),))
        finally:
            connection.close()


def checked(path: Path, page_key: bytes | None) -> Checked:
    """How far a copy reaches and how much it holds, once every page of it is right.

    Raises:
        NotADatabase: it is damaged, or no UMS database.
        DatabaseTooNew: a newer version wrote it.
    """
    connector = connector_of(path, page_key)
    found: list[Checked] = []

    def look(connection: object) -> None:
        if not check(connection, path):
            raise NotADatabase(f"{path} is empty")
        check_pages(connection, path)
        count = connection.execute("SELECT count(*) FROM memories").fetchone()[0]  # type: ignore[attr-defined]  # DB-API
        found.append((journal.head(connection).seq, count))

    connector.peek(look)
    if not found:
        raise NotADatabase(f"{path} is empty")
    return found[0]


def database_id_of(path: Path) -> str:
    """The id of a plain database.

    Raises:
        InvalidInput: there is none.
        StorageError: it cannot be read.
    """
    found: list[str] = []

    def look(connection: object) -> None:
        check(connection, path)
        row = connection.execute("SELECT value FROM meta WHERE key = 'database_id'")  # type: ignore[attr-defined]  # DB-API
        found.append(str(row.fetchone()[0]))

    connector_of(path, None).peek(look)
    if not found:
        raise InvalidInput(f"there is no database at {path}")
    return found[0]


def without_snapshots(path: Path) -> None:
    """Remove the index snapshots beside a database: they are of another kind than what will be there."""
    for file in files_of(path):
        if file.name.startswith(f"{path.name}.") and file.name.endswith(".index"):
            file.unlink(missing_ok=True)
    sync_directory(path.parent)


def in_place(new: Path, path: Path) -> None:
    """Put a file in the place of a database that nobody has open, and remove what belonged to that one."""
    without_snapshots(path)
    for suffix in ("-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    replace_durably(new, path)
