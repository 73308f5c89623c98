"""Who may come in: tokens of which only a hash is kept, each for one tenant.

A token is ``ums_<env>_<key id>_<secret><checksum>``: the prefix lets scanners find a leaked one, the checksum (CRC-32)
tells a mistyped one without a look at the registry. The secret has 256 random bits, so a plain SHA-256 of it is enough.
"""

import hashlib
import hmac
import json
import os
import re
import secrets
import threading
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from filelock import FileLock

from ums_core.errors import InvalidInput, NotADatabase, Unauthenticated

__all__ = ["DEFAULT_TENANT", "SCOPES", "Tenant", "Token", "Tokens", "tokens_path", "ttl_of"]

SCOPES = ("memory:read", "memory:write", "memory:forget", "admin", "metrics:read")
DEFAULT_TENANT = "default"

_TENANT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_FORM = re.compile(r"ums_[a-z]{1,16}_([0-9a-f]{12})_([A-Za-z0-9_-]{43})([0-9a-f]{8})")
_TTL = re.compile(r"([1-9][0-9]{0,5})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_VERSION = 1
_NO_TOKEN = "this needs a token: Authorization: Bearer ums_…; ums tokens create makes one"  # noqa: S105  # a message


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whose memories they are. Lower case, so that no file system takes two for one.

    Raises:
        InvalidInput: not letters, digits, ``-`` and ``_``, at most 63.
    """

    name: str

    def __post_init__(self) -> None:
        """Check the name once."""
        if not isinstance(self.name, str) or not _TENANT.fullmatch(self.name):
            raise InvalidInput(
                f"a tenant is called by lower-case letters, digits, - and _, at most 63, got {self.name!r}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What is kept of a token; the secret is not.

    Attributes:
        key_id: names it in public.
        tenant: whose memories it opens.
        scopes: what it may do, of ``SCOPES``.
        digest: SHA-256 of the secret, in hexadecimal.
        created_at: when it was made.
        expires_at: not taken from then on; None is never.
        revoked_at: when it was taken back.
        last_used: the last day on which it was used, to the day for the sake of privacy.
    """

    key_id: str
    tenant: str
    scopes: tuple[str, ...]
    digest: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used: str | None = None

    def holds(self, now: datetime) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def tokens_path(database: Path) -> Path:
    """The registry of a database's tokens."""
    return database.with_name(f"{database.name}.tokens.json")


def _now() -> datetime:
    return datetime.now(UTC)


class Tokens:
    """The registry: one file beside the database, readable by its owner alone, shared by all workers.

    A change is seen by every process at its next request, so a revocation needs no restart. Thread-safe.

    Args:
        path: created with the first token.
        clock: the current time in UTC.
    """

    def __init__(self, path: Path, *, clock: Callable[[], datetime] = _now) -> None:
        self.path = path
        self._place = os.fspath(path)
        self._clock = clock
        self._lock = threading.Lock()
        self._stamp: tuple[int, ...] | None = None
        self._held: dict[str, Token] = {}
        # Tokens of this state of the registry that were shown and matched, by a keyed hash of all their characters.
        self._proven: dict[bytes, Token] = {}
        self._proof_key = secrets.token_bytes(32)
        self._log_key = secrets.token_bytes(32)
        self._pseudonyms: dict[str, str] = {}

    def create(self, tenant: Tenant, scopes: Iterable[str], *, env: str, ttl: timedelta | None = None) -> str:
        """A new token; this is the only time that it is shown.

        Raises:
            InvalidInput: an unknown scope, or none.
        """
        wanted = tuple(dict.fromkeys(scopes))
        unknown = [scope for scope in wanted if scope not in SCOPES]
        if unknown or not wanted:
            raise InvalidInput(f"scopes are of {', '.join(SCOPES)}, got {', '.join(unknown) or 'none'}")
        key_id, secret, now = secrets.token_hex(6), secrets.token_urlsafe(32), self._clock()
        token = Token(
            key_id=key_id,
            tenant=tenant.name,
            scopes=wanted,
            digest=_digest(secret),
            created_at=now,
            expires_at=None if ttl is None else now + ttl,
        )
        self._change(lambda held: {**held, key_id: token})
        body = f"ums_{env}_{key_id}_{secret}"
        return body + _checksum(body)

    def revoke(self, key_id: str) -> Token:
        """Take a token back, at once and for every process.

        Raises:
            InvalidInput: there is none of this id.
        """

        def work(held: dict[str, Token]) -> dict[str, Token]:
            if key_id not in held:
                raise InvalidInput(f"there is no token {key_id!r}; ums tokens list shows them")
            token = held[key_id]
            return {**held, key_id: token if token.revoked_at else replace(token, revoked_at=self._clock())}

        return self._change(work)[key_id]

    def all(self) -> list[Token]:
        """Every token, in the order in which they were made."""
        return list(self._read().values())

    def authenticate(self, given: str | None) -> Token:
        """The token that somebody shows.

        Raises:
            Unauthenticated: none, or one that is malformed, unknown, expired or revoked; it does not say which.
        """
        held, proven = self._state()
        proof = hashlib.blake2b((given or "").encode(), key=self._proof_key).digest()
        token = proven.get(proof)
        if token is None:
            token = self._matched(given, held)
            # The prefix is the caller's to choose, so one token may be shown in any number of forms.
            if len(proven) >= len(held):
                proven.clear()
            # Of the state that was looked at, whatever another thread has read since.
            proven[proof] = token
        if not token.holds(self._clock()):
            raise Unauthenticated(_NO_TOKEN)
        return token

    def _matched(self, given: str | None, held: Mapping[str, Token]) -> Token:
        form = _FORM.fullmatch(given or "")
        key_id, secret, checksum = form.groups() if form else ("", "", "")
        token = held.get(key_id)
        # The same work for an unknown key as for a known one.
        expected = token.digest if token else _digest("")
        matches = hmac.compare_digest(_digest(secret), expected)
        whole = given is not None and hmac.compare_digest(_checksum(given[: -len(checksum) or None]), checksum)
        if token is None or not matches or not whole:
            raise Unauthenticated(_NO_TOKEN)
        return token

    def recheck(self, token: Token) -> None:
        """Pass as long as a token that was authenticated holds.

        Raises:
            Unauthenticated: it has expired, or was revoked or removed.
        """
        known = self._read().get(token.key_id)
        if known is None or known.digest != token.digest or not known.holds(self._clock()):
            raise Unauthenticated(_NO_TOKEN)

    def used_today(self, token: Token) -> bool:
        """Whether the day of its use is noted already."""
        return token.last_used == self._today()

    def note_use(self, token: Token) -> None:
        """Note the day on which a token is used; writes at most once a day and token."""
        today = self._today()

        def work(held: dict[str, Token]) -> dict[str, Token]:
            known = held.get(token.key_id)
            if known is None or known.last_used == today:
                return held
            return {**held, token.key_id: replace(known, last_used=today)}

        self._change(work)

    def pseudonym(self, name: str) -> str:
        """A keyed hash that stands for a name in logs: equal for equal names of this registry, telling nothing else."""
        known = self._pseudonyms
        if name not in known:
            self._read()
            known = self._pseudonyms
            known[name] = hmac.new(self._log_key, name.encode(), hashlib.sha256).hexdigest()[:16]
        return known[name]

    def _today(self) -> str:
        return self._clock().date().isoformat()

    def _read(self) -> dict[str, Token]:
        return self._state()[0]

    def _state(self) -> tuple[dict[str, Token], dict[bytes, Token]]:
        """The registry as it is in its file now, and what of it was proven."""
        try:
            status = os.stat(self._place)  # noqa: PTH116  # a third of the time of Path.stat, at every request
        except FileNotFoundError:
            return {}, {}
        stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
        with self._lock:
            if stamp != self._stamp:
                self._held, self._log_key = _load(self.path)
                self._pseudonyms, self._proven = {}, {}
                self._stamp = stamp
            return self._held, self._proven

    def _change(self, work: Callable[[dict[str, Token]], dict[str, Token]]) -> dict[str, Token]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock", mode=0o600):
            before = self._read()
            after = work(before)
            if after is not before:
                _save(self.path, after, self._log_key)
        return after


def ttl_of(text: str) -> timedelta:
    """A span such as ``30d``, ``12h`` or ``2w``.

    Raises:
        InvalidInput: not a whole number with one of the units s, m, h, d, w.
    """
    form = _TTL.fullmatch(text)
    if form is None:
        raise InvalidInput(f"a time to live is a number and a unit of s, m, h, d or w, such as 30d, got {text!r}")
    return timedelta(**{_UNITS[form[2]]: int(form[1])})


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"


def _load(path: Path) -> tuple[dict[str, Token], bytes]:
    try:
        held: dict[str, Any] = json.loads(path.read_bytes())
        tokens = [_token(entry) for entry in held["tokens"]]
        return {token.key_id: token for token in tokens}, bytes.fromhex(held["log_key"])
    except (ValueError, KeyError, TypeError) as error:
        raise NotADatabase(f"{path} is not a registry of tokens; restore it, or remove it and make new ones") from error


def _save(path: Path, held: dict[str, Token], log_key: bytes) -> None:
    content = {"version": _VERSION, "log_key": log_key.hex(), "tokens": [asdict(token) for token in held.values()]}
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file, default=datetime.isoformat, indent=1)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _token(entry: dict[str, Any]) -> Token:
    moments = {name: _moment(entry[name]) for name in ("created_at", "expires_at", "revoked_at")}
    return Token(**{**entry, **moments, "scopes": tuple(entry["scopes"])})


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
