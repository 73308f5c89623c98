"""What a database is sealed with, as storage sees it: keys that were derived elsewhere, and never shown."""

from dataclasses import dataclass

__all__ = ["Sealing"]


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class Sealing:
    """The keys of one database. Its ``repr`` shows none of them.

    Attributes:
        database_id: of the one database that the keys are for, 32 hexadecimal digits; a new database takes it.
        page_key: 32 bytes that SQLCipher encrypts every page with; None where pages stay plain.
    """

    database_id: str
    page_key: bytes | None = None

    def __repr__(self) -> str:
        """Return which database this is for, and nothing else."""
        return f"Sealing(database_id={self.database_id!r})"
