"""Where the key of a database comes from: something that wraps it, and unwraps it for those who may have it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

__all__ = ["Context", "KeySource", "KeyStatus", "Wrapped"]

# What a wrapped key is bound to: it unwraps only with the same one.
Context: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A data key under a key-encryption key. It holds no secret, and may be stored in the clear.

    Attributes:
        provider: which kind of source wrapped it, such as ``vault``.
        key_id: the name that the source has for its key.
        version: of that key, as the source counts; empty where it does not.
        blob: opaque, the source's own form.
    """

    provider: str
    key_id: str
    version: str
    blob: bytes


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """How a key source is. It holds no secret.

    Attributes:
        provider: which kind of source.
        key_id: the name of its key.
        version: the newest version of that key, which wraps from now on; empty where it is not known.
        reachable: whether the source answered.
        detail: what stands in the way, in words; empty where nothing does.
    """

    provider: str
    key_id: str
    version: str
    reachable: bool
    detail: tuple[str, ...] = ()


class KeySource(Protocol):
    """Wraps and unwraps data keys of 32 bytes under a key that stays where it is. Thread-safe.

    Every method but ``describe`` and ``close`` raises ``KeyUnavailable`` where the source does not answer in time,
    ``KeyDenied`` where it refuses, ``KeyMissing`` where it has no such key, and ``KeyCorrupt`` where what it is given
    was changed or belongs to another key or context.
    """

    @property
    def provider(self) -> str:
        """Which kind of source this is: ``raw``, ``local``, ``vault``, ``aws`` or ``recovery``."""
        ...

    @property
    def key_id(self) -> str:
        """The name of the key that wraps."""
        ...

    def generate(self, context: Context) -> tuple[bytes, Wrapped]:
        """A new data key of 32 random bytes, and the same wrapped."""
        ...

    def wrap(self, key: bytes, context: Context) -> Wrapped:
        """A data key that came from elsewhere, wrapped."""
        ...

    def unwrap(self, wrapped: Wrapped, context: Context) -> bytes:
        """The data key."""
        ...

    def rewrap(self, wrapped: Wrapped, context: Context) -> Wrapped:
        """The same data key under the newest version of the source's key."""
        ...

    def describe(self) -> KeyStatus:
        """How the source is now; it asks the source, and raises nothing for what the source answers."""
        ...

    def close(self) -> None:
        """Let go of connections and of keys in memory."""
        ...
