"""Application: the routes of the server (Starlette)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ...errors import SardonyxError
from . import metadata, trial
from .bodies import read_body
from .inference_endpoint import InferenceEndpoint, refused, send_refusal
from .inference_request import read_json
from .metrics import Metrics
from .options import ServingOptions
from .refusals import BAD_REQUEST, STOPPING, Disconnected, Refusal
from .repository import Repository

_FORBIDDEN = 403
_SMALL = 1 << 20
"""Bytes that the body of any other request than one for inference may have."""
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src 'self' data: blob:; media-src blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def json_response(content: Any, status: int = 200) -> Response:
    """Return a response of JSON."""
    return Response(orjson.dumps(content), status, media_type="application/json")


class Application:
    """The server's state and its routes.

    Parameters
    ----------
    repository : Repository
    metrics : Metrics
    options : ServingOptions
    when_loaded : callable
        Called when all models have been tried, with what made an end to that.

    Attributes
    ----------
    asgi
        The application.
    """

    def __init__(
        self,
        repository: Repository,
        metrics: Metrics,
        options: ServingOptions,
        when_loaded: Callable[[BaseException | None], None] = lambda _: None,
    ) -> None:
        self.repository = repository
        self.inference = InferenceEndpoint(repository, metrics, options)
        self._metrics = metrics
        self._options = options
        self._when_loaded = when_loaded
        self._page = resources.files("sardonyx.tools").joinpath("data/serving.html").read_bytes()
        app = Starlette(
            routes=self._routes(),
            lifespan=self._lifespan,
            exception_handlers={
                HTTPException: _no_route,
                SardonyxError: _failed,
                Disconnected: _failed,
            },
        )
        self.asgi: ASGIApp = SameOrigin(app)

    def _routes(self) -> list[Route]:
        one = "/v2/models/{model}"
        version = one + "/versions/{version}"
        control = "/v2/repository/models/{model}"
        # Those for inference are tried first.
        routes = [
            Route(path + "/infer", self.inference, methods=["POST"]) for path in (one, version)
        ]
        routes += [
            Route("/", self._index_page),
            Route("/metrics", self._text_of_metrics),
            Route("/v2", self._server),
            Route("/v2/health/live", self._live),
            Route("/v2/health/ready", self._ready),
            Route("/v2/repository/index", self._index, methods=["POST"]),
            Route(control + "/load", self._load, methods=["POST"]),
            Route(control + "/unload", self._unload, methods=["POST"]),
            Route("/trial/{model}/{version}/notes", self._notes),
            Route("/trial/{model}/{version}/tokens", self._tokens, methods=["POST"]),
        ]
        for path in (one, version):
            routes += [
                Route(path + "/ready", self._model_ready),
                Route(path + "/config", self._configuration),
                Route(path, self._model),
            ]
        return routes

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Load the models while the server answers already, and close them at the end."""
        loading = asyncio.create_task(self.repository.load_all())
        loading.add_done_callback(
            lambda done: None if done.cancelled() else self._when_loaded(done.exception())
        )
        yield
        loading.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await loading
        await self.repository.close()

    # --- the server ---------------------------------------------------------------------------

    async def _index_page(self, _: Request) -> Response:
        headers = {"content-security-policy": _POLICY, "cache-control": "no-cache"}
        return Response(self._page, media_type="text/html; charset=utf-8", headers=headers)

    async def _text_of_metrics(self, _: Request) -> Response:
        kind = "text/plain; version=0.0.4; charset=utf-8"
        return Response(self._metrics.text(), media_type=kind)

    async def _server(self, _: Request) -> Response:
        return json_response(metadata.of_server())

    async def _live(self, _: Request) -> Response:
        return json_response({"live": True})

    async def _ready(self, _: Request) -> Response:
        is_ready = self.repository.is_loaded and not self.inference.is_stopping
        return json_response({"ready": is_ready}, 200 if is_ready else STOPPING)

    # --- models -------------------------------------------------------------------------------

    async def _model(self, request: Request) -> Response:
        model = self.repository.find(**_names(request))
        return json_response(metadata.of_model(model, self.repository.versions(model.file.name)))

    async def _model_ready(self, request: Request) -> Response:
        model = self.repository.find(**_names(request))
        return json_response({"name": model.file.name, "ready": True})

    async def _configuration(self, request: Request) -> Response:
        return json_response(metadata.configuration(self.repository.find(**_names(request))))

    async def _notes(self, request: Request) -> Response:
        model = self.repository.find(**_names(request))
        return json_response(await asyncio.to_thread(trial.notes, model))

    async def _tokens(self, request: Request) -> Response:
        model = self.repository.find(**_names(request))
        text = (await self._json(request)).get("text")
        if not isinstance(text, str):
            raise Refusal(BAD_REQUEST, "'text' must be a string")
        return json_response({"inputs": await asyncio.to_thread(trial.tokens, model, text)})

    # --- the repository -----------------------------------------------------------------------

    async def _index(self, request: Request) -> Response:
        only_ready = (await self._json(request)).get("ready") is True
        entries = self.repository.entries()
        return json_response(
            [
                metadata.of_entry(each)
                for each in entries
                if each.model is not None or not only_ready
            ]
        )

    async def _load(self, request: Request) -> Response:
        if (await self._control(request)).get("parameters"):
            raise Refusal(BAD_REQUEST, "models are loaded from the server's files as they are")
        await self.repository.load(request.path_params["model"])
        return json_response({})

    async def _unload(self, request: Request) -> Response:
        await self._control(request)
        await self.repository.unload(request.path_params["model"])
        return json_response({})

    async def _control(self, request: Request) -> dict[str, Any]:
        found = await self._json(request)
        if self._options.read_only:
            raise Refusal(_FORBIDDEN, "the repository is read-only (--read-only)")
        return found

    async def _json(self, request: Request) -> dict[str, Any]:
        body = await read_body(request.receive, request.headers, _SMALL, self._options.timeout)
        return read_json(body) if body.strip() else {}


class SameOrigin:
    """Refuses what pages of other sites make a browser send."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http" and scope["method"] == "POST":
            headers = dict(scope["headers"])
            origin = headers.get(b"origin")
            if origin is not None and not _is_own(origin, headers.get(b"host", b"")):
                await send_refusal(send, Refusal(_FORBIDDEN, "a request from another site's page"))
                return
        await self._app(scope, receive, send)


def _is_own(origin: bytes, host: bytes) -> bool:
    try:
        return urlsplit(origin.decode("latin-1")).netloc == host.decode("latin-1")
    except ValueError:
        return False


def _names(request: Request) -> dict[str, Any]:
    parameters = request.path_params
    return {"name": parameters["model"], "version": parameters.get("version")}


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    told = f"{error.detail}: {request.method} {request.url.path[:200]}"
    return json_response({"error": told}, error.status_code)


async def _failed(_: Request, error: Exception) -> Response:
    if isinstance(error, Disconnected):
        return Response(status_code=BAD_REQUEST)
    refusal = refused(error)
    headers = {"connection": "close"} if refusal.closes else {}
    response = json_response({"error": str(refusal)}, refusal.status)
    response.headers.update(headers)
    return response
