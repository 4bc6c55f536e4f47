"""Inference endpoint: from the body of a request to the response, as an ASGI application.

It is the path that has to be short, so it does without the framework's request and response.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

import numpy as np
import orjson

from ...errors import SardonyxError, reason
from .batching import Closed, QueueFull
from .bodies import Receive, read_body
from .inference_request import InferenceRequest, header_size, read_request
from .inference_response import write_response
from .metrics import Metrics
from .options import ServingOptions
from .refusals import (
    BAD_REQUEST,
    FAULT,
    GONE,
    OUT_OF_TIME,
    QUEUE_FULL,
    STOPPING,
    TOO_LARGE,
    Disconnected,
    Refusal,
)
from .repository import Repository
from .served_model import ServedModel

Scope: TypeAlias = MutableMapping[str, Any]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_HEADER = "inference-header-content-length"
_LARGE = 1 << 16
"""Bytes of JSON, or elements, from which on a thread reads or writes it."""

_log = logging.getLogger("sardonyx.serve")


class InferenceEndpoint:
    """Answers ``POST /v2/models/{model}/infer``.

    Parameters
    ----------
    repository : Repository
    metrics : Metrics
    options : ServingOptions

    Attributes
    ----------
    is_stopping : bool
        Whether new requests are refused.
    """

    def __init__(self, repository: Repository, metrics: Metrics, options: ServingOptions) -> None:
        self.is_stopping = False
        self._repository = repository
        self._metrics = metrics
        self._options = options

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        began = time.perf_counter()
        metrics = self._metrics.nobody
        try:
            headers = {
                name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
            }
            body = await read_body(
                receive, headers, self._options.max_request_bytes, self._options.timeout
            )
            if self.is_stopping:
                raise Refusal(STOPPING, "the server is stopping", closes=True)
            path = scope["path_params"]
            model = self._repository.find(path["model"], path.get("version"))
            metrics = model.metrics
            content, header = await self._answer(model, body, headers.get(_HEADER), receive)
        except Disconnected:
            metrics.answered(GONE, 0.0)
            return
        except Exception as error:
            refusal = refused(error)
            metrics.answered(refusal.status, 0.0)
            await send_refusal(send, refusal)
            return
        metrics.answered(200, time.perf_counter() - began)
        await _send(send, content, header)

    async def _answer(
        self, model: ServedModel, body: bytes, header: str | None, receive: Receive
    ) -> tuple[bytes, int | None]:
        size = header_size(header, len(body))
        arguments = (body, size, model.inputs, model.output_names, model.optional)
        if size > _LARGE:
            request = await asyncio.to_thread(read_request, *arguments)
        else:
            request = read_request(*arguments)
        arrays = await self._results(model, request, receive)
        results = dict(zip(model.output_names, arrays, strict=True))
        given = (request, results, model.outputs_by_name, model.file.name, model.file.version)
        written = sum(results[name].size for name, is_binary in request.outputs if not is_binary)
        if written > _LARGE:
            return await asyncio.to_thread(write_response, *given)
        return write_response(*given)

    async def _results(
        self, model: ServedModel, request: InferenceRequest, receive: Receive
    ) -> list[np.ndarray]:
        """Run the model; a client that leaves, or the time, ends that."""
        future = model.submit(request.feeds)
        gone = asyncio.ensure_future(receive())  # after the body, that is a disconnection
        seconds = min(request.timeout or self._options.timeout, self._options.timeout)
        try:
            await asyncio.wait((future, gone), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if future.done():
                results: list[np.ndarray] = future.result()
                return results
            if gone.done():
                raise Disconnected
            raise Refusal(OUT_OF_TIME, f"no result within {seconds:g} s")
        finally:
            gone.cancel()
            future.cancel()


def refused(error: Exception) -> Refusal:
    """Return what a client is told of an error."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, QueueFull):
        return Refusal(QUEUE_FULL, str(error))
    if isinstance(error, Closed):
        return Refusal(STOPPING, str(error))
    if isinstance(error, MemoryError):
        return Refusal(TOO_LARGE, f"memory does not suffice: {reason(error)}")
    if isinstance(error, SardonyxError):
        return Refusal(BAD_REQUEST, reason(error))
    _log.error("a request failed", exc_info=error)
    return Refusal(FAULT, "a fault of the server, which its log has")


async def send_refusal(send: Send, refusal: Refusal) -> None:
    """Send the reason as the protocol has it."""
    content = orjson.dumps({"error": str(refusal)})
    more = [(b"connection", b"close")] if refusal.closes else []
    if refusal.status == QUEUE_FULL:
        more.append((b"retry-after", b"1"))
    await _send(send, content, None, refusal.status, more)


async def _send(
    send: Send,
    content: bytes,
    header: int | None,
    status: int = 200,
    more: list[tuple[bytes, bytes]] | None = None,
) -> None:
    kind = b"application/json" if header is None else b"application/octet-stream"
    headers = [(b"content-type", kind), (b"content-length", str(len(content)).encode())]
    if header is not None:
        headers.append((_HEADER.encode(), str(header).encode()))
    headers += more or []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
