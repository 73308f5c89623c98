"""The text of the file that holds a database's wrapped keys: strict JSON, proved by the active key itself."""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, cast, get_args

from ums_core.crypto.keys import DataKey
from ums_core.errors import KeyCorrupt
from ums_core.ports import Wrapped

__all__ = ["Document", "KeyRecord", "Slot", "SlotName", "State", "decoded", "encoded", "proof_of"]

State: TypeAlias = Literal["active", "pending", "retired", "destroyed"]
SlotName: TypeAlias = Literal["main", "recovery"]

_FORMAT = 1
_DOCUMENT = {"format", "database", "revision", "recovery", "keys", "proof"}
_KEY = {"id", "state", "created", "slots"}
_SLOT = {"slot", "provider", "key", "version", "blob"}


@dataclass(frozen=True, slots=True)
class Slot:
    """One wrapping of a data key.

    Attributes:
        name: ``main`` is the source that the settings name, ``recovery`` the code in the safe.
        wrapped: the key in it.
    """

    name: SlotName
    wrapped: Wrapped


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What the file says about one data key.

    Attributes:
        key_id: 16 hexadecimal digits.
        state: ``active`` seals from now on; ``pending`` will, once everything is under it; ``retired`` may still
            open something; ``destroyed`` has no wrapping left.
        created: UTC, ISO 8601.
        slots: its wrappings.
    """

    key_id: str
    state: State
    created: str
    slots: tuple[Slot, ...]

    def slot(self, name: SlotName) -> Wrapped | None:
        """The wrapping of that name."""
        return next((slot.wrapped for slot in self.slots if slot.name == name), None)

    def with_slot(self, name: SlotName, wrapped: Wrapped) -> "KeyRecord":
        """The record with another wrapping of that name."""
        return replace(self, slots=(*(slot for slot in self.slots if slot.name != name), Slot(name, wrapped)))


@dataclass(frozen=True, slots=True)
class Document:
    """What an envelope file says.

    Attributes:
        database_id: 32 hexadecimal digits.
        revision: how often the file was written.
        recovery: the public recovery key, 64 hexadecimal digits; empty where there is none.
        keys: oldest first; exactly one is active, at most one pending.
    """

    database_id: str
    revision: int
    recovery: str
    keys: tuple[KeyRecord, ...]

    @property
    def active(self) -> KeyRecord:
        """The key that seals."""
        return next(key for key in self.keys if key.state == "active")

    @property
    def pending(self) -> KeyRecord | None:
        """The key that will seal."""
        return next((key for key in self.keys if key.state == "pending"), None)

    @property
    def current(self) -> list[KeyRecord]:
        """The active key, and the pending one where there is one."""
        return [self.active] if self.pending is None else [self.active, self.pending]

    def named(self, key_id: str) -> KeyRecord | None:
        """The key of that id."""
        return next((key for key in self.keys if key.key_id == key_id), None)

    def with_key(self, changed: KeyRecord) -> "Document":
        """The document with that key in the place of the one of its id, or at the end."""
        if self.named(changed.key_id) is None:
            return replace(self, keys=(*self.keys, changed))
        return replace(self, keys=tuple(changed if key.key_id == changed.key_id else key for key in self.keys))


def encoded(document: Document, active: DataKey) -> bytes:
    """The text of the file, with its proof."""
    return json.dumps({**_body(document), "proof": proof_of(document, active)}, indent=1).encode() + b"\n"


def proof_of(document: Document, active: DataKey) -> str:
    """HMAC-SHA256 over all that the document says, by a key that only the active data key gives."""
    message = json.dumps(_body(document), sort_keys=True, separators=(",", ":")).encode()
    return hmac.new(active.derive("envelope"), message, hashlib.sha256).hexdigest()


def decoded(text: bytes, origin: str) -> tuple[Document, str]:
    """What the text says, and its proof, which is still to be checked.

    Raises:
        KeyCorrupt: it is not the text of an envelope file.
    """
    try:
        raw = _mapping(json.loads(text, object_pairs_hook=_without_repeats, parse_constant=_refused), _DOCUMENT)
        return _document(raw), _hex(raw["proof"], 64)
    except (ValueError, TypeError, RecursionError) as error:
        raise KeyCorrupt(f"{origin} is damaged or no key file of UMS ({error}); restore it from its backup") from error


def _body(document: Document) -> dict[str, object]:
    return {
        "format": _FORMAT,
        "database": document.database_id,
        "revision": document.revision,
        "recovery": document.recovery,
        "keys": [
            {
                "id": key.key_id,
                "state": key.state,
                "created": key.created,
                "slots": [
                    {
                        "slot": slot.name,
                        "provider": slot.wrapped.provider,
                        "key": slot.wrapped.key_id,
                        "version": slot.wrapped.version,
                        "blob": base64.b64encode(slot.wrapped.blob).decode(),
                    }
                    for slot in key.slots
                ],
            }
            for key in document.keys
        ],
    }


def _document(raw: Mapping[str, object]) -> Document:
    if raw["format"] != _FORMAT:
        raise ValueError(f"format {raw['format']!r}; this version of UMS reads {_FORMAT}")
    keys = tuple(_key(entry) for entry in _list(raw["keys"]))
    states = [key.state for key in keys]
    if states.count("active") != 1 or states.count("pending") > 1 or len({key.key_id for key in keys}) < len(keys):
        raise ValueError("there must be one active key and at most one pending, each of an id of its own")
    return Document(
        database_id=_hex(raw["database"], 32),
        revision=_whole(raw["revision"]),
        recovery=_hex(raw["recovery"], 64) if raw["recovery"] else "",
        keys=keys,
    )


def _key(entry: object) -> KeyRecord:
    raw = _mapping(entry, _KEY)
    state = _text(raw["state"])
    if state not in get_args(State):
        raise ValueError(f"unknown state {state!r}")
    slots = tuple(_slot(slot) for slot in _list(raw["slots"]))
    if len({slot.name for slot in slots}) < len(slots) or bool(slots) == (state == "destroyed"):
        raise ValueError("a key has one wrapping of each name, and none once it is destroyed")
    return KeyRecord(_hex(raw["id"], 16), cast("State", state), _text(raw["created"]), slots)


def _slot(entry: object) -> Slot:
    raw = _mapping(entry, _SLOT)
    name = _text(raw["slot"])
    if name not in get_args(SlotName):
        raise ValueError(f"unknown slot {name!r}")
    try:
        blob = base64.b64decode(_text(raw["blob"]), validate=True)
    except binascii.Error as error:
        raise ValueError("a wrapped key is not base64") from error
    wrapped = Wrapped(_text(raw["provider"]), _text(raw["key"]), _text(raw["version"]), blob)
    return Slot(cast("SlotName", name), wrapped)


def _without_repeats(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found


def _refused(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")


def _mapping(value: object, names: set[str]) -> Mapping[str, object]:
    if not isinstance(value, dict) or set(value) != names:
        raise ValueError(f"expected exactly {', '.join(sorted(names))}")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("expected a list")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("expected a text")
    return value


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("expected a whole number")
    return value


def _hex(value: object, digits: int) -> str:
    text = _text(value)
    if len(text) != digits or not set(text) <= set("0123456789abcdef"):
        raise ValueError(f"expected {digits} hexadecimal digits")
    return text
