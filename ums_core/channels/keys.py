"""Where the key of a database comes from, by the settings. Part of the composition root."""

from collections.abc import Callable, Mapping
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

from ums_core.errors import SettingsError
from ums_core.ports import KeySource
from ums_core.records.fernet_key import validate_fernet_key
from ums_core.settings import SecuritySettings

__all__ = ["DEFAULT_KEYRING", "key_source", "keyring_file"]

DEFAULT_KEYRING = "~/.config/ums/keyring.json"
# Of 32 random bytes, fewer than this many different ones come once in 10^36.
_VARIETY = 8
# The one of ``ums_core.testing.sealed``, which everybody has.
_KNOWN = sha256(b"a key for tests").digest()
_PARAMS = "AI_SECURITY__KMS_PARAMS"


def key_source(security: SecuritySettings, *, random: bool = False) -> KeySource:
    """The source that the settings name. Nothing is asked of it yet, but a keyring is read.

    Args:
        security: the settings.
        random: whether a key that looks like an example, and not like 32 random bytes, is refused.

    Raises:
        SettingsError: they name none, it is an example, or a parameter is unknown, missing or of another type.
        MissingExtra: it needs a package that is not installed.
        KeyFailure: the keyring cannot be used; a subclass tells why.
    """
    if security.has_key:
        from ums_core.crypto.raw import RawSource  # noqa: PLC0415  # mechanisms are imported when they are chosen
        from ums_core.crypto.secret_file import read_secret  # noqa: PLC0415  # as above

        file = security.encryption_key_file
        key = read_secret(Path(file), "the key") if file else security.encryption_key.get_secret_value()
        secret = validate_fernet_key(key)
        if random and _is_example(secret):
            raise SettingsError(
                "AI_SECURITY__ENCRYPTION_KEY is not a random key, but an example; make one: "
                "python -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())'"
            )
        return RawSource(secret)
    if security.kms_backend == "none":
        raise SettingsError("no key: give AI_SECURITY__ENCRYPTION_KEY, or AI_SECURITY__KMS_BACKEND with its key id")
    return _SOURCES[security.kms_backend](security)


def _is_example(secret: bytes) -> bool:
    """Whether nobody would get these bytes by chance: few different ones, a count, or those of the tests."""
    steps = {(after - before) % 256 for before, after in pairwise(secret)}
    return len(set(secret)) < _VARIETY or len(steps) == 1 or secret == _KNOWN


def keyring_file(security: SecuritySettings) -> tuple[Path, str | None]:
    """The keyring that the settings name, and the passphrase where they name a file that holds it.

    Raises:
        SettingsError: a parameter is unknown, or of another type.
        KeyMissing: the file of the passphrase does not exist.
    """
    from ums_core.crypto.secret_file import read_secret  # noqa: PLC0415  # as above

    given = _checked("local", security.kms_params, "path", "passphrase_file")
    file = given.get("passphrase_file")
    passphrase = read_secret(Path(file), "the keyring's passphrase") if file else None
    return Path(given.get("path", DEFAULT_KEYRING)).expanduser(), passphrase


def _local(security: SecuritySettings) -> KeySource:
    from ums_core.crypto.keyring import Keyring  # noqa: PLC0415  # as above
    from ums_core.crypto.local import LocalSource  # noqa: PLC0415  # as above

    return LocalSource(Keyring.open(*keyring_file(security)), security.kms_key_id)


def _vault(security: SecuritySettings) -> KeySource:
    from ums_core.crypto.vault import AppRole, Login, TokenFile, VaultAddress, VaultSource  # noqa: PLC0415  # as above

    given = _checked(
        "vault", security.kms_params,
        "url", "mount", "namespace", "ca_file", "token_file", "role_id", "secret_id_file", "approle_mount",
    )  # fmt: skip
    if "url" not in given:
        raise SettingsError(f'{_PARAMS} lacks the url of Vault, such as {{"url": "https://vault.example.org:8200", …}}')
    if "token_file" in given:
        login: Login = TokenFile(Path(given["token_file"]))
    elif {"role_id", "secret_id_file"} <= set(given):
        login = AppRole(given["role_id"], Path(given["secret_id_file"]), given.get("approle_mount", "approle"))
    else:
        raise SettingsError(f"{_PARAMS} lacks a login for Vault: token_file, or role_id with secret_id_file")
    authority = Path(given["ca_file"]) if "ca_file" in given else None
    address = VaultAddress(given["url"], given.get("mount", "transit"), given.get("namespace", ""), authority)
    return VaultSource(address, security.kms_key_id, login)


def _aws(security: SecuritySettings) -> KeySource:
    from ums_core.crypto.aws_kms import AwsKmsSource  # noqa: PLC0415  # as above

    return AwsKmsSource(security.kms_key_id, _checked("aws", security.kms_params, "region").get("region", ""))


_SOURCES: Mapping[str, Callable[[SecuritySettings], KeySource]] = {
    "local": _local,
    "vault": _vault,
    "aws": _aws,
}


def _checked(backend: str, params: Mapping[str, object], *known: str) -> dict[str, str]:
    """The parameters as texts; their values are not repeated, for one may be a secret in the wrong place."""
    for name, value in params.items():
        if name not in known:
            raise SettingsError(
                f"{_PARAMS} has {name!r}, which {backend} does not take; it takes {', '.join(known)}, "
                "and secrets by file alone"
            )
        if not isinstance(value, str) or not value:
            raise SettingsError(f"{name} in {_PARAMS} must be a text")
    return {name: str(value) for name, value in params.items()}
