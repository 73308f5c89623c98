"""The outermost layer: every request gets an id, a log line and an answer, whatever happens inside."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from random import getrandbits
from time import perf_counter

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ums_core.errors import RemoteError, UMSError
from ums_core.service.answers import Told, refused
from ums_core.service.logs import crash_of
from ums_core.service.metrics import Watch
from ums_core.service.patience import WHOLE
from ums_core.service.tracing import Tracer
from ums_core.wire.problem import PROBLEM, dump_problem

__all__ = ["Edge", "Endpoint"]

Endpoint = Callable[[Request], Awaitable[Response]]

_log = logging.getLogger("ums_core.service")
_WENT_AWAY = 499
_STARTS = frozenset({"http.response.start", "websocket.http.response.start"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Edge:
    """Watches requests; an error that nobody caught is logged without its message and answered with 500.

    Args:
        app: answers what is not among the endpoints.
        watch: who counts.
        tracer: makes spans.
        endpoints: by path and method: they are asked at once, past the layers of the application.
    """

    def __init__(
        self, app: ASGIApp, watch: Watch, tracer: Tracer, endpoints: Mapping[tuple[str, str], Endpoint] | None = None
    ) -> None:
        self._app = app
        self._watch = watch
        self._tracer = tracer
        self._endpoints = endpoints or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        found: dict[str, str | int] = {}
        if not self._tracer.heard:
            await self._watched(scope, receive, send, found)
            return
        with self._tracer.span("ums.request", found):
            await self._watched(scope, receive, send, found)

    async def _watched(self, scope: Scope, receive: Receive, send: Send, found: dict[str, str | int]) -> None:
        """Answer, count and log; find what a span may hold."""
        # It tells requests apart and is no secret: a call of the system for it would be the dearest of this layer.
        request_id = f"{getrandbits(64):016x}"
        note = scope.setdefault("state", {})["note"] = {"request_id": request_id}
        started, status = perf_counter(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] in _STARTS:
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            status = await self._answer(scope, receive, answer, request_id) or status
        except ClientDisconnect:
            # Before the end of the body: there is nobody to answer.
            pass
        except Exception as error:  # noqa: BLE001  # the edge of the process
            _log.error("unexpected error", extra={"crash": crash_of(error), "request_id": request_id})
            if scope["type"] == "http" and not status:
                await _sorry(answer)
        finally:
            route = str(getattr(scope.get("route"), "path", scope.get("ums.route", "other")))
            method = scope.get("method", "WEBSOCKET")
            method = method if method in _METHODS or method == "WEBSOCKET" else "OTHER"
            status = status or (101 if scope["type"] == "websocket" else _WENT_AWAY)
            seconds = perf_counter() - started
            found |= {"http.route": route, "http.request.method": method, "http.response.status_code": status}
            self._watch.request(route, method, status, seconds)
            if _log.isEnabledFor(logging.INFO):
                line = {"route": route, "method": method, "status": status, "ms": round(seconds * 1000, 2), **note}
                _log.info("request", extra=line)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> int:
        """The status where the answer went out as a whole, or else 0: it went through ``send``."""
        endpoint = self._endpoints.get((scope["path"], scope.get("method", "")))
        if endpoint is None:
            await self._app(scope, receive, send)
            return 0
        scope["ums.route"] = scope["path"]
        whole = scope.get(WHOLE)
        if whole is not None:
            own = (b"x-request-id", request_id.encode())
            scope[WHOLE] = lambda fields, body: whole([*fields, own], body)
        request = Request(scope, receive)
        try:
            response = await endpoint(request)
        except UMSError as error:
            response = refused(request, error, self._watch)
        if isinstance(response, Told) and response.sent:
            return response.status_code
        await response(scope, receive, send)
        return 0


async def _sorry(send: Send) -> None:
    body = dump_problem(RemoteError("unexpected"))
    headers = [(b"content-type", PROBLEM.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": body})
