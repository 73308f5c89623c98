"""How much one request may ask for: what is too much is refused, except hits, of which as many come as may."""

import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from ums_core.errors import InvalidInput, TooLarge
from ums_core.records import Filter, Query
from ums_core.settings import ServiceSettings

__all__ = ["bounded", "inflated", "items_of", "read_body"]

# Windows and a header as gzip writes them.
_GZIP = 31
# Arguments that are conditions on fields.
_CONDITIONS = ("filter", "where")


async def read_body(receive: Receive, declared: str | None, most: int) -> bytes:
    """The whole body.

    Args:
        receive: gives it as it comes.
        declared: the Content-Length, if there is one.
        most: bytes.

    Raises:
        TooLarge: more than the most; nothing more is read then.
        ClientDisconnect: the caller went away before its end.
    """
    if declared is not None and declared.isdecimal() and int(declared) > most:
        raise TooLarge(f"the body is larger than {most} bytes")
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > most:
            raise TooLarge(f"the body is larger than {most} bytes")
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


def inflated(body: bytes, encoding: str, most: int) -> bytes:
    """The body as it was before it was compressed; never more than the most is made of it, whatever it says.

    Args:
        body: as it came.
        encoding: the Content-Encoding; gzip, identity or nothing.
        most: bytes.

    Raises:
        TooLarge: more than the most.
        InvalidInput: another encoding, or not what the encoding makes.
    """
    if encoding in {"", "identity"}:
        return body
    if encoding not in {"gzip", "x-gzip"}:
        raise InvalidInput("a body is compressed by gzip, or not at all")
    stream = zlib.decompressobj(_GZIP)
    try:
        out = stream.decompress(body, most + 1)
    except zlib.error as error:
        raise InvalidInput("the body is not what gzip makes") from error
    if len(out) > most:
        raise TooLarge(f"the body is larger than {most} bytes")
    if not stream.eof or stream.unused_data:
        raise InvalidInput("the body is not what gzip makes")
    return out


def bounded(arguments: Mapping[str, Any], settings: ServiceSettings) -> dict[str, Any]:
    """The arguments of a verb, with no larger number of hits or memories than the service gives.

    Raises:
        TooLarge: a batch or a filter beyond its limit.
    """
    within = dict(arguments)
    if items_of(arguments) > settings.max_batch:
        raise TooLarge(f"a batch holds at most {settings.max_batch} items")
    query = within.get("query")
    if isinstance(query, Query):
        within["query"] = replace(query, k=min(query.k, settings.max_k)) if query.k > settings.max_k else query
        _check_filter(query.filter, settings)
    for name in _CONDITIONS:
        _check_filter(within.get(name), settings)
    if "limit" in within:
        within["limit"] = min(within["limit"], settings.max_k)
    return within


def items_of(arguments: Mapping[str, Any]) -> int:
    """How many drafts, patches, ids or keys a verb is given; 1 where it takes none."""
    given = [len(v) for n, v in arguments.items() if isinstance(v, list | dict) and n not in _CONDITIONS]
    return max(1, sum(given))


def _check_filter(condition: object, settings: ServiceSettings) -> None:
    if not isinstance(condition, Filter):
        return
    if condition.depth > settings.max_filter_depth or condition.size > settings.max_filter_size:
        raise TooLarge(
            f"a filter nests at most {settings.max_filter_depth} groups and holds at most {settings.max_filter_size} "
            "conditions"
        )
