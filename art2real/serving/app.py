"""The HTTP service as an ASGI application; what it translates with is behind `Backend`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from art2real import __version__
from art2real.serving import openapi
from art2real.serving.backend import Backend
from art2real.serving.gate import Gate, Places
from art2real.serving.health import Readiness
from art2real.serving.journal import AccessLog, Journal
from art2real.serving.metrics import Metrics
from art2real.serving.page import page_response
from art2real.serving.problems import Shell, http_problem, parameter_problem
from art2real.serving.queries import ExplainQuery, NoQuery, TranslateQuery
from art2real.serving.settings import ServiceSettings
from art2real.serving.trace import trace_of
from art2real.serving.work import Work


def make_app(
    backend: Backend, settings: ServiceSettings, metrics: Metrics, places: Places | None = None
) -> FastAPI:
    """The service.

    A request passes `Journal` (identity, log, figures), CORS where it is on, `Shell` (errors) and `Gate`
    (token, length, places), and then reaches one of `Routes`.

    Args:
        backend: what translates and explains.
        settings: limits and access.
        metrics: where figures go; its methods are called on the event loop.
        places: what counts the requests, for who wants to close it; None: its own.

    Raises:
        UserError: the access log cannot be opened.
    """
    routes = Routes(backend, settings)
    places = places or Places(settings.max_waiting, metrics)
    app = FastAPI(
        title="art2real",
        version=__version__,
        docs_url=None,  # both pages load scripts from elsewhere
        redoc_url=None,
        # A redirect would be made of the Host header, which is the client's.
        redirect_slashes=False,
        exception_handlers={HTTPException: _no_route, RequestValidationError: _wrong_parameters},
    )
    app.add_api_route("/v1/translate", routes.translate, methods=["POST"], **openapi.TRANSLATE)
    app.add_api_route("/v1/explain", routes.explain, methods=["POST"], **openapi.EXPLAIN)
    app.add_api_route("/v1/models", routes.models, methods=["GET"], **openapi.MODELS)
    app.add_api_route("/health/live", routes.live, methods=["GET"], **openapi.LIVE)
    app.add_api_route("/health/ready", routes.ready, methods=["GET"], **openapi.READY)
    app.add_route("/", _page, methods=["GET", "HEAD"], include_in_schema=False)
    app.openapi = lambda: openapi.describe(app, settings)  # type: ignore[method-assign]

    paths = {route.path for route in app.routes if hasattr(route, "path")}
    log = None if settings.access_log is None else AccessLog(settings.access_log)
    app.user_middleware = [Middleware(Journal, metrics=metrics, access_log=log, routes=paths)]
    if settings.cors_origins:
        app.user_middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.cors_origins,
                allow_methods=("GET", "POST"),
                allow_headers=("Authorization", "Content-Type"),
                expose_headers=("Retry-After", "Server-Timing", "X-Request-ID"),
            )
        )
    app.user_middleware += [Middleware(Shell), Middleware(Gate, settings=settings, places=places)]
    return app


class Routes:
    """What the service answers at its addresses."""

    def __init__(self, backend: Backend, settings: ServiceSettings) -> None:
        self._backend = backend
        self._settings = settings
        self._readiness = Readiness(backend, settings.probe_seconds)
        self._work = Work(backend, settings, ThreadPoolExecutor(settings.threads, "art2real-images"))

    async def translate(self, request: Request, query: Annotated[TranslateQuery, Query()]) -> Response:
        """A painting as a photo: an image in, an image of the same size out (upright, sRGB)."""
        return await self._work.translate(request, query)

    async def explain(self, request: Request, query: Annotated[ExplainQuery, Query()]) -> Response:
        """The real patches behind the translation of a painting, and the photos that they come from."""
        return await self._work.explain(request, query)

    async def models(self, query: Annotated[NoQuery, Query()]) -> dict[str, Any]:
        """The models, the default first, whether translations can be explained, and the limits."""
        names = await self._backend.names()
        return {
            "models": [{"name": name, "default": place == 0} for place, name in enumerate(names)],
            "explains": self._backend.explains,
            "limits": {
                "max_bytes": self._settings.max_bytes,
                "max_pixels": self._settings.max_pixels,
                "timeout_seconds": self._settings.timeout_seconds,
            },
        }

    async def live(self, query: Annotated[NoQuery, Query()]) -> dict[str, str]:
        """The service runs."""
        return {"status": "live"}

    async def ready(self, query: Annotated[NoQuery, Query()]) -> dict[str, str]:
        """The model answers: a tiny picture was translated by it within the last second, or now."""
        await self._readiness.check()
        return {"status": "ready"}


async def _page(request: Request) -> Response:
    return page_response()


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    problem = http_problem(error.status_code, request.method, error.headers)
    trace_of(request.scope).code = problem.code
    return problem.response()


async def _wrong_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problem = parameter_problem(error.errors())
    trace_of(request.scope).code = problem.code
    return problem.response()
