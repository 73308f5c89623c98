"""The text of the file that holds a database's wrapped keys: strict JSON, proved by the active key itself."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, cast, get_args

from ums_core.crypto.keys import DataKey
from ums_core.crypto.strict_json import bytes_of, exact, items, parsed, text_of, whole_of
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
        raw = exact(parsed(text, origin), _DOCUMENT)
        return _document(raw), _hex(raw["proof"], 64)
    except (ValueError, TypeError) as error:
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
    keys = tuple(_key(entry) for entry in items(raw["keys"]))
    states = [key.state for key in keys]
    if states.count("active") != 1 or states.count("pending") > 1 or len({key.key_id for key in keys}) < len(keys):
        raise ValueError("there must be one active key and at most one pending, each of an id of its own")
    return Document(
        database_id=_hex(raw["database"], 32),
        revision=whole_of(raw["revision"]),
        recovery=_hex(raw["recovery"], 64) if raw["recovery"] else "",
        keys=keys,
    )


def _key(entry: object) -> KeyRecord:
    raw = exact(entry, _KEY)
    state = text_of(raw["state"])
    if state not in get_args(State):
        raise ValueError(f"unknown state {state!r}")
    slots = tuple(_slot(slot) for slot in items(raw["slots"]))
    if len({slot.name for slot in slots}) < len(slots) or bool(slots) == (state == "destroyed"):
        raise ValueError("a key has one wrapping of each name, and none once it is destroyed")
    return KeyRecord(_hex(raw["id"], 16), cast("State", state), text_of(raw["created"]), slots)


def _slot(entry: object) -> Slot:
    raw = exact(entry, _SLOT)
    name = text_of(raw["slot"])
    if name not in get_args(SlotName):
        raise ValueError(f"unknown slot {name!r}")
    wrapped = Wrapped(text_of(raw["provider"]), text_of(raw["key"]), text_of(raw["version"]), bytes_of(raw["blob"]))
    return Slot(cast("SlotName", name), wrapped)


def _hex(value: object, digits: int) -> str:
    text = text_of(value)
    if len(text) != digits or not set(text) <= set("0123456789abcdef"):
        raise ValueError(f"expected {digits} hexadecimal digits")
    return text
