"""Errors across the network: problem details (RFC 9457) that carry the ``code``, raised as the same class."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json

from ums_core import errors
from ums_core.errors import (
    InvalidField,
    InvalidFilter,
    InvalidInput,
    InvalidMetadata,
    InvalidNamespace,
    InvalidQuery,
    InvalidText,
    InvalidVector,
    RemoteError,
    TryLater,
    UMSError,
)

__all__ = ["PROBLEM", "dump_problem", "load_problem", "problem_of", "raised", "refuse", "retry_after_s", "status_of"]

PROBLEM = "application/problem+json"

_STATUS: dict[type[UMSError], int] = {
    errors.InvalidInput: 422,
    errors.TooLarge: 413,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.StaysOnDevice: 403,
    errors.MemoryNotFound: 404,
    errors.IdempotencyConflict: 409,
    errors.EmbedderMismatch: 409,
    errors.RateLimited: 429,
    errors.TryLater: 503,
    errors.MissingExtra: 501,
    errors.StoreClosed: 503,
    errors.DatabaseBusy: 503,
    errors.DiskFull: 507,
}
_BY_CODE: dict[str, type[UMSError]] = {cls.code: cls for cls in (getattr(errors, name) for name in errors.__all__)}
_BY_FIELD: dict[str, type[InvalidInput]] = {
    "text": InvalidText,
    "namespace": InvalidNamespace,
    "prefix": InvalidNamespace,
    "metadata": InvalidMetadata,
    "embedding": InvalidVector,
    "vector": InvalidVector,
    "filter": InvalidFilter,
    "where": InvalidFilter,
}
_BY_ROOT: dict[str, type[InvalidInput]] = {
    "query": InvalidQuery,
    "limit": InvalidQuery,
    "cursor": InvalidQuery,
    "ids": InvalidQuery,
    "drafts": InvalidField,
    "patches": InvalidField,
}
_RETRY_S = 1.0
# As much as anybody could wait for.
_MOST_S = 1e9
_SHOWN = 10


def status_of(error: UMSError) -> int:
    """The HTTP status of an error; 500 where it is none of the caller's making."""
    return next((_STATUS[cls] for cls in type(error).__mro__ if cls in _STATUS), 500)


def retry_after_s(error: UMSError) -> float | None:
    """Seconds after which a retry may succeed; None where it will not."""
    if isinstance(error, TryLater):
        return error.retry_after_s
    return _RETRY_S if status_of(error) == 503 else None  # noqa: PLR2004  # Service Unavailable


def problem_of(error: UMSError) -> dict[str, object]:
    """The problem details of an error, as JSON holds them.

    ``detail`` is one sentence a class: a message may hold what the caller sent, which must not be echoed.
    """
    kind = type(error)
    status = status_of(error)
    detail = (kind.__doc__ or kind.__name__).partition("\n")[0]
    problem: dict[str, object] = {
        "type": f"urn:ums:error:{kind.code}",
        "title": kind.__name__,
        "status": status,
        "code": kind.code,
        "detail": detail,
    }
    after = retry_after_s(error)
    if after is not None:
        problem["retry_after_s"] = after
    if isinstance(error, InvalidInput) and error.places:
        problem["errors"] = error.places
    return problem


def dump_problem(error: UMSError) -> bytes:
    """The body that reports an error."""
    return to_json(problem_of(error))


def load_problem(status: int, body: bytes) -> UMSError:
    """The error that a body reports, of the class that its code names."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, Mapping) or str(told.get("code")) not in _BY_CODE:
        return RemoteError(f"the service answered with status {status} and no error that this version knows")
    return raised(told)


def raised(problem: Mapping[str, Any]) -> UMSError:
    """An error of the class that the problem's code names."""
    kind = _BY_CODE[problem["code"]]
    detail = str(problem.get("detail", ""))
    after = problem.get("retry_after_s")
    # Neither NaN nor infinity, which JSON in Python has.
    if issubclass(kind, TryLater) and isinstance(after, (int, float)) and 0 <= after <= _MOST_S:
        return kind(detail, retry_after_s=float(after))
    error = kind(detail)
    places = problem.get("errors")
    if isinstance(error, InvalidInput) and isinstance(places, list):
        error.places = [place for place in places if isinstance(place, dict)]
    return error


def refuse(error: ValidationError, known: frozenset[str]) -> InvalidInput:
    """What to say of a body that does not fit its schema: the field and the reason, without the input.

    Args:
        error: pydantic's.
        known: the names of the schema; a name that is not among them is the caller's, and is not repeated.
    """
    places: list[dict[str, str]] = []
    kinds: list[type[InvalidInput]] = []
    for entry in error.errors(include_url=False, include_context=False, include_input=False)[:_SHOWN]:
        names = [part for part in entry["loc"] if isinstance(part, int) or part in known]
        kinds.append(_kind(names))
        # What a check of ours says may hold the input; pydantic's own sentences do not.
        message = "cannot be used" if entry["type"] == "value_error" else entry["msg"]
        places.append({"at": ".".join(map(str, names)), "message": message, "type": entry["type"]})
    refusal = kinds[0]("; ".join(f"{place['at'] or 'the body'}: {place['message']}" for place in places))
    refusal.places = places
    return refusal


def _kind(names: Sequence[str | int]) -> type[InvalidInput]:
    for name in reversed(names):
        if name in _BY_FIELD:
            return _BY_FIELD[str(name)]
    return _BY_ROOT.get(str(names[0]), InvalidInput) if names else InvalidInput
