"""A named key of a keyring file as a key source."""

from ums_core.crypto.keyring import Keyring
from ums_core.crypto.wrapping import WrappingKeys
from ums_core.errors import KeyFailure, StorageError
from ums_core.ports import Context, KeyStatus, Wrapped

__all__ = ["LocalSource"]


class LocalSource:
    """A :class:`~ums_core.ports.KeySource` over one key of a keyring.

    The file is read again when the source is asked for something that needs its newest version; what is in memory
    unwraps also without the file.

    Args:
        ring: open.
        name: of the key.

    Raises:
        KeyMissing: there is no key of that name.
    """

    provider = "local"

    def __init__(self, ring: Keyring, name: str) -> None:
        self.key_id = name
        self._ring = ring
        self._keys = self._known()

    def generate(self, context: Context) -> tuple[bytes, Wrapped]:
        """A new data key of 32 random bytes, and the same wrapped."""
        return self._fresh().generate(context)

    def wrap(self, key: bytes, context: Context) -> Wrapped:
        """The data key, wrapped by the newest version."""
        return self._fresh().wrap(key, context)

    def unwrap(self, wrapped: Wrapped, context: Context) -> bytes:
        """The data key.

        Raises:
            KeyMissing: the version that wrapped it is gone.
            KeyCorrupt: it was changed, or belongs to another key or context.
        """
        return self._keys.unwrap(wrapped, context)

    def rewrap(self, wrapped: Wrapped, context: Context) -> Wrapped:
        """The same data key under the newest version."""
        return self._fresh().rewrap(wrapped, context)

    def describe(self) -> KeyStatus:
        """How the keyring is now."""
        try:
            return self._fresh().describe()
        except (KeyFailure, StorageError) as error:
            newest = self._keys.describe()
            return KeyStatus(newest.provider, newest.key_id, newest.version, reachable=False, detail=(str(error),))

    def close(self) -> None:
        """Let go of the keys."""
        self._keys.close()

    def _fresh(self) -> WrappingKeys:
        self._ring.reload()
        self._keys = self._known()
        return self._keys

    def _known(self) -> WrappingKeys:
        versions = self._ring.versions(self.key_id)
        return WrappingKeys(self.provider, self.key_id, {str(version.number): version.key for version in versions})
