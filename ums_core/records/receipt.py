"""What an erasure leaves in the hands of whoever asked for it."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Self

from ums_core.errors import InvalidInput
from ums_core.records.check import encodable
from ums_core.records.memory import Namespace

__all__ = ["Receipt"]

_TRACE = re.compile(r"(8|16):[0-9a-f]{5}:[0-9a-f]{64}")
# No row is numbered higher: with the place of a passage behind it, it fits 64 bits.
_MOST_ROWS = 2**47 - 2


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
        receipt = cls(**given | tuples | {"at": at})  # type: ignore[arg-type]  # looked at on the next line
        if not receipt._is_sound():
            raise InvalidInput("not a receipt of an erasure: a value is none that erase() returned; give it unchanged")
        return receipt

    def _is_sound(self) -> bool:
        """Whether every value is of the kind that it is said to be."""
        lists = (self.namespace, self.ids, self.derived, self.rids, self.traces)
        if not all(isinstance(each, tuple) for each in lists) or not isinstance(self.folded, bool):
            return False
        words = (self.database_id, *self.namespace, *self.ids, *self.derived, *self.traces)
        if not all(isinstance(word, str) and encodable(word) for word in words):
            return False
        numbers = (self.seq, *self.rids)
        return all(type(number) is int and 0 <= number <= _MOST_ROWS for number in numbers) and all(
            _TRACE.fullmatch(trace) for trace in self.traces
        )
