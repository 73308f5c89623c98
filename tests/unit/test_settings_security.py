import base64

import pytest
from pydantic import SecretStr

from ums_core import open_store
from ums_core.errors import InvalidKey, SettingsError
from ums_core.records.fernet_key import validate_fernet_key
from ums_core.settings import SecuritySettings, UnifiedSettings

SECRET = bytes(range(32))
KEY = base64.urlsafe_b64encode(SECRET).decode()


def test_a_fernet_key_gives_its_bytes() -> None:
    assert validate_fernet_key(KEY) == validate_fernet_key(KEY.encode()) == SECRET


@pytest.mark.parametrize(
    "key",
    [
        "",
        KEY[:-1],
        f"{KEY}\n",
        f" {KEY}",
        f"{KEY}junk",
        f"+{KEY[1:]}",
        f"/{KEY[1:]}",
        KEY[:-2] + "9=",  # the same 32 bytes in another spelling
        base64.urlsafe_b64encode(bytes(31)).decode(),
        base64.urlsafe_b64encode(bytes(33)).decode(),
        KEY.encode() + b"\xff",
        "ä" * 44,
    ],
)
def test_a_key_of_another_form_is_refused_and_not_repeated(key: str | bytes) -> None:
    with pytest.raises(InvalidKey) as caught:
        validate_fernet_key(key)
    text = key.decode("latin-1") if isinstance(key, bytes) else key
    assert not text.strip() or text.strip() not in str(caught.value)
    assert "44 characters" in str(caught.value)


def test_a_key_of_another_type_is_refused() -> None:
    with pytest.raises(InvalidKey, match="got int"):
        validate_fernet_key(5)  # type: ignore[arg-type]  # what a caller without a type checker gives


def test_a_key_shows_in_no_repr() -> None:
    settings = UnifiedSettings.for_testing(
        security={"encryption_key": KEY, "encrypt_at_rest": True},
    )
    assert KEY not in repr(settings) + str(settings) + repr(settings.security)
    assert settings.security.encryption_key.get_secret_value() == KEY
    assert settings.security.has_key
    assert settings.security.sealed


def test_a_refused_key_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_SECURITY__ENCRYPTION_KEY", "hunter2hunter2")
    with pytest.raises(SettingsError, match="AI_SECURITY__ENCRYPTION_KEY") as caught:
        UnifiedSettings()
    assert "hunter2" not in str(caught.value)
    assert "default is empty" in str(caught.value)


def test_refused_parameters_are_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_SECURITY__KMS_PARAMS", '{"token": "hunter2"')
    with pytest.raises(SettingsError, match="AI_SECURITY__KMS_PARAMS") as caught:
        UnifiedSettings()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"encrypt_at_rest": True}, "encrypt_at_rest needs a key"),
        ({"kms_backend": "vault"}, "needs kms_key_id"),
        ({"encryption_key": KEY, "kms_backend": "local", "kms_key_id": "main"}, "both given"),
        ({"encryption_key": KEY, "encryption_key_file": "/run/key"}, "both given"),
        ({"kms_backend": "gcp"}, "kms_backend"),
    ],
)
def test_contradictory_settings_are_refused(given: dict[str, object], complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint) as caught:
        UnifiedSettings.for_testing(security=given)
    assert KEY not in str(caught.value)


def test_a_key_service_seals_without_a_key() -> None:
    security = SecuritySettings(kms_backend="local", kms_key_id="main", encrypt_at_rest=True)
    assert (security.sealed, security.has_key) == (True, False)
    assert security.encryption_key == SecretStr("")
    assert not SecuritySettings(encryption_key=SecretStr("")).sealed


def test_production_refuses_a_store_that_is_not_sealed() -> None:
    with pytest.raises(SettingsError, match="AI_ENV=production"):
        open_store(UnifiedSettings.for_testing(env="production"))
