"""The schema, as an ordered list of steps; ``user_version`` counts those a file has taken."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from ums_core.errors import DatabaseTooNew, NotADatabase, WrongKey
from ums_core.storage.connect import Connection
from ums_core.storage.keyword import SOURCE, WORDED, Terms, create_terms, terms_of, write_terms

__all__ = ["APPLICATION_ID", "MIGRATIONS", "agree_on_terms", "check", "fill_terms", "migrate"]

Hide: TypeAlias = Callable[[list[Terms]], list[Terms]]
_BATCH = 1000

# "UMSM": tells a UMS database from any other SQLite file.
APPLICATION_ID = 0x554D534D

# rid: one version of a memory; never used twice, ascending in commit order. birth: the first rid of its identity.
# telling: how many words of the text tell something. asks: what it does with words, as bits;
# up to step 1 only whether it asks something.
# passages.pid = rid << 16 | ordinal, so that the vectors of one memory lie together and need no second index.
# journal: one row a change; the rids lo..hi came, those in removed (int64) went. mark: random, so that two copies of a
# database that went their own ways are told apart.
_FIRST = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE namespaces (nid INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL UNIQUE)",
    """
    CREATE TABLE memories (
        rid INTEGER PRIMARY KEY,
        birth INTEGER NOT NULL,
        nid INTEGER NOT NULL,
        id TEXT NOT NULL,
        text TEXT NOT NULL,
        role TEXT,
        tags TEXT,
        metadata TEXT,
        level INTEGER NOT NULL,
        modality TEXT NOT NULL,
        importance REAL NOT NULL,
        emotional_intensity REAL NOT NULL,
        valence REAL NOT NULL,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        last_accessed_at INTEGER NOT NULL,
        expires_at INTEGER,
        source_ids TEXT,
        final INTEGER NOT NULL,
        speaker TEXT,
        session TEXT,
        position INTEGER,
        occurred_at INTEGER,
        spans TEXT,
        telling INTEGER NOT NULL,
        asks INTEGER NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX memories_identity ON memories (nid, id)",
    # Only of replaced memories, so that a new one touches one page less.
    "CREATE INDEX memories_birth ON memories (birth) WHERE birth <> rid",
    "CREATE TABLE passages (pid INTEGER PRIMARY KEY, modality TEXT NOT NULL, vector BLOB NOT NULL)",
    """
    CREATE TABLE journal (
        seq INTEGER PRIMARY KEY, mark INTEGER NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL, lo INTEGER NOT NULL,
        hi INTEGER NOT NULL, removed BLOB
    )
    """,
    """
    CREATE TABLE idempotency (
        key TEXT PRIMARY KEY, digest BLOB NOT NULL, answer TEXT NOT NULL, at INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE kv (
        collection TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, json INTEGER NOT NULL,
        PRIMARY KEY (collection, key)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE embedders (
        modality TEXT PRIMARY KEY, name TEXT NOT NULL, revision TEXT NOT NULL, dim INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
    "CREATE TABLE reembedded (rid INTEGER PRIMARY KEY, spans TEXT, vectors BLOB NOT NULL)",
)

# ums_cues is ``ums_core.ranking.words.cues``, which every connection of ours has.
_CUES = ("UPDATE memories SET asks = ums_cues(text) WHERE typeof(text) = 'text'",)

# archived: memories that nobody finds unless they ask for them, out of ``memories``, its terms and the indexes, and
# otherwise as they were. why: what put them there. until: when they go for good. under: id of what stands for them.
# batch: what they went with. ttl: in microseconds, like every time.
_KEPT = (
    "rid INTEGER PRIMARY KEY, birth INTEGER NOT NULL, nid INTEGER NOT NULL, id TEXT NOT NULL, text TEXT NOT NULL, "
    "role TEXT, tags TEXT, metadata TEXT, level INTEGER NOT NULL, modality TEXT NOT NULL, importance REAL NOT NULL, "
    "emotional_intensity REAL NOT NULL, valence REAL NOT NULL, created_at INTEGER NOT NULL, "
    "updated_at INTEGER NOT NULL, last_accessed_at INTEGER NOT NULL, expires_at INTEGER, source_ids TEXT, "
    "final INTEGER NOT NULL, speaker TEXT, session TEXT, position INTEGER, occurred_at INTEGER, spans TEXT, "
    "pinned INTEGER NOT NULL, accesses INTEGER NOT NULL, valid_from INTEGER, ttl INTEGER, "
    "telling INTEGER NOT NULL, asks INTEGER NOT NULL, "
    "why TEXT NOT NULL, at INTEGER NOT NULL, until INTEGER, under TEXT, batch TEXT NOT NULL, valid_to INTEGER"
)
_ARCHIVE = (
    "ALTER TABLE memories ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE memories ADD COLUMN accesses INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE memories ADD COLUMN valid_from INTEGER",
    "ALTER TABLE memories ADD COLUMN ttl INTEGER",
    "CREATE INDEX memories_expiry ON memories (expires_at) WHERE expires_at IS NOT NULL",
    f"CREATE TABLE archived ({_KEPT})",
    "CREATE UNIQUE INDEX archived_identity ON archived (nid, id)",
    "CREATE INDEX archived_under ON archived (nid, under) WHERE under IS NOT NULL",
    "CREATE INDEX archived_batch ON archived (batch)",
    "CREATE INDEX archived_until ON archived (until) WHERE until IS NOT NULL",
    "CREATE INDEX archived_expiry ON archived (expires_at) WHERE expires_at IS NOT NULL",
    "CREATE TABLE archived_passages (pid INTEGER PRIMARY KEY, modality TEXT NOT NULL, vector BLOB NOT NULL)",
)

# What nobody but this project is to read, apart from what everybody may: field mode seals the one and not the other.
_SECRETS = (
    "CREATE TABLE IF NOT EXISTS secrets (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "INSERT INTO secrets SELECT key, value FROM meta WHERE key = 'erasure_key'",
    "DELETE FROM meta WHERE key = 'erasure_key'",
)

# Who did what to which memory. The journal says who made a change, and holds a keyed and salted digest of 16 bytes of
# each row that came with it, in the order of row ids; history has a row for each memory that was changed otherwise than
# by coming. who: keyed digest of namespace and id. before, after: row ids. link: authenticates the change with all
# before it, salts excepted, which go where a memory is erased. NULL: made before there was a history, or pruned.
_HISTORY = (
    "ALTER TABLE journal ADD COLUMN actor INTEGER",
    "ALTER TABLE journal ADD COLUMN digests BLOB",
    "ALTER TABLE journal ADD COLUMN salts BLOB",
    "ALTER TABLE journal ADD COLUMN link BLOB",
    "CREATE TABLE actors (aid INTEGER PRIMARY KEY, name TEXT NOT NULL)",
    """
    CREATE TABLE history (
        seq INTEGER NOT NULL, n INTEGER NOT NULL, who BLOB NOT NULL, action TEXT NOT NULL, birth INTEGER NOT NULL,
        before INTEGER NOT NULL, after INTEGER, batch TEXT, PRIMARY KEY (seq, n)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX history_who ON history (who)",
)

_CAPTIONS = tuple(f"ALTER TABLE {table} ADD COLUMN caption TEXT" for table in ("memories", "archived"))

_AGES = ("CREATE INDEX idempotency_age ON idempotency (at)",)

# A step runs before any view of field mode stands in front of a table, and so finds no text in a sealed column.
MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST, _CUES, _ARCHIVE, _SECRETS, _HISTORY, _CAPTIONS, _AGES)


