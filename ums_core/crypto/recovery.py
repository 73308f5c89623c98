"""The key in the safe: a second wrapping of every data key, for the day on which the first source is gone.

It is asymmetric: the database holds the public half, so a new data key is wrapped for recovery as well while the
private half lies on paper.
"""

import base64
import binascii
import json
import re
import secrets
import zlib

from ums_core.crypto.cipher import KEY_BYTES, ForgedError, new_private_key, open_with, public_key_of, seal_to
from ums_core.errors import InvalidKey, KeyCorrupt, KeyDenied
from ums_core.ports import Context, KeyStatus, Wrapped

__all__ = ["RecoverySource", "new_recovery_code"]

_PREFIX = "UMS-RECOVERY-"
_BLANK = re.compile(r"[\s-]")
_GROUP = 5
_CHECK_BYTES = 3


def new_recovery_code() -> str:
    """A new private key as a person can write it down: groups of letters and digits, the last ones a checksum."""
    private = new_private_key()
    text = base64.b32encode(private + _checksum(private)).decode().rstrip("=")
    return _PREFIX + "-".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))


class RecoverySource:
    """A :class:`~ums_core.ports.KeySource` that wraps with the public half alone, and unwraps with the code.

    Args:
        public: 32 bytes.
        private: 32 bytes, or None, where it can only wrap.

    Raises:
        InvalidKey: a key of another length.
    """

    provider = "recovery"

    def __init__(self, public: bytes, private: bytes | None = None) -> None:
        if len(public) != KEY_BYTES:
            raise InvalidKey(f"a public recovery key has {KEY_BYTES} bytes, got {len(public)}")
        self.public = public
        self.key_id = public.hex()[:16]
        self._private = private

    @classmethod
    def of_code(cls, code: str) -> "RecoverySource":
        """The source that a recovery code opens; small letters, blanks and missing dashes are forgiven.

        Raises:
            InvalidKey: it is no recovery code, or was mistyped.
        """
        text = _BLANK.sub("", code).upper().removeprefix(_BLANK.sub("", _PREFIX))
        try:
            raw = base64.b32decode(text + "=" * (-len(text) % 8))
        except binascii.Error:
            raw = b""
        private, check = raw[:KEY_BYTES], raw[KEY_BYTES:]
        if len(private) != KEY_BYTES or not secrets.compare_digest(check, _checksum(private)):
            raise InvalidKey(f"this is no recovery code, or was mistyped: after {_PREFIX} it has 56 letters and digits")
        return cls(public_key_of(private), private)

    def generate(self, context: Context) -> tuple[bytes, Wrapped]:
        """A new data key of 32 random bytes, and the same wrapped."""
        key = secrets.token_bytes(KEY_BYTES)
        return key, self.wrap(key, context)

    def wrap(self, key: bytes, context: Context) -> Wrapped:
        """The data key for whoever holds the code.

        Raises:
            KeyCorrupt: the public key is none.
        """
        try:
            return Wrapped(self.provider, self.key_id, "", seal_to(self.public, key, _info(context)))
        except ForgedError:
            raise KeyCorrupt(f"the public recovery key {self.key_id} is not one that can be sealed to") from None

    def unwrap(self, wrapped: Wrapped, context: Context) -> bytes:
        """The data key.

        Raises:
            KeyDenied: the code is not here.
            KeyCorrupt: it was changed, or belongs to another code or database.
        """
        if self._private is None:
            raise KeyDenied(f"the recovery key {self.key_id} opens nothing without its code")
        try:
            return open_with(self._private, wrapped.blob, _info(context))
        except ForgedError:
            raise KeyCorrupt(
                f"the recovery code does not open the wrapped key {context['purpose']!r}: it was changed, was wrapped "
                f"for another code, or belongs to another database than {context['database']}"
            ) from None

    def rewrap(self, wrapped: Wrapped, context: Context) -> Wrapped:
        """The same data key, wrapped anew."""
        return self.wrap(self.unwrap(wrapped, context), context)

    def describe(self) -> KeyStatus:
        """How the source is: here."""
        return KeyStatus(self.provider, self.key_id, "", reachable=True)

    def close(self) -> None:
        """Let go of the code."""
        self._private = None


def _info(context: Context) -> bytes:
    return json.dumps(["ums/recovery/v1", sorted(context.items())]).encode()


def _checksum(private: bytes) -> bytes:
    return zlib.crc32(private).to_bytes(4, "big")[:_CHECK_BYTES]
