"""Keys in the Transit engine of HashiCorp Vault or OpenBao.

Transit makes a data key and wraps it; that key, used once, wraps the data key of the database together with what it is
bound to. So the database's key is bound although ``rewrap`` of Transit takes no associated data, and three rights are
enough: ``update`` on ``transit/datakey/plaintext/KEY``, ``transit/decrypt/KEY`` and ``transit/rewrap/KEY``.
"""

from __future__ import annotations

import base64
import ipaddress
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from ums_core.crypto.cipher import KEY_BYTES
from ums_core.crypto.retry import patiently
from ums_core.crypto.secret_file import read_secret
from ums_core.crypto.wrapping import WrappingKeys
from ums_core.errors import (
    KeyCorrupt,
    KeyDenied,
    KeyFailure,
    KeyMissing,
    KeyUnavailable,
    MissingExtra,
    SettingsError,
    UMSError,
)
from ums_core.ports import KeyStatus, Wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ums_core.ports import Context

__all__ = ["AppRole", "Login", "TokenFile", "VaultAddress", "VaultSource"]

TIMEOUT_S = 2.0
_SEPARATOR = b"\n"
_DATA_KEY = {"bits": 8 * KEY_BYTES}
_NAME = re.compile(r"[\w.-]+")
_MISSING = "keys in Vault need the package hvac: pip install 'ums-core[vault]'"


@dataclass(frozen=True, slots=True)
class VaultAddress:
    """Where Transit is.

    Attributes:
        url: ``https://…``; ``http://`` only to this machine.
        mount: where the Transit engine is mounted.
        namespace: of Vault Enterprise or OpenBao; empty is the root.
        ca_file: certificates to trust in place of the system's; None is the system's.

    Raises:
        SettingsError: the URL is of another form, or would send keys over a network in the clear.
    """

    url: str
    mount: str = "transit"
    namespace: str = ""
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        """Check the URL."""
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query:
            raise SettingsError("the url of Vault must be https://HOST[:PORT], without a user, a token or a query")
        if parts.scheme == "http" and not _is_loopback(parts.hostname):
            raise SettingsError(f"the url of Vault, http://{parts.hostname}, would send keys in the clear; use https")


class Login(Protocol):
    """How a token is had."""

    def token(self, client: Any) -> str:  # noqa: ANN401  # a client of hvac, which is optional
        """A token that is valid now."""
        ...


@dataclass(frozen=True, slots=True)
class TokenFile:
    """A token in a file, which an agent may renew: it is read again when the former one is refused.

    Attributes:
        path: of the file.
    """

    path: Path

    def token(self, client: Any) -> str:  # noqa: ANN401, ARG002  # as the protocol
        """The token in the file."""
        return read_secret(self.path, "the Vault token")


@dataclass(frozen=True, slots=True)
class AppRole:
    """A role and a secret in a file, which give a token for a while.

    Attributes:
        role_id: not secret.
        secret_id_file: path of the file.
        mount: where AppRole is mounted.
    """

    role_id: str
    secret_id_file: Path
    mount: str = "approle"

    def token(self, client: Any) -> str:  # noqa: ANN401  # as the protocol
        """A new token."""
        secret_id = read_secret(self.secret_id_file, "the AppRole secret_id")
        given = client.auth.approle.login(self.role_id, secret_id, use_token=False, mount_point=self.mount)
        token: str = given["auth"]["client_token"]
        return token


