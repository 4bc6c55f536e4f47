"""Refusals: requests that get no result, with the status and the reason that the client is told."""

from __future__ import annotations

from ...errors import SardonyxError

BAD_REQUEST = 400
NOT_FOUND = 404
NOT_ACCEPTABLE = 406
TOO_SLOW = 408
TOO_LARGE = 413
NO_SUCH_CODING = 415
QUEUE_FULL = 429
GONE = 499
"""The client closed the connection; nobody is told (the number is that of nginx)."""
FAULT = 500
STOPPING = 503
OUT_OF_TIME = 504


class Refusal(SardonyxError):
    """A request is refused.

    Attributes
    ----------
    status : int
        HTTP's.
    closes : bool
        Whether the connection ends, since the rest of the request is not read.
    """

    def __init__(self, status: int, reason: str, closes: bool = False) -> None:
        super().__init__(reason)
        self.status = status
        self.closes = closes


class Disconnected(Exception):
    """The client has closed the connection."""
