"""Connections: uvicorn's, with limits where it has none.

A client must send the head of a request within a time and a size, and read what it is sent: none
may hold a connection, or memory, by doing nothing.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD = 1 << 16
"""Bytes that the head of a request, the trailers or the head of a chunk may have."""


def bounded_protocol(seconds: float) -> type[HttpToolsProtocol]:
    """Return the class of connections whose clients get some seconds for each of these."""

    class BoundedProtocol(HttpToolsProtocol):  # type: ignore[misc, unused-ignore]
        """A connection that ends when the client is too slow."""

        _timer: asyncio.TimerHandle | None = None
        _unread = 0
        """Bytes since the last that were part of a body, or ended a head or a message."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override, unused-ignore]
            super().connection_made(transport)
            self._start(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            self._unread += len(data)
            before = self._unread
            super().data_received(data)
            if self._unread == before and self._unread > _HEAD:
                self.send_400_response(f"The head of a request may have {_HEAD} bytes.")

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._start(self.transport)

        def on_headers_complete(self) -> None:
            self._stop()
            self._unread = 0
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            self._unread = 0
            super().on_body(body)

        def on_message_complete(self) -> None:
            self._unread = 0
            super().on_message_complete()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._start(self.transport)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._stop()

        def _start(self, transport: Any) -> None:
            self._stop()
            self._timer = self.loop.call_later(seconds, transport.abort)

        def _stop(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return BoundedProtocol
