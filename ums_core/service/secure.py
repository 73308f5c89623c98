"""The production preset: sealed at rest, tokens made, nothing readable on the way; or it does not start.

``AI_SECURITY__KMS_BACKEND=local AI_SECURITY__KMS_KEY_ID=… python -m ums_core.service.secure``
"""

import os
from ipaddress import ip_address

from ums_core.errors import SettingsError
from ums_core.service.run import run
from ums_core.service.tokens import Tokens, tokens_path
from ums_core.settings import UnifiedSettings

__all__ = ["check", "main"]

_PRESET = {"AI_ENV": "production", "AI_SECURITY__ENCRYPT_AT_REST": "true"}


def check(settings: UnifiedSettings) -> None:
    """Refuse settings that are not fit for production.

    Raises:
        SettingsError: every one of them, with what to set.
    """
    service, security = settings.service, settings.security
    unfit = []
    if settings.env != "production":
        unfit.append("AI_ENV must be production")
    if not security.encrypt_at_rest:
        unfit.append("AI_SECURITY__ENCRYPT_AT_REST must be true")
    if security.kms_backend == "none":
        unfit.append(
            "AI_SECURITY__KMS_BACKEND must be local, vault or aws, so that the key is kept apart from the database"
        )
    if not (service.tls_certificate or service.behind_tls or _is_loopback(service.host)):
        unfit.append(
            f"AI_SERVICE__HOST {service.host} can be reached from elsewhere: give AI_SERVICE__TLS_CERTIFICATE and "
            "AI_SERVICE__TLS_KEY, or AI_SERVICE__BEHIND_TLS=true where a proxy ends TLS"
        )
    if not any(token.revoked_at is None for token in Tokens(tokens_path(settings.database.path)).all()):
        unfit.append("there is no token: ums tokens create --tenant NAME makes one")
    if unfit:
        raise SettingsError("not fit for production:\n" + "\n".join(unfit))


def main() -> None:
    """Set what production needs where nothing else is said, check, and serve.

    Raises:
        SettingsError: something that was said is not fit for production.
    """
    for name, value in _PRESET.items():
        os.environ.setdefault(name, value)
    settings = UnifiedSettings()
    check(settings)
    run(settings)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


if __name__ == "__main__":
    main()
