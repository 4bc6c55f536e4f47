"""Server: the application on uvicorn, from its start to the end of its last request."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import uvicorn

from ...errors import InvalidArgument, reason
from .application import Application
from .connection import bounded_protocol
from .metrics import Metrics
from .options import ServingOptions
from .repository import Repository
from .served_model import Opener, open_session

_CONNECTIONS = 1024
_IDLE = 75
"""Seconds that a connection without requests stays open; proxies keep theirs about 60."""


class _Server(uvicorn.Server):  # type: ignore[misc, unused-ignore]
    """Refuses requests from the moment on at which it is told to stop."""

    def __init__(self, config: uvicorn.Config, when_stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._when_stopping = when_stopping

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._when_stopping()
        super().handle_exit(sig, frame)
        self._captured_signals.clear()  # the exit code is 0: it was asked to end, and did


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes any that is free.

    Raises
    ------
    InvalidArgument
        The address is in use, or not of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_CONNECTIONS)
    except (OSError, OverflowError) as error:
        raise InvalidArgument(f"cannot listen on {host}, port {port}: {error}") from error


def serve(
    paths: Sequence[Path],
    options: ServingOptions,
    listener: socket.socket,
    opener: Opener = open_session,
    tell: Callable[[Repository], None] = lambda _: None,
) -> None:
    """Serve models until the process is told to stop (SIGTERM, SIGINT).

    Parameters
    ----------
    paths : sequence of Path
        Files of models, and folders.
    options : ServingOptions
    listener : socket
    opener : callable
        Opens a session.
    tell : callable
        Called when all models have been tried.

    Raises
    ------
    InvalidArgument
        No model can be served, with the reason of the first.
    """
    metrics = Metrics()
    repository = Repository(paths, options, metrics, opener)
    failures: list[str] = []

    def loaded(error: BaseException | None) -> None:
        entries = repository.entries()
        if error is not None:
            failures.append(f"the models cannot be read: {reason(error)}")
            server.should_exit = True
            return
        tell(repository)
        if not any(each.model for each in entries) and all(path.is_file() for path in paths):
            failures.extend(f"{each.file.path}: {each.reason}" for each in entries)
            server.should_exit = True

    application = Application(repository, metrics, options, loaded)

    def stop() -> None:
        application.inference.is_stopping = True

    config = uvicorn.Config(
        application.asgi,
        http=bounded_protocol(options.timeout),
        ws="none",
        lifespan="on",
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        backlog=_CONNECTIONS,
        timeout_keep_alive=_IDLE,
        timeout_graceful_shutdown=int(2 * options.timeout) + 1,
    )
    server = _Server(config, stop)
    server.run(sockets=[listener])
    if failures:
        raise InvalidArgument(failures[0])
