"""JSON as key files are written: nothing twice, nothing more, nothing of another type."""

import base64
import binascii
import json
from collections.abc import Sequence

from ums_core.errors import KeyCorrupt

__all__ = ["bytes_of", "exact", "items", "parsed", "text_of", "whole_of"]


def parsed(text: bytes, origin: str) -> object:
    """What the text says.

    Raises:
        KeyCorrupt: it is not JSON, repeats a name, or holds NaN.
    """
    try:
        return json.loads(text, object_pairs_hook=_without_repeats, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise KeyCorrupt(f"{origin} is damaged or no key file of UMS ({error}); restore it from its backup") from error


def exact(value: object, names: set[str]) -> dict[str, object]:
    """The mapping, which must have exactly these names; else ValueError."""
    if not isinstance(value, dict) or set(value) != names:
        raise ValueError(f"expected exactly {', '.join(sorted(names))}")
    return value


def items(value: object) -> list[object]:
    """The list; else TypeError."""
    if not isinstance(value, list):
        raise TypeError("expected a list")
    return value


def text_of(value: object) -> str:
    """The text; else TypeError."""
    if not isinstance(value, str):
        raise TypeError("expected a text")
    return value


def whole_of(value: object) -> int:
    """The integer; else TypeError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("expected a whole number")
    return value


def bytes_of(value: object) -> bytes:
    """The bytes that a text in base64 stands for; else TypeError or ValueError."""
    try:
        return base64.b64decode(text_of(value), validate=True)
    except binascii.Error as error:
        raise ValueError("expected base64") from error


def _without_repeats(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found


def _refused(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")
