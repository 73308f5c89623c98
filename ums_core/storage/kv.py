"""A small area of named collections, key to bytes or JSON, for what adapters keep beside memories."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ums_core.errors import InvalidInput
from ums_core.records.arguments import check_keys
from ums_core.records.check import check_json, check_label, check_text, check_whole
from ums_core.storage.connect import Connection
from ums_core.storage.table import chunked

__all__ = ["Walk", "delete", "get", "put", "scan"]


def put(connection: Connection, collection: str, items: Mapping[str, object]) -> None:
    """Set keys to values: bytes, or anything that JSON holds.

    Raises:
        InvalidInput: a key that is not a plain string, or a value that is neither bytes nor JSON.
    """
    check_label(collection, "collection", InvalidInput)
    if not isinstance(items, Mapping):
        raise InvalidInput(f"items must be a mapping of key to value, got {type(items).__name__}")
    rows = []
    for key, value in items.items():
        check_label(key, "key", InvalidInput)
        if isinstance(value, bytes):
            rows.append((collection, key, value, 0))
        else:
            rows.append((collection, key, json.dumps(check_json(value, key), ensure_ascii=False).encode(), 1))
    connection.executemany("INSERT OR REPLACE INTO kv VALUES (?, ?, ?, ?)", rows)


def get(connection: Connection, collection: str, keys: Sequence[str]) -> list[object]:
    """The values in the order of the keys, None where there is none."""
    keys = _checked(collection, keys)
    found: dict[str, object] = {}
    for part in chunked(keys):
        places = ",".join("?" * len(part))
        for key, value, is_json in connection.execute(
            f"SELECT key, value, json FROM kv WHERE collection = ? AND key IN ({places})", (collection, *part)
        ):
            found[key] = json.loads(value) if is_json else value
    return [found.get(key) for key in keys]


def delete(connection: Connection, collection: str, keys: Sequence[str]) -> int:
    """Delete keys and return how many there were."""
    keys = _checked(collection, keys)
    count = 0
    for part in chunked(keys):
        places = ",".join("?" * len(part))
        count += connection.execute(
            f"DELETE FROM main.kv WHERE collection = ? AND key IN ({places})", (collection, *part)
        ).rowcount
    return count


@dataclass(frozen=True, slots=True)
class Walk:
    """Over the keys that begin with ``prefix`` and follow ``after``, by code point; an empty ``after`` is the start."""

    prefix: str
    after: str
    descending: bool

    def __post_init__(self) -> None:
        """Check both strings."""
        check_text(self.prefix, "prefix")
        check_text(self.after, "after")


def scan(connection: Connection, collection: str, walk: Walk, limit: int) -> list[tuple[str, object]]:
    """Keys with their values, at most ``limit``."""
    check_label(collection, "collection", InvalidInput)
    check_whole(limit, "limit", 1)
    where, values = "collection = ?", [collection]
    if walk.after:
        where, values = f"{where} AND key {'<' if walk.descending else '>'} ?", [*values, walk.after]
    if walk.prefix:
        where, values = f"{where} AND key >= ?", [*values, walk.prefix]
        end = _end_of(walk.prefix)
        if end:
            where, values = f"{where} AND key < ?", [*values, end]
    found = connection.execute(
        f"SELECT key, value, json FROM kv WHERE {where} ORDER BY key {'DESC' if walk.descending else 'ASC'} LIMIT ?",
        (*values, limit),
    )
    return [(key, json.loads(value) if is_json else value) for key, value, is_json in found]


def _end_of(prefix: str) -> str:
    """The least string greater than all that begin with the prefix, by code point; empty where there is none."""
    trimmed = prefix.rstrip("\U0010ffff")
    if not trimmed:
        return ""
    following = ord(trimmed[-1]) + 1
    # UTF-8 holds no surrogate.
    return trimmed[:-1] + chr(0xE000 if following == 0xD800 else following)  # noqa: PLR2004  # the range of surrogates


def _checked(collection: str, keys: Sequence[str]) -> list[str]:
    check_label(collection, "collection", InvalidInput)
    return check_keys(keys)
