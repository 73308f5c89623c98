"""The data key of a database, and what is derived from it."""

import secrets
from typing import Literal, NoReturn, TypeAlias

from ums_core.crypto.cipher import KEY_BYTES, hkdf
from ums_core.errors import InvalidKey
from ums_core.ports import Context

__all__ = ["DataKey", "Purpose", "context_of", "new_database_id", "new_key_id"]

Purpose: TypeAlias = Literal["pages", "files", "texts", "fields", "keywords", "anchor", "envelope"]

_DATABASE_ID_DIGITS = 32
_KEY_ID_DIGITS = 16


class DataKey:
    """32 random bytes, from which every key of one database is derived.

    The bytes show in no ``repr``, and are neither pickled nor copied. They stay in memory until the process ends:
    Python cannot wipe them.

    Args:
        secret: 32 bytes.
        database_id: 32 hexadecimal digits.
        key_id: 16 hexadecimal digits; public, written into whatever the key seals.

    Raises:
        InvalidKey: one of them is of another length or form.
    """

    __slots__ = ("_secret", "database_id", "key_id")

    def __init__(self, secret: bytes, *, database_id: str, key_id: str) -> None:
        if len(secret) != KEY_BYTES:
            raise InvalidKey(f"a data key is {KEY_BYTES} bytes, got {len(secret)}")
        _check_hex("database_id", database_id, _DATABASE_ID_DIGITS)
        _check_hex("key_id", key_id, _KEY_ID_DIGITS)
        self._secret = bytes(secret)
        self.database_id = database_id
        self.key_id = key_id

    @property
    def secret(self) -> bytes:
        """The 32 bytes, for whoever wraps them."""
        return self._secret

    def derive(self, purpose: Purpose, *, salt: bytes = b"") -> bytes:
        """32 bytes for one purpose; they tell nothing of the key, nor of those for another purpose, salt or database.

        Args:
            purpose: ``pages`` is the raw key of SQLCipher, ``files`` with a salt that of one sealed file.
            salt: random bytes that are no secret, where many keys serve one purpose.

        Cost: some 10 microseconds.
        """
        info = f"ums/{purpose}/v1".encode() + b"\0" + bytes.fromhex(self.database_id)
        return hkdf(self._secret, salt=salt, info=info)

    def __repr__(self) -> str:
        """Return what is public of the key."""
        return f"DataKey(key_id={self.key_id!r}, database_id={self.database_id!r})"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        raise TypeError("a data key is not copied or pickled; open the envelope where it is needed")


def new_database_id() -> str:
    """A new id for a database."""
    return secrets.token_hex(_DATABASE_ID_DIGITS // 2)


def new_key_id() -> str:
    """A new id for a data key."""
    return secrets.token_hex(_KEY_ID_DIGITS // 2)


def context_of(database_id: str, key_id: str) -> Context:
    """What a wrapped data key is bound to: swapped between databases, it does not unwrap."""
    return {"app": "ums", "database": database_id, "purpose": f"dek:{key_id}"}


def _check_hex(name: str, value: str, digits: int) -> None:
    if len(value) != digits or not set(value) <= set("0123456789abcdef"):
        raise InvalidKey(f"{name} must be {digits} hexadecimal digits in lower case, got {value!r}")
