"""Keys in AWS KMS.

Rights needed: ``kms:GenerateDataKey``, ``kms:Decrypt`` and ``kms:ReEncrypt*``; ``kms:Encrypt`` to move to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ums_core.crypto.cipher import KEY_BYTES
from ums_core.crypto.retry import patiently
from ums_core.errors import (
    KeyCorrupt,
    KeyDenied,
    KeyFailure,
    KeyMissing,
    KeyUnavailable,
    MissingExtra,
    SettingsError,
)
from ums_core.ports import KeyStatus, Wrapped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ums_core.ports import Context

__all__ = ["AwsKmsSource"]

TIMEOUT_S = 2.0
_MISSING = "keys in AWS KMS need the package boto3: pip install 'ums-core[aws]'"
_CORRUPT = {"InvalidCiphertextException", "IncorrectKeyException"}
_ABSENT = {"NotFoundException"}
_DOWN = {
    "DependencyTimeoutException", "KMSInternalException", "KeyUnavailableException", "LimitExceededException",
    "RequestLimitExceeded", "ServiceUnavailableException", "Throttling", "ThrottlingException",
}  # fmt: skip
_SERVER_ERROR = 500
_PROBE = {"app": "ums", "database": "", "purpose": "probe"}


class AwsKmsSource:
    """A :class:`~ums_core.ports.KeySource` over one KMS key. It connects at the first use.

    Credentials come from where ``boto3`` finds them: the environment, its files, the instance's role. What a data key
    is bound to is its encryption context, so it shows in CloudTrail, and policies can ask for it. Each call is bounded:
    two seconds to connect and two to answer, three tries.

    Args:
        key_id: an id, an ARN or an alias; it opens only what this very key wrapped.
        region: of the key; empty is boto3's own.

    Raises:
        MissingExtra: ``boto3`` is not installed.
        SettingsError: no region is known.
    """

    provider = "aws"

    def __init__(self, key_id: str, region: str = "") -> None:
        try:
            import boto3  # type: ignore[import-untyped]  # noqa: PLC0415  # no types; extra `aws`
            from botocore import exceptions  # type: ignore[import-untyped]  # noqa: PLC0415  # as above
            from botocore.config import Config  # type: ignore[import-untyped]  # noqa: PLC0415  # as above
        except ModuleNotFoundError as error:
            raise MissingExtra(_MISSING) from error
        self.key_id = key_id
        self._errors = exceptions
        once = Config(connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, retries={"total_max_attempts": 1})
        try:
            # A session of its own: that of the module is shared, and keeps the credentials that it found first.
            self._client: Any = boto3.session.Session().client("kms", region_name=region or None, config=once)
        except exceptions.NoRegionError as error:
            raise SettingsError('AWS KMS needs a region: AI_SECURITY__KMS_PARAMS={"region": "eu-central-1"}') from error

    def generate(self, context: Context) -> tuple[bytes, Wrapped]:
        """A new data key of 32 random bytes, and the same wrapped."""
        answer = self._ask(
            "generate_data_key", KeyId=self.key_id, NumberOfBytes=KEY_BYTES, EncryptionContext=dict(context)
        )
        return answer["Plaintext"], self._wrapped(answer)

    def wrap(self, key: bytes, context: Context) -> Wrapped:
        """The data key, wrapped."""
        return self._wrapped(self._ask("encrypt", KeyId=self.key_id, Plaintext=key, EncryptionContext=dict(context)))

    def unwrap(self, wrapped: Wrapped, context: Context) -> bytes:
        """The data key."""
        # Without KeyId the blob itself would say which key opens it, and so might be a stranger's.
        answer = self._ask("decrypt", KeyId=self.key_id, CiphertextBlob=wrapped.blob, EncryptionContext=dict(context))
        key: bytes = answer["Plaintext"]
        return key

    def rewrap(self, wrapped: Wrapped, context: Context) -> Wrapped:
        """The same data key under the newest material of the key; it does not come here."""
        answer = self._ask(
            "re_encrypt",
            CiphertextBlob=wrapped.blob,
            SourceKeyId=self.key_id,
            SourceEncryptionContext=dict(context),
            DestinationKeyId=self.key_id,
            DestinationEncryptionContext=dict(context),
        )
        return self._wrapped(answer)

    def describe(self) -> KeyStatus:
        """How the key is now; it asks for a data key, which needs no further right. KMS does not tell a version."""
        try:
            self._once("generate_data_key", {"KeyId": self.key_id, "NumberOfBytes": 1, "EncryptionContext": _PROBE})
        except KeyFailure as error:
            return KeyStatus(self.provider, self.key_id, "", reachable=False, detail=(str(error),))
        return KeyStatus(self.provider, self.key_id, "", reachable=True)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _wrapped(self, answer: Mapping[str, Any]) -> Wrapped:
        return Wrapped(self.provider, self.key_id, "", answer["CiphertextBlob"])

    def _ask(self, verb: str, **parameters: object) -> Mapping[str, Any]:
        return patiently(lambda: self._once(verb, parameters))

    def _once(self, verb: str, parameters: Mapping[str, object]) -> Mapping[str, Any]:
        errors, where = self._errors, f"AWS KMS, key {self.key_id!r}"
        try:
            answer: Mapping[str, Any] = getattr(self._client, verb)(**parameters)
        except errors.ClientError as error:
            raise _meaning(where, error.response) from error
        except (errors.NoCredentialsError, errors.PartialCredentialsError, errors.CredentialRetrievalError) as error:
            raise KeyDenied(f"{where}: no credentials; {error}") from error
        except errors.BotoCoreError as error:
            raise KeyUnavailable(f"{where}: no answer ({type(error).__name__})", retry_after_s=5.0) from error
        return answer


def _meaning(where: str, response: Mapping[str, Any]) -> KeyFailure:
    code = str(response.get("Error", {}).get("Code", ""))
    said = str(response.get("Error", {}).get("Message", ""))
    if code in _CORRUPT:
        return KeyCorrupt(
            f"{where}: {code}; the wrapped key was changed, was wrapped by another key, or belongs to another database"
        )
    if code in _ABSENT:
        return KeyMissing(f"{where}: {code}; check AI_SECURITY__KMS_KEY_ID and the region")
    if code in _DOWN or response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= _SERVER_ERROR:
        return KeyUnavailable(f"{where}: {code}", retry_after_s=5.0)
    return KeyDenied(f"{where}: {code}; {said}".rstrip("; "))
