"""The one protocol that every channel speaks: local, remote and dual."""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, Self, runtime_checkable

from ums_core.ports.lifecycle import Lifecycle
from ums_core.ports.tending import Tending
from ums_core.records import Draft, Filter, Health, Hit, Memory, Namespace, Page, Patch, Query

__all__ = ["MemoryStore", "PersonalStore"]


@runtime_checkable
class MemoryStore(Lifecycle, Tending, Protocol):
    """Remembers. Blocking and thread-safe; every verb is batch-first, and a batch is all or nothing.

    Writes take an idempotency key: the same key with the same write gives the same answer and writes nothing more.
    ``EnhancedMemoryStore`` is the same, awaitable.
    """

    def add(self, drafts: Sequence[Draft], *, idempotency_key: str | None = None) -> list[Memory]:
        """Store the drafts durably and return them as memories, in the same order.

        An existing identity is replaced and keeps its ``created_at``; in one batch the last one wins.

        Raises:
            InvalidInput: a vector that cannot be used; nothing was written.
            EmbedderMismatch: the database is bound to another embedder.
            IndexRecovering: the index is being rebuilt.
            IdempotencyConflict: the key stands for another write.
            StorageError: the disk refused; nothing was written.
        """
        ...

    def get(self, ids: Sequence[str], *, namespace: Namespace = (), vectors: bool = False) -> list[Memory | None]:
        """The memories of one exact namespace, in the order of the ids, None where there is none.

        Args:
            ids: any number.
            namespace: the whole namespace, not a prefix.
            vectors: whether the passages carry their vectors.
        """
        ...

    def update(self, patches: Sequence[Patch], *, idempotency_key: str | None = None) -> list[Memory]:
        """Change some fields of existing memories and return them as they are now.

        Raises:
            MemoryNotFound: one of them does not exist; nothing was written.
        """
        ...

    def delete(self, ids: Sequence[str], *, namespace: Namespace = (), idempotency_key: str | None = None) -> int:
        """Delete from one exact namespace, and return how many there were; unknown ids are ignored."""
        ...

    def search(self, query: Query) -> list[Hit]:
        """The best hits, best first, at most ``query.k``; what has expired is never among them."""
        ...

    def scan(
        self,
        *,
        namespace: Namespace = (),
        filter: Filter | Mapping[str, object] | None = None,  # noqa: A002  # the field's standard term
        limit: int = 100,
        cursor: int | None = None,
        descending: bool = False,
    ) -> Page:
        """One page of all memories under a namespace prefix, as they were first stored, or from the last one back."""
        ...

    def count(
        self,
        *,
        namespace: Namespace = (),
        filter: Filter | Mapping[str, object] | None = None,  # noqa: A002  # the field's standard term
    ) -> int:
        """How many memories there are under a namespace prefix."""
        ...

    def namespaces(
        self,
        *,
        prefix: Namespace = (),
        filter: Filter | Mapping[str, object] | None = None,  # noqa: A002  # the field's standard term
    ) -> list[Namespace]:
        """All namespaces under the prefix that hold a memory which meets the filter, in ascending order of labels."""
        ...

    def kv_put(self, collection: str, items: Mapping[str, object]) -> None:
        """Set keys of a collection to bytes or JSON values, all or none.

        For the small things that an adapter keeps beside memories; they are no memories, and no search finds them.

        Raises:
            InvalidInput: a name that is not a plain string, or a value that is neither bytes nor JSON.
        """
        ...

    def kv_get(self, collection: str, keys: Sequence[str]) -> list[object]:
        """The values in the order of the keys, None where there is none."""
        ...

    def kv_delete(self, collection: str, keys: Sequence[str]) -> int:
        """Delete keys of a collection and return how many there were."""
        ...

    def kv_scan(
        self, collection: str, *, prefix: str = "", after: str = "", limit: int = 1000, descending: bool = False
    ) -> list[tuple[str, object]]:
        """Keys that begin with ``prefix`` and follow ``after``, with their values, at most ``limit``.

        The order is that of code points, ascending or descending; an empty ``after`` is the start of it.
        """
        ...

    def health(self) -> Health:
        """Whether writes are taken, and what stands behind the answers."""
        ...

    def close(self) -> None:
        """Save the index and let go of the files; a second call does nothing."""
        ...

    def __enter__(self) -> Self:
        """Return the store itself."""
        ...

    def __exit__(self, *_: object) -> None:
        """Close the store."""
        ...


class PersonalStore(MemoryStore, Protocol):
    """A store that keeps everything on this device. Whoever says so holds no network client.

    Attributes:
        on_device: True, and nothing else.
    """

    @property
    def on_device(self) -> Literal[True]:
        """Always True."""
        ...
