"""Errors as answers: one form for all, which repeats nothing of what was sent."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ums_core.errors import RemoteError, UMSError
from ums_core.wire.problem import PROBLEM, dump_problem, retry_after_s, status_of

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from ums_core.service.metrics import Watch

__all__ = ["Told", "install", "problem", "refused"]

_JSON = ((b"content-type", b"application/json"),)
_TITLES = {404: ("not_found", "There is nothing at this path."), 405: ("method_not_allowed", "Not by this method.")}
# Takes fields of a header and a body, and says whether it has sent them.
Whole = Callable[[Sequence[tuple[bytes, bytes]], bytes], bool]


class Told(Response):
    """An answer of bytes that are JSON; it says as much as another response, at a fraction of the work.

    Args:
        fields: of the header, beside those of the body.
        whole: sends an answer at once, where something can.

    Attributes:
        sent: whether that was done; the response is not to be sent again then.
    """

    def __init__(self, fields: Iterable[tuple[bytes, bytes]], whole: Whole | None) -> None:
        self.status_code = 200
        self.background = None
        self.sent = False
        self._fields = fields
        self._whole = whole

    def tell(self, body: bytes) -> None:
        """Take the body, and send all if possible."""
        self.body = body
        self.raw_headers = [*_JSON, (b"content-length", b"%d" % len(body)), *self._fields]
        self.sent = self._whole is not None and self._whole(self.raw_headers, body)


def problem(error: UMSError) -> Response:
    """The answer that reports an error."""
    headers = {}
    after = retry_after_s(error)
    if after is not None:
        # Whole seconds, rounded up: a client that waits less is refused again.
        headers["Retry-After"] = str(max(1, -int(-after // 1)))
    status = status_of(error)
    if status == 401:  # noqa: PLR2004  # Unauthorized
        headers["WWW-Authenticate"] = 'Bearer realm="ums"'
    return Response(dump_problem(error), status, headers, PROBLEM)


def refused(request: Request, error: UMSError, watch: "Watch") -> Response:
    """The answer that reports an error, which is counted and noted for the log."""
    request.scope.get("state", {}).get("note", {})["code"] = error.code
    watch.error(error.code)
    return problem(error)


def install(app: "Starlette", watch: "Watch") -> None:
    """Answer every error in this form."""

    async def ours(request: Request, error: Exception) -> Response:
        return refused(request, error if isinstance(error, UMSError) else RemoteError("unexpected"), watch)

    async def theirs(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        code, detail = _TITLES.get(status, ("http_error", "The request cannot be answered."))
        request.scope.get("state", {}).get("note", {})["code"] = code
        watch.error(code)
        told = {"type": f"urn:ums:error:{code}", "title": code, "status": status, "code": code, "detail": detail}
        headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
        return Response(json.dumps(told), status, headers, PROBLEM)

    app.add_exception_handler(UMSError, ours)
    app.add_exception_handler(Exception, ours)
    app.add_exception_handler(HTTPException, theirs)
