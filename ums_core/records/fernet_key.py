"""The form of a key that somebody types or pastes: what Fernet calls a key, and nothing that only looks like one."""

import base64
import re

from ums_core.errors import InvalidKey

__all__ = ["validate_fernet_key"]

_FORM = re.compile(r"[A-Za-z0-9_-]{43}=")
_ADVICE = (
    "a key is 32 bytes in URL-safe base64, 44 characters ending in '='; make one with: "
    "python -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())'"
)


def validate_fernet_key(key: str | bytes) -> bytes:
    """The 32 bytes of a key, where it is written in the one way in which Fernet writes keys.

    Stricter than ``cryptography.fernet.Fernet``, which also takes ``+`` and ``/``, white space around the key, other
    spellings of the same bytes, and anything after the ``=``.

    Raises:
        InvalidKey: the key has another form. The message does not repeat it.
    """
    if not isinstance(key, str | bytes):
        raise InvalidKey(f"a key is text or bytes, got {type(key).__name__}; {_ADVICE}")
    text = key.decode("latin-1") if isinstance(key, bytes) else key
    if not _FORM.fullmatch(text):
        raise InvalidKey(f"a key of another form, {len(text)} characters long; {_ADVICE}")
    secret = base64.urlsafe_b64decode(text)
    if base64.urlsafe_b64encode(secret).decode() != text:
        raise InvalidKey(f"the last character of the key is not one that 32 bytes end in; {_ADVICE}")
    return secret
