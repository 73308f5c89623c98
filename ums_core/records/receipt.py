"""What an erasure leaves in the hands of whoever asked for it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Self

from ums_core.errors import InvalidInput
from ums_core.records.memory import Namespace

__all__ = ["Receipt"]


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What was erased, and how to look for traces of it. It holds no word of what it was.

    Attributes:
        database_id: of the database it was erased from.
        seq: number of the change that erased it.
        at: when, in UTC.
        namespace: the exact namespace.
        ids: what was there and is gone, in the order asked for, what was derived from it after it.
        derived: those of the ids that nobody asked for: memories whose ``source_ids`` name an erased one.
        rids: row ids, which are never used twice.
        traces: fingerprints of pieces of text, metadata and vectors, keyed by the database: only with it can they be
            compared with anything.
        folded: whether the write-ahead log was truncated at once; else a reader held it, and the next close does it.
    """

    database_id: str
    seq: int
    at: datetime
    namespace: Namespace
    ids: tuple[str, ...]
    derived: tuple[str, ...]
    rids: tuple[int, ...]
    traces: tuple[str, ...]
    folded: bool = False

    def to_dict(self) -> dict[str, object]:
        """The receipt as JSON values."""
        lists = {name: list(value) for name, value in asdict(self).items() if isinstance(value, tuple)}
        return asdict(self) | lists | {"at": self.at.isoformat()}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """The inverse of ``to_dict``.

        Raises:
            InvalidInput: it is not what ``to_dict`` gives.
        """
        try:
            given = {field.name: values[field.name] for field in fields(cls)}
            tuples = {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
            at = datetime.fromisoformat(str(given["at"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"not a receipt of an erasure: {error!r}; give what erase() returned") from error
        return cls(**given | tuples | {"at": at})  # type: ignore[arg-type]  # as to_dict wrote them
