"""Whether what is kept on disk is sealed, and where the key comes from."""

from typing import Literal, Self

from pydantic import Field, JsonValue, SecretStr, field_validator, model_validator

from ums_core.errors import SettingsError
from ums_core.records.fernet_key import validate_fernet_key
from ums_core.settings.section import Section

__all__ = ["KmsBackend", "SecuritySettings"]

KmsBackend = Literal["none", "local", "vault", "aws"]


class SecuritySettings(Section):
    """Sealing at rest. Without a key and without a key service nothing is sealed."""

    encrypt_at_rest: bool = Field(
        default=False,
        description="Whether the whole database file is encrypted; needs a key or a key service. "
        "False with one of them seals what the file holds, field by field.",
    )
    encryption_key: SecretStr = Field(
        default=SecretStr(""),
        repr=False,
        description="The key, 32 bytes in URL-safe base64, where no key service is used; empty is none.",
    )
    encryption_key_file: str = Field(
        default="",
        description="A file that holds the key, in place of encryption_key; /dev/fd/3 is a file descriptor; "
        "empty is none.",
    )
    kms_backend: KmsBackend = Field(
        default="none",
        description="Which key service wraps the database's key: local is a keyring file, vault is Vault or OpenBao "
        "Transit, aws is AWS KMS.",
    )
    kms_key_id: str = Field(
        default="",
        description="The name of the key in the key service: a name in the keyring, a Transit key, "
        "or an AWS key id, ARN or alias.",
    )
    kms_params: dict[str, JsonValue] = Field(
        default_factory=dict,
        repr=False,
        description="What else the key service needs, such as its address; secrets are named by file, "
        "never written here.",
    )

    allow_unsealed: bool = Field(
        default=False,
        description="Whether AI_ENV=production may open a database whose file is not encrypted as a whole.",
    )

    @field_validator("encryption_key")
    @classmethod
    def _well_formed(cls, key: SecretStr) -> SecretStr:
        if key.get_secret_value():
            validate_fernet_key(key.get_secret_value())
        return key

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.has_key and self.kms_backend != "none":
            raise SettingsError("a key and kms_backend are both given; a database has one of them")
        if self.encryption_key.get_secret_value() and self.encryption_key_file:
            raise SettingsError("encryption_key and encryption_key_file are both given; a database has one of them")
        if self.encrypt_at_rest and not self.sealed:
            raise SettingsError("encrypt_at_rest needs a key: give encryption_key, or kms_backend with kms_key_id")
        if self.kms_backend != "none" and not self.kms_key_id:
            raise SettingsError(f"kms_backend {self.kms_backend} needs kms_key_id, the name of its key")
        return self

    @property
    def has_key(self) -> bool:
        """Whether a key was passed in."""
        return bool(self.encryption_key.get_secret_value() or self.encryption_key_file)

    @property
    def sealed(self) -> bool:
        """Whether anything is sealed at all."""
        return self.has_key or self.kms_backend != "none"
