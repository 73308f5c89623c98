"""Asking again what did not answer, a few times and not all at once."""

import secrets
import time
from collections.abc import Callable
from typing import TypeVar

from ums_core.errors import KeyUnavailable

__all__ = ["patiently"]

T = TypeVar("T")

_TRIES = 3
_FIRST_PAUSE_S = 0.1


def patiently(ask: Callable[[], T], *, pause: Callable[[float], object] = time.sleep) -> T:
    """What the question gives; a source that is unavailable is asked three times.

    Between two tries lies a random time, of at most 0.1 s and then 0.2 s, so that many clients of a source that comes
    back do not come back together.

    Raises:
        KeyUnavailable: it was unavailable each time.

    Source: exponential backoff with full jitter; Brooker, AWS Architecture Blog, 2015.
    """
    for tried in range(_TRIES - 1):
        try:
            return ask()
        except KeyUnavailable:
            pause(secrets.SystemRandom().uniform(0, _FIRST_PAUSE_S * 2**tried))
    return ask()