def migrate(connection: Connection, path: Path, *, secure_terms: bool, database_id: str | None = None) -> str:
    """Bring a file to the newest schema and return the id of its database. Idempotent, and safe between processes.

    Args:
        connection: the writer.
        path: the file, for messages.
        secure_terms: whether FTS5 deletes terms for good by itself.
        database_id: what a new database is to be called, and what an old one must be called; None for any.

    Raises:
        DatabaseTooNew: the file has taken steps that this version does not know.
        NotADatabase: the file holds tables that are not ours.
        WrongKey: the keys are those of another database.
    """
    if check(connection, path) < len(MIGRATIONS):
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have come first, between the look above and the lock.
            taken = _version(connection, path)
            for step in MIGRATIONS[taken:]:
                for statement in step:
                    connection.execute(statement)
            if not taken:
                connection.execute("INSERT INTO meta VALUES ('database_id', ?)", (database_id or uuid.uuid4().hex,))
                create_terms(connection, secure=secure_terms)
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={len(MIGRATIONS)}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
    found = str(connection.execute("SELECT value FROM meta WHERE key = 'database_id'").fetchone()[0])
    if database_id not in {None, found}:
        raise WrongKey(f"{path} is database {found}, the keys are those of {database_id}: give its own key file")
    return found


def agree_on_terms(connection: Connection, *, secure: bool) -> None:
    """Let the terms be readable by this driver: an SQLite before 3.42 cannot read what a newer one deleted in."""
    kind = connection.execute("SELECT value FROM meta WHERE key = 'terms'").fetchone()[0]
    if kind == ("secure" if secure else "plain"):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Lets an SQLite before 3.42 open the table, which is all that it takes to drop it.
        connection.execute("UPDATE terms_config SET v = 4 WHERE k = 'version'")
        connection.execute("DROP TABLE terms")
        create_terms(connection, secure=secure)
        fill_terms(connection)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def fill_terms(connection: Connection, hide: Hide = list) -> None:
    """Write the terms of every row into a table that has none."""
    rows = connection.execute(f"SELECT {SOURCE} FROM memories WHERE {WORDED}")
    while part := rows.fetchmany(_BATCH):
        write_terms(connection, hide([terms_of(row) for row in part]))


def check(connection: Connection, path: Path) -> int:
    """The schema of a file, 0 for an empty one; reads only, in one transaction.

    Raises:
        DatabaseTooNew, NotADatabase: as ``migrate``.
    """
    connection.execute("BEGIN")
    try:
        return _version(connection, path)
    finally:
        connection.execute("COMMIT")


def _version(connection: Connection, path: Path) -> int:
    ours = connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if not ours:
        if tables:
            raise NotADatabase(f"{path} is an SQLite file of another program; name another file in AI_DATABASE__URL")
        return 0
    if version > len(MIGRATIONS):
        raise DatabaseTooNew(
            f"{path} has schema {version}, this version of ums-core knows up to {len(MIGRATIONS)}: "
            "upgrade with pip install -U ums-core; the file was left as it is"
        )
    return version
