"""A key that the caller holds: ``AI_SECURITY__ENCRYPTION_KEY``, without any key service."""

from ums_core.crypto.cipher import hkdf
from ums_core.crypto.wrapping import WrappingKeys

__all__ = ["RawSource"]


class RawSource(WrappingKeys):
    """Wraps data keys by a key that the caller passes in.

    A new key is another source: ``Envelope.move`` goes from one to the other. The name of the key is derived from it,
    and tells nothing of it.

    Args:
        key: 32 bytes, as ``validate_fernet_key`` gives them.
    """

    def __init__(self, key: bytes) -> None:
        name = hkdf(key, salt=b"", info=b"ums/kek-id/v1")[:8].hex()
        super().__init__("raw", name, {"": hkdf(key, salt=b"", info=b"ums/kek/v1")})
