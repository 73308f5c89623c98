"""Whether a sealed database is the one that was left here, and what happens while nobody has said so."""

from dataclasses import replace

from ums_core.errors import TamperSuspected
from ums_core.ports.sealed import Sealing
from ums_core.storage import journal, secret
from ums_core.storage.anchor import Anchor, Reached, digest_of_file, digest_of_pages, former_digest_of_file
from ums_core.storage.connect import Connection, Connector
from ums_core.storage.files import swept

__all__ = ["Guard"]

_OWN = "anchor_key"
_REMEDY = (
    "Reads are answered, writes are refused: restore the newest backup, or, if you put this copy here yourself, "
    "say so by store.accept_state()"
)


class Guard:
    """Compares a database with its anchor when it is opened, and keeps the anchor up to date. Not thread-safe.

    Args:
        connector: of the database.
        sealing: its keys; without any for an anchor, nothing is guarded.

    Attributes:
        connector: of the database.
        sealing: the keys that the database is under, as far as is known; None for a plain one.
        suspicion: what is wrong, in words; None where nothing is.
    """

    def __init__(self, connector: Connector, sealing: Sealing | None) -> None:
        self.connector = connector
        self.sealing = sealing
        # Then the anchor has a key of its own, which the database holds: data keys come and go under other processes.
        self._of_fields = sealing if sealing is not None and sealing.fields is not None else None
        self.suspicion: str | None = None
        self.anchor: Anchor | None = None
        if sealing is not None and sealing.anchor_keys:
            self.anchor = Anchor(connector.path, sealing.database_id, sealing.anchor_keys)

    def rekeyed(self, sealing: Sealing) -> None:
        """Write what was noted under another key, and go on with that one."""
        self.sealing = sealing
        if self.anchor is not None:
            reached = self.anchor.read() or Reached(0, 0)
            self.anchor.keys = sealing.anchor_keys
            self.anchor.note(reached, sync=True)

    def newer_key(self) -> bytes | None:
        """The key that pages are under by now, where another process exchanged it meanwhile; None where it did not.

        Raises:
            KeyFailure: the key file is gone or wrong, or the source gives no key.
        """
        if self.sealing is None or self.sealing.keys is None or self.anchor is None:
            return None
        self.sealing.keys.refresh()
        newer = self.sealing.keys.sealing
        if newer.page_key == self.sealing.page_key:
            return None
        self.sealing, self.anchor.keys = newer, newer.anchor_keys
        return newer.page_key

    def check(self, connection: Connection) -> None:
        """Compare, once, before anything is written."""
        if self._of_fields:
            self.anchor = Anchor(self.connector.path, self._of_fields.database_id, (secret.made(connection, _OWN),))
        if self.anchor is None:
            return
        known = connection.execute("SELECT 1 FROM meta WHERE key = 'anchored'").fetchone() is not None
        # Where anybody may remove the note, and the key with it, one that holds anything or has an anchor had it.
        known = known or bool(self._of_fields and (journal.head(connection).seq or self.anchor.path.exists()))
        # Left by an acceptance that was killed.
        swept(self.anchor.path)
        reached = self.anchor.read()
        self.suspicion = self._doubt(connection, reached, known=known)
        if self.suspicion is None:
            self.note(connection)
            if not known:
                connection.execute("INSERT INTO meta VALUES ('anchored', '1')")

    def refuse(self) -> None:
        """Raise while there is a suspicion.

        Raises:
            TamperSuspected: nothing was written.
        """
        if self.suspicion is not None:
            raise TamperSuspected(f"{self.connector.path} {self.suspicion}. {_REMEDY}")

    def note(self, connection: Connection) -> None:
        """Note the end of the journal, and that the file is in use."""
        if self.anchor is not None and self.suspicion is None:
            known = self.anchor.read()
            # A digest must be gone from the disk before the file changes, or a power cut brings it back.
            self.anchor.note(_end(connection), sync=known is None or bool(known.pages))

    def committed(self, seq: int, mark: int) -> None:
        """Note a change that is durable."""
        if self.anchor is not None and self.suspicion is None:
            self.anchor.note(Reached(seq, mark))

    def left(self, connection: Connection) -> None:
        """Note the file as it is, once its log is folded and before anybody else may write."""
        if self.anchor is None or self.suspicion is not None:
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            end = _end(connection)
            self.anchor.note(Reached(end.seq, end.mark, self._digest(self.anchor)), sync=True)
        finally:
            connection.execute("ROLLBACK")

    def disturbed(self) -> None:
        """Note, of a closed database, that its file is going to change: left half-way, it must raise no suspicion."""
        if self.anchor is not None:
            self.anchor.note(replace(self.anchor.read() or Reached(0, 0), pages=b""), sync=True)

    def accept(self, connection: Connection) -> None:
        """Believe in the database as it is."""
        if self.anchor is not None:
            connection.execute("INSERT OR IGNORE INTO meta VALUES ('anchored', '1')")
            self.anchor.reset(_end(connection))
        self.suspicion = None

    def _doubt(self, connection: Connection, reached: Reached | None, *, known: bool) -> str | None:
        assert self.anchor is not None  # noqa: S101  # asked by check alone
        if reached is None:
            return f"has lost its anchor {self.anchor.path.name}, or that was changed" if known else None
        end = _end(connection)
        if reached.seq > end.seq:
            return (
                f"ends with change {end.seq}, and had reached {reached.seq}: it is an older copy, "
                "or the end of its log is missing"
            )
        if journal.mark_of(connection, reached.seq) != reached.mark:
            return f"holds another change {reached.seq} than it did: it is a copy that went its own way"
        if reached.pages and not self._is_of(reached.pages, self.anchor) and self.anchor.read() == reached:
            return "was changed while nobody had it open"
        return None

    def _is_of(self, digest: bytes, anchor: Anchor) -> bool:
        """Whether a digest is that of the file, in the form that it has now or had before."""
        if digest == self._digest(anchor):
            return True
        return self._of_fields is not None and digest == former_digest_of_file(self.connector.path)

    def _digest(self, anchor: Anchor) -> bytes:
        if self._of_fields is None or self._of_fields.fields is None:
            return digest_of_pages(self.connector.path)
        return digest_of_file(self.connector.path, anchor.keys[0], self._of_fields.fields.hasher)


def _end(connection: Connection) -> Reached:
    row = connection.execute("SELECT seq, mark FROM journal ORDER BY seq DESC LIMIT 1").fetchone()
    return Reached(*row) if row else Reached(0, 0)
