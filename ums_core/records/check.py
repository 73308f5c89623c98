"""Checks that every record runs once, when it is made. Each returns the value in its canonical form."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from ums_core.errors import InvalidField, InvalidInput, InvalidMetadata, InvalidNamespace, InvalidText

__all__ = [
    "MAX_JSON_DEPTH",
    "check_flag",
    "check_json",
    "check_label",
    "check_metadata",
    "check_namespace",
    "check_number",
    "check_prefix",
    "check_text",
    "check_time",
    "check_whole",
    "encodable",
]

MAX_JSON_DEPTH = 64
_INT64 = 2**63


def encodable(text: str) -> bool:
    """Whether UTF-8 can hold the text, that is, whether it has no lone surrogate."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_text(text: object, what: str) -> str:
    """A string that UTF-8 can hold.

    Raises:
        InvalidText: another type, or a lone surrogate.
    """
    if not isinstance(text, str):
        raise InvalidText(f"{what} must be a string, got {type(text).__name__}")
    if not encodable(text):
        raise InvalidText(
            f"{what} holds a lone surrogate and cannot be stored as UTF-8: {text[:40]!r}; "
            "decode the source with errors='replace'"
        )
    return text


def check_label(label: object, what: str, error: type[InvalidInput] = InvalidField) -> str:
    """A non-empty, encodable string without NUL: an id, a tag, a namespace label, a role.

    Raises:
        InvalidInput: of the class given.
    """
    if not isinstance(label, str):
        raise error(f"{what} must be a string, got {type(label).__name__} {label!r}")
    if not label:
        raise error(f"{what} must not be empty")
    if "\0" in label or not encodable(label):
        raise error(f"{what} must be encodable as UTF-8 and free of NUL, got {label!r}")
    return label


def check_namespace(namespace: object) -> tuple[str, ...]:
    """A tuple of labels; ``()`` is the root.

    Raises:
        InvalidNamespace: not a sequence of non-empty strings.
    """
    if isinstance(namespace, str) or not isinstance(namespace, Sequence):
        raise InvalidNamespace(
            f"a namespace is a tuple of strings such as ('users', 'u1'), got {type(namespace).__name__} {namespace!r}"
        )
    for label in namespace:
        check_label(label, "a namespace label", InvalidNamespace)
    return tuple(namespace)


def check_prefix(namespace: object) -> tuple[str, ...]:
    """A namespace prefix; None is ``()``, under which every namespace is.

    Raises:
        InvalidNamespace: neither None nor a sequence of non-empty strings.
    """
    return () if namespace is None else check_namespace(namespace)


def check_number(value: object, what: str, low: float, high: float) -> float:
    """A finite number in [low, high].

    Raises:
        InvalidField: another type, not finite, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidField(f"{what} must be a number, got {type(value).__name__} {value!r}")
    if not low <= value <= high:
        raise InvalidField(f"{what} must lie in [{low:g}, {high:g}], got {value!r}")
    return float(value)


def check_whole(value: object, what: str, low: int = 0) -> int:
    """An integer from ``low`` up to the largest 64-bit one.

    Raises:
        InvalidField: another type, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidField(f"{what} must be an integer, got {type(value).__name__} {value!r}")
    if not low <= value < _INT64:
        raise InvalidField(f"{what} must be at least {low} and fit 64 bits, got {value!r}")
    return value


def check_flag(value: object, what: str) -> bool:
    """True or False itself.

    Raises:
        InvalidField: any other value, 0 and 1 included.
    """
    if not isinstance(value, bool):
        raise InvalidField(f"{what} must be True or False, got {value!r}")
    return value


def check_time(value: object, what: str) -> datetime:
    """A moment with a time zone, of the years 1 to 9999 in UTC: no other one could be read back.

    Raises:
        InvalidField: another type, a naive datetime, or a moment of no such year.
    """
    if not isinstance(value, datetime):
        raise InvalidField(f"{what} must be a datetime, got {type(value).__name__}")
    if value.utcoffset() is None:
        raise InvalidField(f"{what} has no time zone: {value.isoformat()}; use datetime.now(UTC) or .replace(tzinfo=…)")
    try:
        value.astimezone(UTC)
    except OverflowError as error:
        raise InvalidField(f"{what} leaves the years 1 to 9999 in UTC: {value.isoformat()}") from error
    return value


def check_json(value: object, path: str, depth: int = 0) -> object:
    """A deep copy of a JSON value, tuples turned into lists.

    Integers must fit 64 bits and numbers be finite, so that every store and language reads back what was written.

    Raises:
        InvalidMetadata: anything else; the message names the path.
    """
    kind = type(value)
    if kind is str:
        if not encodable(value):  # type: ignore[arg-type]  # narrowed by the line above, which mypy does not follow
            raise InvalidMetadata(f"metadata at {path!r} holds a lone surrogate")
        return value
    if value is None or kind is bool:
        return value
    if kind is int:
        if not -_INT64 <= value < _INT64:  # type: ignore[operator]  # an int, see above
            raise InvalidMetadata(f"metadata at {path!r} does not fit a 64-bit integer; store it as a string")
        return value
    if kind is float:
        if not math.isfinite(value):  # type: ignore[arg-type]  # a float, see above
            raise InvalidMetadata(f"metadata at {path!r} is {value!r}, which JSON cannot hold")
        return value
    if depth >= MAX_JSON_DEPTH:
        raise InvalidMetadata(f"metadata is nested deeper than {MAX_JSON_DEPTH} levels")
    if isinstance(value, Mapping):
        return _check_object(value, path, depth)
    return _check_array(value, path, depth)


def check_metadata(metadata: object) -> dict[str, object]:
    """A deep copy of a JSON object.

    Raises:
        InvalidMetadata: not a mapping, or not JSON somewhere inside.
    """
    # A dict is told without the machinery of abstract classes.
    if not isinstance(metadata, (dict, Mapping)):
        raise InvalidMetadata(f"metadata must be a mapping, got {type(metadata).__name__}")
    return _check_object(metadata, "", 0)


def _check_array(value: object, path: str, depth: int) -> list[object]:
    if not isinstance(value, (list, tuple)):
        raise InvalidMetadata(
            f"metadata at {path!r} is of type {type(value).__name__}, which is not JSON; "
            "convert it to a string, number, list or dict"
        )
    return [check_json(item, f"{path}[{place}]", depth + 1) for place, item in enumerate(value)]


def _check_object(value: Mapping[object, object], path: str, depth: int) -> dict[str, object]:
    out: dict[str, object] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise InvalidMetadata(f"metadata key {key!r} is of type {type(key).__name__}; JSON keys are strings")
        if "\0" in key or not encodable(key):
            raise InvalidMetadata(f"metadata key {key!r} holds NUL or a lone surrogate")
        out[key] = check_json(item, f"{path}.{key}" if path else key, depth + 1)
    return out
