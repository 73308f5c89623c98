"""What a database is sealed with, as storage sees it: keys that were derived elsewhere, and never shown."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from ums_core.ports.sealing import FileSeal

__all__ = ["FieldSeal", "KeyRing", "KeyState", "Sealing"]


class FieldSeal(Protocol):
    """Seals single values of one database. Thread-safe."""

    def seal(self, key_id: str, place: bytes, value: bytes, *, text: bool) -> bytes:
        """The value, sealed; it opens in that place alone.

        Args:
            key_id: of the key to seal with, 16 hexadecimal digits, which the sealed value shows after its first byte.
            place: what the value is bound to, beside the database.
            value: any bytes.
            text: seal with Fernet.

        Raises:
            KeyFailure: there is no such key.
        """
        ...

    def open(self, place: bytes, sealed: bytes) -> bytes:
        """The value.

        Raises:
            SealBroken: it is not sealed, was changed, or was sealed in another place.
            KeyFailure: its key is gone.
        """
        ...

    def hidden(self, key_id: str, word: str) -> str:
        """A word as 17 digits that nobody can tell without the key, the same for the same word."""
        ...

    def hasher(self, key: bytes) -> "Callable[[int, memoryview], bytes]":
        """Gives 16 bytes for a numbered piece of some file, others for another piece but for chance, 2 to 4 GB/s.

        Another process with the same key gives the same. Whoever saw them could make a piece to fit: what they are
        shown as must be a keyed digest of them.

        Args:
            key: 32 bytes that nothing else is done with.
        """
        ...


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class Sealing:
    """The keys of one database. Its ``repr`` shows none of them.

    Attributes:
        database_id: of the one database that the keys are for, 32 hexadecimal digits; a new database takes it.
        page_key: 32 bytes that SQLCipher encrypts every page with; None where pages stay plain.
        key_id: of the key that new values are sealed with.
        fields: seals single values; None where pages are sealed as a whole, or nothing is.
        anchor_keys: authenticate what is kept outside the database; the first one writes. None where nothing is.
        keys: where they come from; None for keys that are only passed in.
    """

    database_id: str
    page_key: bytes | None = None
    key_id: str = ""
    fields: FieldSeal | None = None
    anchor_keys: tuple[bytes, ...] = ()
    keys: "KeyRing | None" = None

    def __repr__(self) -> str:
        """Return which database this is for, and nothing else."""
        return f"Sealing(database_id={self.database_id!r})"


@dataclass(frozen=True, slots=True)
class KeyState:
    """Where the keys of a database stand. It holds no secret.

    Attributes:
        mode: ``pages`` where the whole file is encrypted, ``fields`` where its contents are, ``none`` where nothing is.
        active: id of the key that seals, or that everything is under, while a rotation leads to another one.
        pending: id of the key that a rotation leads to; None where none is under way.
        former: ids of keys that no longer seal, and were not destroyed yet.
        done: which share of the rows a rotation that is under way has done, from 0 to 1; 1 where none is.
        detail: what the source of the keys says of itself, where it does not answer.
    """

    mode: str = "none"
    active: str = ""
    pending: str | None = None
    former: tuple[str, ...] = ()
    done: float = 1.0
    detail: tuple[str, ...] = ()


class KeyRing(Protocol):
    """The data keys of one database, and the steps of their rotation. Thread-safe."""

    @property
    def files(self) -> "FileSeal":
        """Seals files with the key that is active at that moment."""
        ...

    @property
    def sealing(self) -> Sealing:
        """The keys that the database is under."""
        ...

    def state(self) -> KeyState:
        """Where the keys stand."""
        ...

    def begin(self) -> Sealing:
        """The keys that a rotation leads to, durable before they are used; those of an interrupted one, if there is."""
        ...

    def promote(self, key_id: str) -> None:
        """Everything in the database is under the keys of that id, to which a rotation led.

        Nothing happens where another process said so already.
        """
        ...

    def refresh(self) -> None:
        """Take up what other processes changed.

        Raises:
            KeyFailure: the key file is gone or wrong, or the source gives no key.
        """
        ...

    def retire(self) -> None:
        """Nothing is under former keys any more: destroy them."""
        ...

    def destroy(self) -> None:
        """Destroy every key: nothing that they sealed can be opened again."""
        ...
