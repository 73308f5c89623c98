"""Single values that cannot be read without a key, nor changed, nor moved to another place.

::

    kind        1 byte: b"F" for a text under Fernet, b"G" for anything under AES-256-GCM
    key id      8 bytes: which data key of the database sealed it
    F           a Fernet token over SHA-256 of the place, and the text
    G           nonce of 12 random bytes, content, tag of 16; kind, key id and place are the associated data

A place is the database id, and whatever else the value belongs to, each part with its length before it. Fernet knows no
associated data, so there the place is inside the token.
"""

import hashlib
import hmac
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from ums_core.crypto.cipher import NONCE_BYTES, Aead, ForgedError, TextCipher
from ums_core.crypto.keys import DataKey
from ums_core.errors import KeyMissing, SealBroken

__all__ = ["Fields"]

_TEXT, _ANY = b"F", b"G"
_KEY_ID_BYTES = 8
_HEAD = 1 + _KEY_ID_BYTES
_PLACE_BYTES = 32
_DIGITS = 17
_KNOWN_WORDS = 1 << 16


class _Ciphers:
    """What one data key seals values with."""

    def __init__(self, key: DataKey) -> None:
        self.text = TextCipher(key.derive("texts"))
        self.any = Aead(key.derive("fields"))
        self._words = key.derive("keywords")
        # A word costs a microsecond, and few words are most of a text.
        self.hidden = lru_cache(_KNOWN_WORDS)(self._hidden)

    def _hidden(self, word: str) -> str:
        mac = hmac.digest(self._words, word.encode(), "sha256")
        return f"{int.from_bytes(mac[:8]) % 10**_DIGITS:0{_DIGITS}d}"


class Fields:
    """Seals the values of one database: a :class:`~ums_core.ports.sealed.FieldSeal`. Thread-safe.

    Args:
        database_id: whose values they are.
        keys: the data keys that there are now.
        reload: looks again for keys that other processes made.
    """

    def __init__(
        self, database_id: str, keys: Callable[[], Sequence[DataKey]], reload: Callable[[], None] = lambda: None
    ) -> None:
        self._database = _lengthened(database_id.encode())
        self._keys = keys
        self._reload = reload
        self._lock = threading.Lock()
        self._ciphers: Mapping[bytes, _Ciphers] = {}

    def seal(self, key_id: str, place: bytes, value: bytes, *, text: bool) -> bytes:
        """The value, sealed by one of the keys; see the port."""
        raw = bytes.fromhex(key_id)
        ciphers = self._of(raw)
        if text:
            return _TEXT + raw + ciphers.text.seal(self._digest(place) + value)
        head, nonce = _ANY + raw, os.urandom(NONCE_BYTES)
        return head + nonce + ciphers.any.seal(nonce, value, head + self._database + place)

    def open(self, place: bytes, sealed: bytes) -> bytes:
        """The value; see the port."""
        head, rest = sealed[:_HEAD], sealed[_HEAD:]
        kind = head[:1]
        if kind not in (_TEXT, _ANY) or len(head) < _HEAD:
            raise SealBroken("it is not sealed at all")
        ciphers = self._of(head[1:])
        try:
            if kind == _ANY:
                return ciphers.any.open(rest[:NONCE_BYTES], rest[NONCE_BYTES:], head + self._database + place)
            value = ciphers.text.open(rest)
        except (ForgedError, ValueError):
            raise SealBroken("it is not what was sealed in this place") from None
        if not hmac.compare_digest(value[:_PLACE_BYTES], self._digest(place)):
            raise SealBroken("it was sealed in another place")
        return value[_PLACE_BYTES:]

    def hidden(self, key_id: str, word: str) -> str:
        """A word as 17 digits that only the key can tell; see the port."""
        return self._of(bytes.fromhex(key_id)).hidden(word)

    def hasher(self, key: bytes) -> Callable[[int, memoryview], bytes]:
        """Gives 16 bytes for a numbered piece of some file; see the port.

        Source: the universal hash of GCM, McGrew and Viega, INDOCRYPT 2004; hidden by a pseudorandom function, as
        Wegman and Carter, JCSS 1981, ask for.
        """
        cipher = Aead(key)
        # The number is the nonce, and comes again: what GCM would lose by it is never shown.
        return lambda number, piece: cipher.seal(number.to_bytes(NONCE_BYTES), b"", piece)

    def _digest(self, place: bytes) -> bytes:
        return hashlib.sha256(self._database + place).digest()

    def _of(self, key_id: bytes) -> _Ciphers:
        found = self._ciphers.get(key_id)
        return self._looked_up(key_id) if found is None else found

    def _looked_up(self, key_id: bytes) -> _Ciphers:
        with self._lock:
            key = self._named(key_id)
            if key is None:
                self._reload()
                key = self._named(key_id)
            if key is None:
                raise KeyMissing(f"a value is under the key {key_id.hex()}, which is not among those of the database")
            made = _Ciphers(key)
            self._ciphers = {**self._ciphers, key_id: made}
        return made

    def _named(self, key_id: bytes) -> DataKey | None:
        return next((key for key in self._keys() if key.key_id == key_id.hex()), None)


def _lengthened(part: bytes) -> bytes:
    return len(part).to_bytes(4) + part