class VaultSource:
    """A :class:`~ums_core.ports.KeySource` over one Transit key. It connects at the first use.

    Each call is bounded: two seconds to connect and to answer, three tries.

    Args:
        address: where Transit is.
        key_id: the name of the key in it.
        login: how a token is had.

    Raises:
        MissingExtra: ``hvac`` is not installed.
        SettingsError: no key of Transit can have that name.
    """

    provider = "vault"

    def __init__(self, address: VaultAddress, key_id: str, login: Login) -> None:
        try:
            import hvac  # type: ignore[import-untyped]  # noqa: PLC0415  # no types; extra `vault`
        except ModuleNotFoundError as error:
            raise MissingExtra(_MISSING) from error
        if not _NAME.fullmatch(key_id):
            raise SettingsError(f"a Transit key is named by letters, digits, and the signs . _ -, got {key_id!r}")
        self.key_id = key_id
        self._login = login
        self._mount = address.mount
        self._url = address.url
        verify = str(address.ca_file) if address.ca_file else True
        self._errors = hvac.exceptions
        self._client = hvac.Client(
            url=address.url,
            # None would be read from the environment and from the home directory.
            token="",
            verify=verify,
            timeout=TIMEOUT_S,
            allow_redirects=False,
            namespace=address.namespace or None,
        )
        # Otherwise a proxy or other certificates could come from the environment.
        self._client.session.trust_env = False
        self._lock = threading.RLock()

    def generate(self, context: Context) -> tuple[bytes, Wrapped]:
        """A new data key of 32 random bytes, and the same wrapped."""
        outer, ciphertext = self._data_key()
        key, inner = self._inner(outer).generate(context)
        return key, self._packed(ciphertext, inner)

    def wrap(self, key: bytes, context: Context) -> Wrapped:
        """The data key, wrapped by the newest version."""
        outer, ciphertext = self._data_key()
        return self._packed(ciphertext, self._inner(outer).wrap(key, context))

    def unwrap(self, wrapped: Wrapped, context: Context) -> bytes:
        """The data key."""
        ciphertext, inner = _unpacked(wrapped)
        answer = self._ask("decrypt", {"ciphertext": ciphertext})
        outer = self._inner(_key_of(answer))
        return outer.unwrap(Wrapped(self.provider, self.key_id, "", inner), context)

    def rewrap(self, wrapped: Wrapped, context: Context) -> Wrapped:  # noqa: ARG002  # bound by what is inside
        """The same data key under the newest version; it does not come here."""
        ciphertext, inner = _unpacked(wrapped)
        answer = self._ask("rewrap", {"ciphertext": ciphertext})
        return self._packed(str(answer["ciphertext"]), Wrapped(self.provider, self.key_id, "", inner))

    def describe(self) -> KeyStatus:
        """How Transit is now; it asks for a data key, which needs no further right."""
        try:
            version = _version_of(self._once("datakey/plaintext", _DATA_KEY)["ciphertext"])
        except UMSError as error:
            return KeyStatus(self.provider, self.key_id, "", reachable=False, detail=(str(error),))
        return KeyStatus(self.provider, self.key_id, version, reachable=True)

    def close(self) -> None:
        """Close the connections."""
        self._client.adapter.close()

    def _data_key(self) -> tuple[bytes, str]:
        answer = self._ask("datakey/plaintext", _DATA_KEY)
        return _key_of(answer), str(answer["ciphertext"])

    def _inner(self, outer: bytes) -> WrappingKeys:
        return WrappingKeys(self.provider, self.key_id, {"": outer})

    def _packed(self, ciphertext: str, inner: Wrapped) -> Wrapped:
        blob = ciphertext.encode() + _SEPARATOR + inner.blob
        return Wrapped(self.provider, self.key_id, _version_of(ciphertext), blob)

    def _ask(self, verb: str, data: Mapping[str, object]) -> Mapping[str, Any]:
        return patiently(lambda: self._once(verb, data))

    def _once(self, verb: str, data: Mapping[str, object]) -> Mapping[str, Any]:
        path = f"{self._mount}/{verb}/{self.key_id}"
        with self._lock:
            answer = self._authenticated(lambda: self._client.write_data(path, data=data))
        if not isinstance(answer, dict):
            raise KeyUnavailable(f"{self._url} answers, but not as Vault does; check url in AI_SECURITY__KMS_PARAMS")
        told: Mapping[str, Any] = answer["data"]
        return told

    def _authenticated(self, ask: Callable[[], object]) -> object:
        """Ask with the token at hand, and once more with a new one where it is refused."""
        if self._client.token:
            try:
                return self._translated(ask)
            except KeyDenied:
                self._client.token = ""
        self._client.token = self._translated(lambda: self._login.token(self._client))
        return self._translated(ask)

    def _translated(self, ask: Callable[[], Any]) -> Any:  # noqa: ANN401  # as the client gives it
        errors, where = self._errors, f"Vault at {self._url}, key {self.key_id!r}"
        try:
            return ask()
        except UMSError:
            raise
        except (errors.Forbidden, errors.Unauthorized) as error:
            raise KeyDenied(
                f"{where}: refused; the token or role needs 'update' on datakey/plaintext, decrypt and rewrap of it"
            ) from error
        except errors.InvalidPath as error:
            raise KeyMissing(
                f"{where}: there is no engine at {self._mount!r}; check mount in AI_SECURITY__KMS_PARAMS"
            ) from error
        except errors.InvalidRequest as error:
            raise _meaning(where, _short(error)) from error
        except errors.VaultError as error:
            raise KeyUnavailable(f"{where}: {_short(error)}; is it sealed, or starting?", retry_after_s=5.0) from error
        except OSError as error:
            # All that requests raises is an OSError; the certificate's is told apart by its name.
            if type(error).__name__ == "SSLError":
                raise KeyDenied(
                    f"{where}: its certificate is not trusted; name the authority's file as ca_file"
                ) from error
            raise KeyUnavailable(f"{where}: no answer ({type(error).__name__})", retry_after_s=5.0) from error


def _meaning(where: str, said: str) -> KeyFailure:
    if "encryption key not found" in said:
        return KeyMissing(f"{where}: there is no such key; create it, or restore the engine's storage")
    if "too old" in said:
        return KeyDenied(
            f"{where}: the version that wrapped is below min_decryption_version; lower it, then ums keys rotate"
        )
    if "login" in said or "role" in said or "secret id" in said:
        return KeyDenied(f"{where}: the AppRole login was refused; is the secret_id spent, or the role another?")
    return KeyCorrupt(f"{where}: the wrapped key is not what was written ({said})")


def _short(error: Exception) -> str:
    return str(error).partition(", on ")[0] or type(error).__name__


def _key_of(answer: Mapping[str, Any]) -> bytes:
    return base64.b64decode(answer["plaintext"])


def _version_of(ciphertext: str) -> str:
    return ciphertext.split(":")[1].removeprefix("v") if ciphertext.count(":") > 1 else ""


def _unpacked(wrapped: Wrapped) -> tuple[str, bytes]:
    ciphertext, _, inner = wrapped.blob.partition(_SEPARATOR)
    return ciphertext.decode("latin-1"), inner


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
