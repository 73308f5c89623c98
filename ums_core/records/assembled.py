"""Records made of fields that need no check."""

from typing import TypeVar

__all__ = ["assembled"]

T = TypeVar("T")


def assembled(kind: type[T], fields: dict[str, object]) -> T:
    """A frozen dataclass without slots, in one step instead of one guarded assignment a field: a quarter of the time.

    Args:
        kind: a class that checks nothing when it is made.
        fields: all of them by name; the object keeps this very mapping.
    """
    record = object.__new__(kind)
    object.__setattr__(record, "__dict__", fields)
    return record
