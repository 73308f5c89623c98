"""The application: settings in, FastAPI out. ``uvicorn ums_core.service.app:create_app --factory`` runs it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from typing import Any

from ums_core.errors import MissingExtra

try:
    from fastapi import FastAPI, Request, Response
except ModuleNotFoundError as missing:
    raise MissingExtra(
        f"{missing.name} is not installed, which the service needs: pip install 'ums-core[api]'"
    ) from missing

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from ums_core.channels.sharing import sharing_embedder
from ums_core.policy import LINKING_VERBS, PrivacyMode, check_verb
from ums_core.service import answers, document, logs
from ums_core.service.auth import Gate
from ums_core.service.desk import Desk, Turn
from ums_core.service.edge import Edge, Endpoint
from ums_core.service.health import Checkup
from ums_core.service.legacy import LEGACY
from ums_core.service.metrics import Metrics, Unwatched, Watch
from ums_core.service.opening import Opening
from ums_core.service.rates import Rates
from ums_core.service.scheduler import Scheduler
from ums_core.service.stream import EVENTS, STREAM, Streams
from ums_core.service.tenants import Tenants
from ums_core.service.tokens import Tokens, tokens_path
from ums_core.service.tracing import Tracer
from ums_core.settings import UnifiedSettings
from ums_core.wire.schema import VERBS, Verb

__all__ = ["create_app"]

# FastAPI's own spans, metrics and logs would hold what is asked for: a path, an error's message.
_NOTHING_TOLD = {"tracing": False, "metrics": False, "logs": False}


class _Service(FastAPI):
    """FastAPI behind the edge, which answers verbs itself: layers that none of them needs cost half a millisecond."""

    edge: Callable[[ASGIApp], ASGIApp]

    def build_middleware_stack(self) -> ASGIApp:
        """FastAPI's layers, and ours around them."""
        return self.edge(super().build_middleware_stack())


def create_app(settings: UnifiedSettings | None = None) -> FastAPI:
    """The service as an ASGI application; its lifespan opens and closes the stores.

    ``app.state.memory_store`` is the store of the tenant ``default``, which is the database of the settings; None while
    the key service does not answer.

    Args:
        settings: None reads the environment and ``.env``.

    Raises:
        SettingsError: an unknown or contradictory setting.
    """
    settings = settings or UnifiedSettings()
    counting = settings.monitoring.enable_metrics and settings.monitoring.telemetry_level != "none"
    watch: Watch = Metrics() if counting else Unwatched()
    tokens = Tokens(tokens_path(settings.database.path))
    tenants = Tenants(settings, sharing_embedder(settings, watch.embedded, watch.indexed))
    rates = Rates(settings.service, watch.fallback)
    desk = Desk(Gate(tokens, rates), tenants, settings.service, watch, tokens)
    checkup = Checkup(tenants)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.enter_context(logs.written(settings.monitoring.log_level))
            stack.push_async_callback(rates.close)
            stack.push_async_callback(tenants.close)
            app.state.memory_store = None
            opening = Opening(tenants, checkup, lambda store: setattr(app.state, "memory_store", store))
            stack.push_async_callback(opening.end)
            await opening.begin()
            scheduler = Scheduler(tenants, tokens, watch, settings.maintenance.interval)
            rounds = asyncio.create_task(scheduler.run()) if settings.maintenance.interval else None
            yield
            checkup.stopping = True
            scheduler.stop()
            if rounds is not None:
                await rounds
            await desk.drain()

    app = _Service(
        title="UMS",
        summary="A memory for LLM agents that is theirs.",
        version=version("ums-core"),
        lifespan=lifespan,
        redoc_url=None,
        # To where the caller's own Host says, with what the caller asked.
        redirect_slashes=False,
        telemetry=_NOTHING_TOLD,  # type: ignore[arg-type]  # a TypedDict that older versions have not
    )
    answers.install(app, watch)
    endpoints = _add_verbs(app, desk, settings.privacy_mode)
    _add_streams(app, Streams(desk))
    _add_watching(app, desk, checkup, tokens)
    tracer = Tracer(enabled=settings.monitoring.telemetry_level != "none")
    app.edge = lambda inner: Edge(inner, watch, tracer, endpoints)
    app.openapi = document.Completed(app)  # type: ignore[method-assign]  # FastAPI's way to give a document of one's own
    return app


def _add_verbs(app: FastAPI, desk: Desk, mode: PrivacyMode) -> dict[tuple[str, str], Endpoint]:
    """The endpoints by path and method, which the document tells of as well."""
    endpoints: dict[tuple[str, str], Endpoint] = {}
    for verb in VERBS.values():
        endpoint = endpoints[verb.path, verb.method] = _serving(desk, verb, _allowed(verb, verb.load_request, mode))
        _route(app, verb.path, verb.method, endpoint, document.of_verb(verb, verb.request))
    for known in LEGACY:
        endpoint = endpoints[known.path, "POST"] = _serving(desk, known.verb, _allowed(known.verb, known.turn, mode))
        _route(app, known.path, "POST", endpoint, document.of_verb(known.verb, known.request))
    return endpoints


def _allowed(verb: Verb, turn: Turn, mode: PrivacyMode) -> Turn:
    """The turn of a verb that the mode allows; of another one, a refusal that reads nothing."""

    def refused(_: bytes) -> dict[str, Any]:
        check_verb(verb.name, mode)
        return turn(_)

    return refused if verb.name in LINKING_VERBS else turn


def _add_streams(app: FastAPI, streams: Streams) -> None:
    async def follow(request: Request) -> Response:
        return await streams.follow(request)

    _route(app, EVENTS, "GET", follow, document.of_events())
    app.add_api_websocket_route(STREAM, streams.take)


def _serving(desk: Desk, verb: Verb, turn: Turn) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        return await desk.serve(request, verb, turn)

    return endpoint


def _add_watching(app: FastAPI, desk: Desk, checkup: Checkup, tokens: Tokens) -> None:
    async def ready(_: Request) -> Response:
        return await checkup.ready()

    async def live(_: Request) -> Response:
        return checkup.live()

    async def metrics(request: Request) -> Response:
        await desk.admit(request, "metrics:read")
        told = desk.watch.exposition(len({token.tenant for token in tokens.all()}), await checkup.stores())
        if told is None:
            raise HTTPException(404)
        return Response(told[0], media_type=told[1])

    _route(app, "/health", "GET", ready, document.of_health("Whether everything is well."))
    _route(app, "/health/ready", "GET", ready, document.of_health("Whether to send traffic here."))
    _route(app, "/health/live", "GET", live, document.of_health("Whether the process answers at all."))
    _route(app, "/metrics", "GET", metrics, document.of_metrics())


def _route(app: FastAPI, path: str, method: str, endpoint: Endpoint, about: Mapping[str, Any]) -> None:
    name = path.strip("/").replace("/", "_")
    app.add_api_route(path, endpoint, methods=[method], operation_id=name, response_class=Response, **about)
