"""Key-encryption keys in a file of one's own: for a device, a server without a key service, and tests."""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from ums_core.crypto import private_file
from ums_core.crypto.cipher import KEY_BYTES, NONCE_BYTES, Aead, Argon2Cost, ForgedError, argon2id, hkdf
from ums_core.crypto.strict_json import bytes_of, exact, items, parsed, text_of, whole_of
from ums_core.errors import InvalidInput, InvalidKey, KeyCorrupt, KeyDenied, KeyFileUnsafe, KeyMissing

__all__ = ["Keyring", "Version"]

_FORMAT = 1
_SALT_BYTES = 16
_PLAIN = {"format", "keys", "proof"}
_LOCKED = {"format", "argon2id", "sealed"}
_COST = {"salt", "memory_kib", "iterations", "lanes"}


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a key; it hides its bytes.

    Attributes:
        number: counted from 1.
        created: UTC, ISO 8601.
        key: 32 bytes.
    """

    number: int
    created: str
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Lock:
    """A passphrase, as far as it must be kept: the key that came out of it, and what went in beside it."""

    salt: bytes
    cost: Argon2Cost
    key: bytes = field(repr=False)

    def told(self) -> dict[str, object]:
        cost = self.cost
        salt = base64.b64encode(self.salt).decode()
        return {"salt": salt, "memory_kib": cost.memory_kib, "iterations": cost.iterations, "lanes": cost.lanes}


class Keyring:
    """A file of named keys, each with its versions. Every change is on the disk as a whole, or not at all.

    The file must belong to this user, and to nobody else in any way. A passphrase seals it as well: without one the
    keys are as safe as the file is.
    """

    def __init__(self, path: Path, passphrase: str | None = None, *, cost: Argon2Cost | None = None) -> None:
        self.path = path
        self._passphrase = None if passphrase is None else _usable(passphrase).encode()
        self._cost = cost or Argon2Cost()
        self._lock: _Lock | None = None
        self._keys: dict[str, list[Version]] = {}

    @classmethod
    def create(cls, path: Path, name: str, passphrase: str | None = None, *, cost: Argon2Cost | None = None) -> Self:
        """A new file with one key.

        Raises:
            InvalidInput: the file exists.
            InvalidKey: the name or the passphrase is empty.
        """
        ring = cls(path, passphrase, cost=cost)
        if ring._passphrase is not None:
            ring._lock = _locked_by(ring._passphrase, secrets.token_bytes(_SALT_BYTES), ring._cost)
        ring._keys = {_usable(name): [_fresh(1)]}
        with private_file.locked(path):
            private_file.create(path, ring._text())
        return ring

    @classmethod
    def open(cls, path: Path, passphrase: str | None = None) -> Self:
        """The keys in a file. With a passphrase it takes the 0.3 s and 64 MiB that a guess costs an attacker.

        Raises:
            KeyMissing: there is no such file.
            KeyFileUnsafe: others could read or replace it, or it has no passphrase where one is expected.
            KeyDenied: the passphrase is missing or is not the one.
            KeyCorrupt: the file is damaged.
        """
        ring = cls(path, passphrase)
        ring.reload()
        return ring

    @property
    def names(self) -> list[str]:
        """The names of the keys, oldest first."""
        return list(self._keys)

    def versions(self, name: str) -> list[Version]:
        """The versions of a key, oldest first; the last one wraps.

        Raises:
            KeyMissing: there is no key of that name.
        """
        if name not in self._keys:
            raise KeyMissing(f"{self.path} holds no key {name!r}, but {', '.join(map(repr, self._keys))}")
        return list(self._keys[name])

    def add(self, name: str) -> int:
        """A new key, or a new version of one that exists; returns its number."""
        with private_file.locked(self.path):
            self.reload()
            known = self._keys.setdefault(_usable(name), [])
            known.append(_fresh(known[-1].number + 1 if known else 1))
            private_file.replace(self.path, self._text())
            return known[-1].number

    def drop(self, name: str, number: int) -> None:
        """Destroy an old version: whatever it still wraps can never be opened again.

        Raises:
            KeyMissing: there is no such key or version.
            InvalidInput: it is the newest.
        """
        with private_file.locked(self.path):
            self.reload()
            known = self.versions(name)
            if number not in {version.number for version in known}:
                raise KeyMissing(f"{self.path} holds no version {number} of {name!r}")
            if number == known[-1].number:
                raise InvalidInput(f"version {number} of {name!r} is the newest: add another one before it is dropped")
            self._keys[name] = [version for version in known if version.number != number]
            private_file.replace(self.path, self._text())

    def reload(self) -> None:
        """Read the file again.

        Raises:
            KeyFailure: as ``open``; what was known stays.
        """
        text = parsed(private_file.read(self.path), str(self.path))
        try:
            raw = _of_this_format(text)
            self._keys = self._plain(raw) if self._passphrase is None else self._unlocked(raw)
        except (ValueError, TypeError) as error:
            raise KeyCorrupt(f"{self.path} is damaged or no keyring ({error}); restore it from its backup") from error

    def _plain(self, raw: Mapping[str, object]) -> dict[str, list[Version]]:
        if "argon2id" in raw:
            raise KeyDenied(f"{self.path} needs its passphrase: name the file that holds it by passphrase_file")
        exact(raw, _PLAIN)
        keys = _decoded(raw["keys"])
        if not hmac.compare_digest(text_of(raw["proof"]), _proof(keys)):
            raise ValueError("its proof does not fit")
        return keys

    def _unlocked(self, raw: Mapping[str, object]) -> dict[str, list[Version]]:
        if "argon2id" not in raw:
            raise KeyFileUnsafe(f"{self.path} is not sealed by a passphrase, though one is given: was it exchanged?")
        exact(raw, _LOCKED)
        told = exact(raw["argon2id"], _COST)
        salt = bytes_of(told["salt"])
        try:
            cost = Argon2Cost(*(whole_of(told[name]) for name in ("memory_kib", "iterations", "lanes")))
        except InvalidKey as error:
            raise ValueError(str(error)) from error
        lock = self._lock
        if lock is None or (lock.salt, lock.cost) != (salt, cost):
            lock = _locked_by(self._passphrase or b"", salt, cost)
        sealed = bytes_of(raw["sealed"])
        try:
            content = Aead(lock.key).open(
                sealed[:NONCE_BYTES].ljust(NONCE_BYTES, b"\0"), sealed[NONCE_BYTES:], _bound(lock)
            )
        except ForgedError:
            raise KeyDenied(f"the passphrase does not open {self.path}, or the file was changed") from None
        keys = _decoded(json.loads(content))
        self._lock = lock
        return keys

    def _text(self) -> bytes:
        keys = _encoded(self._keys)
        if self._lock is None:
            return _json({"format": _FORMAT, "keys": keys, "proof": _proof(self._keys)})
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = nonce + Aead(self._lock.key).seal(nonce, _json(keys), _bound(self._lock))
        return _json({"format": _FORMAT, "argon2id": self._lock.told(), "sealed": base64.b64encode(sealed).decode()})


def _of_this_format(text: object) -> dict[str, object]:
    if not isinstance(text, dict) or text.get("format") != _FORMAT:
        raise ValueError(f"not of format {_FORMAT}, which this version of UMS reads")
    return text


def _locked_by(passphrase: bytes, salt: bytes, cost: Argon2Cost) -> _Lock:
    return _Lock(salt, cost, argon2id(passphrase, salt, cost))


def _bound(lock: _Lock) -> bytes:
    return _json({"format": _FORMAT, "argon2id": lock.told()})


def _fresh(number: int) -> Version:
    return Version(number, datetime.now(UTC).isoformat(timespec="seconds"), secrets.token_bytes(KEY_BYTES))


def _usable(text: str) -> str:
    if not text or not text.isprintable():
        raise InvalidKey("the name of a key, and a passphrase, must be one line of printable characters")
    return text


def _proof(keys: Mapping[str, list[Version]]) -> str:
    """HMAC by a key out of all keys: against damage, as whoever can write the file could make another."""
    material = b"".join(version.key for known in keys.values() for version in known)
    return hmac.new(hkdf(material, salt=b"", info=b"ums/keyring/v1"), _json(_encoded(keys)), hashlib.sha256).hexdigest()


def _encoded(keys: Mapping[str, list[Version]]) -> list[object]:
    return [
        {
            "name": name,
            "versions": [
                {"number": v.number, "created": v.created, "key": base64.b64encode(v.key).decode()} for v in known
            ],
        }
        for name, known in keys.items()
    ]


def _decoded(raw: object) -> dict[str, list[Version]]:
    keys: dict[str, list[Version]] = {}
    for entry in items(raw):
        named = exact(entry, {"name", "versions"})
        versions = []
        for inner in items(named["versions"]):
            version = exact(inner, {"number", "created", "key"})
            versions.append(Version(whole_of(version["number"]), text_of(version["created"]), bytes_of(version["key"])))
        numbers = [version.number for version in versions]
        if not versions or numbers != sorted(set(numbers)) or any(len(v.key) != KEY_BYTES for v in versions):
            raise ValueError("a key has one or more versions, ascending, of 32 bytes each")
        keys[text_of(named["name"])] = versions
    return keys


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"
