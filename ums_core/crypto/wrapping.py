"""Data keys under a key that is here in memory: what the sources without a key service share."""

import json
import secrets
from collections.abc import Mapping

from ums_core.crypto.cipher import KEY_BYTES, NONCE_BYTES, Aead, ForgedError
from ums_core.errors import KeyCorrupt, KeyMissing
from ums_core.ports import Context, KeyStatus, Wrapped

__all__ = ["WrappingKeys"]


class WrappingKeys:
    """A :class:`~ums_core.ports.KeySource` over key-encryption keys in memory.

    Args:
        provider: which kind of source this is.
        key_id: the name of the key.
        versions: 32 bytes by version; the last one wraps.
    """

    def __init__(self, provider: str, key_id: str, versions: Mapping[str, bytes]) -> None:
        self.provider = provider
        self.key_id = key_id
        self._ciphers = {version: Aead(key) for version, key in versions.items()}
        self._newest = list(versions)[-1]

    def generate(self, context: Context) -> tuple[bytes, Wrapped]:
        """A new data key of 32 random bytes, and the same wrapped."""
        key = secrets.token_bytes(KEY_BYTES)
        return key, self.wrap(key, context)

    def wrap(self, key: bytes, context: Context) -> Wrapped:
        """The data key, wrapped by the newest version."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = self._ciphers[self._newest].seal(nonce, key, self._bound(self._newest, context))
        return Wrapped(self.provider, self.key_id, self._newest, nonce + sealed)

    def unwrap(self, wrapped: Wrapped, context: Context) -> bytes:
        """The data key.

        Raises:
            KeyMissing: the version that wrapped it is not here.
            KeyCorrupt: it was changed, or belongs to another key or context.
        """
        cipher = self._ciphers.get(wrapped.version)
        if cipher is None:
            raise KeyMissing(
                f"version {wrapped.version!r} of the {self.provider} key {self.key_id!r} is gone; "
                f"there are {', '.join(map(repr, self._ciphers))}: restore the keys from their backup"
            )
        nonce, sealed = wrapped.blob[:NONCE_BYTES], wrapped.blob[NONCE_BYTES:]
        try:
            return cipher.open(nonce.ljust(NONCE_BYTES, b"\0"), sealed, self._bound(wrapped.version, context))
        except ForgedError:
            raise KeyCorrupt(
                f"the {self.provider} key {self.key_id!r} does not open the wrapped key {context['purpose']!r}: it was "
                f"changed, was wrapped by another key, or belongs to another database than {context['database']}"
            ) from None

    def rewrap(self, wrapped: Wrapped, context: Context) -> Wrapped:
        """The same data key under the newest version."""
        return self.wrap(self.unwrap(wrapped, context), context)

    def describe(self) -> KeyStatus:
        """How the source is: here."""
        return KeyStatus(self.provider, self.key_id, self._newest, reachable=True)

    def close(self) -> None:
        """Let go of the keys."""
        self._ciphers.clear()

    def _bound(self, version: str, context: Context) -> bytes:
        return json.dumps([self.provider, self.key_id, version, sorted(context.items())]).encode()
