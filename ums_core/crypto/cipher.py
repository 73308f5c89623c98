"""The ciphers, and the one place that imports ``cryptography``: at the first use, so that a plain store needs none."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ums_core.errors import InvalidKey, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "KEY_BYTES",
    "NONCE_BYTES",
    "TAG_BYTES",
    "Aead",
    "Argon2Cost",
    "ForgedError",
    "TextCipher",
    "argon2id",
    "hkdf",
    "new_private_key",
    "open_with",
    "public_key_of",
    "seal_to",
]

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
_MISSING = "encryption needs the package cryptography: pip install 'ums-core[security]'"


class ForgedError(Exception):
    """What was to be opened is not what was sealed, or not by this key. Callers say what it means for them."""


@contextmanager
def _needed() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtra(_MISSING) from error


class Aead:
    """AES-256-GCM under one key. Its callers see to it that a nonce is never used twice.

    Raises:
        MissingExtra: ``cryptography`` is not installed.
    """

    def __init__(self, key: bytes) -> None:
        with _needed():
            from cryptography.exceptions import InvalidTag  # noqa: PLC0415  # optional: extra `security`
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  # as above
        if len(key) != KEY_BYTES:
            raise InvalidKey(f"a cipher takes a key of {KEY_BYTES} bytes, got {len(key)}")
        self._cipher = AESGCM(key)
        self._forged = InvalidTag

    def seal(self, nonce: bytes, data: bytes | bytearray | memoryview, bound: bytes | memoryview) -> bytes:
        """The data, encrypted, and 16 bytes that prove it and what it is bound to."""
        return self._cipher.encrypt(nonce, data, bound)

    def open(self, nonce: bytes, sealed: bytes | bytearray | memoryview, bound: bytes) -> bytes:
        """The data.

        Raises:
            ForgedError: the key, the nonce, the sealed bytes or what they are bound to is another.
        """
        try:
            return self._cipher.decrypt(nonce, sealed, bound)
        except self._forged:
            raise ForgedError from None

    def open_into(self, nonce: bytes, sealed: bytes, bound: bytes, room: memoryview) -> None:
        """Put the data where it is to lie, without a copy of it; other threads run meanwhile.

        Args:
            nonce: as it was sealed with.
            sealed: at least 16 bytes.
            bound: as it was sealed with.
            room: 16 bytes fewer than what is sealed; zeros after an error.

        Raises:
            ForgedError: as ``open``.
        """
        try:
            self._cipher.decrypt_into(nonce, sealed, bound, room)
        except self._forged:
            # What was not proved must not be there for anybody who overlooks the error.
            room[:] = bytes(len(room))
            raise ForgedError from None


class TextCipher:
    """Fernet under one key: AES-128-CBC and HMAC-SHA256, as URL-safe base64.

    Its token shows when it was made, to the second, and the length of the data; it is bound to nothing.

    Raises:
        MissingExtra: ``cryptography`` is not installed.
    """

    def __init__(self, key: bytes) -> None:
        with _needed():
            from cryptography.fernet import Fernet, InvalidToken  # noqa: PLC0415  # optional: extra `security`
        self._fernet = Fernet(urlsafe_b64encode(key))
        self._forged = InvalidToken

    def seal(self, data: bytes) -> bytes:
        """A token; some 16 microseconds for 300 bytes."""
        return self._fernet.encrypt(data)

    def open(self, token: bytes) -> bytes:
        """The data.

        Raises:
            ForgedError: the key or the token is another.
        """
        try:
            return self._fernet.decrypt(token)
        except self._forged:
            raise ForgedError from None


def hkdf(secret: bytes, *, salt: bytes, info: bytes) -> bytes:
    """32 bytes that tell nothing of the secret, nor of others derived from it.

    Raises:
        MissingExtra: ``cryptography`` is not installed.

    Source: HKDF-SHA256, Krawczyk and Eronen, RFC 5869, 2010.
    """
    with _needed():
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415  # optional: extra `security`
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415  # as above
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt or None, info=info).derive(secret)


@dataclass(frozen=True, slots=True)
class Argon2Cost:
    """How dear one guess of a passphrase is.

    Attributes:
        memory_kib: KiB of memory; at least 19,456, at most 1,048,576.
        iterations: passes over that memory, from 1 to 16.
        lanes: how many threads share it, from 1 to 16.

    Raises:
        InvalidKey: outside these bounds. A file that somebody else wrote can so ask for 1 GiB and no more.

    Source: RFC 9106, 2021; the lower bound is that of OWASP's Password Storage Cheat Sheet.
    """

    memory_kib: int = 64 * 1024
    iterations: int = 3
    lanes: int = 4

    def __post_init__(self) -> None:
        """Check the bounds."""
        bounds = (("memory_kib", 19 * 1024, 1024 * 1024), ("iterations", 1, 16), ("lanes", 1, 16))
        for name, least, most in bounds:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise InvalidKey(f"{name} of Argon2id must be from {least} to {most}, got {value!r}")


def argon2id(passphrase: bytes, salt: bytes, cost: Argon2Cost) -> bytes:
    """32 bytes out of a passphrase; 0.3 s and 64 MiB with the standard cost.

    Raises:
        MissingExtra: ``cryptography`` is not installed.
    """
    with _needed():
        from cryptography.hazmat.primitives.kdf.argon2 import Argon2id  # noqa: PLC0415  # optional: extra `security`
    kdf = Argon2id(
        salt=salt, length=KEY_BYTES, iterations=cost.iterations, lanes=cost.lanes, memory_cost=cost.memory_kib
    )
    return kdf.derive(passphrase)


def new_private_key() -> bytes:
    """32 bytes: a new X25519 private key.

    Raises:
        MissingExtra: ``cryptography`` is not installed.
    """
    with _needed():
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey  # noqa: PLC0415  # optional
    return X25519PrivateKey.generate().private_bytes_raw()


def public_key_of(private: bytes) -> bytes:
    """The 32 bytes of the X25519 public key that belongs to a private one."""
    with _needed():
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey  # noqa: PLC0415  # optional
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def seal_to(public: bytes, data: bytes, info: bytes) -> bytes:
    """The data for whoever holds the private key, and for nobody else, the sender included.

    Raises:
        ForgedError: the public key is none that a message can be sealed to.

    Source: HPKE base mode, X25519, HKDF-SHA256, AES-256-GCM; Barnes et al., RFC 9180, 2022.
    """
    with _needed():
        from cryptography.hazmat.primitives import hpke  # noqa: PLC0415  # optional: extra `security`
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey  # noqa: PLC0415  # as above
    suite = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
    try:
        return suite.encrypt(data, X25519PublicKey.from_public_bytes(public), info)
    except ValueError:
        raise ForgedError from None


def open_with(private: bytes, sealed: bytes, info: bytes) -> bytes:
    """What was sealed to the public key that belongs to this private one.

    Raises:
        ForgedError: the key, the sealed bytes or the info is another.
    """
    with _needed():
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415  # optional: extra `security`
        from cryptography.hazmat.primitives import hpke  # noqa: PLC0415  # as above
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey  # noqa: PLC0415  # as above
    suite = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
    try:
        return suite.decrypt(sealed, X25519PrivateKey.from_private_bytes(private), info)
    except (InvalidTag, ValueError):
        raise ForgedError from None
