"""Bodies of requests: read within limits of size and time, and decompressed."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeAlias

from .refusals import BAD_REQUEST, NO_SUCH_CODING, TOO_LARGE, TOO_SLOW, Disconnected, Refusal

Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]

_DISCARDED = 8
"""How many times the limit is read and thrown away, so that a client hears why it is refused."""


async def read_body(
    receive: Receive, headers: Mapping[str, str], limit: int, seconds: float
) -> bytes:
    """Read the body of a request.

    Parameters
    ----------
    receive : callable
        ASGI's.
    headers : mapping of str to str
        By their names in small letters.
    limit : int
        Bytes that it may have, also when it is decompressed.
    seconds : float
        That it may take.

    Raises
    ------
    Refusal
        It is too large, too slow, or not as its headers say.
    Disconnected
    """
    try:
        async with asyncio.timeout(seconds):
            body = await _received(receive, headers.get("content-length"), limit)
    except TimeoutError:
        raise Refusal(
            TOO_SLOW, f"the body did not come within {seconds:g} s", closes=True
        ) from None
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding == "identity":
        return body
    if coding not in ("gzip", "deflate"):
        raise Refusal(
            NO_SUCH_CODING, f"content-encoding {coding[:50]!r}: gzip and deflate are known"
        )
    return await asyncio.to_thread(_decompressed, body, limit)


async def _received(receive: Receive, declared: str | None, limit: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    is_too_large = declared is not None and (not declared.isdigit() or int(declared) > limit)
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        piece = message.get("body", b"")
        size += len(piece)
        if size > limit:
            is_too_large = True
        if is_too_large:
            pieces.clear()
        elif piece:
            pieces.append(piece)
        if not message.get("more_body", False):
            break
        if size > _DISCARDED * limit:
            break
    if is_too_large:
        told = declared if declared is not None else f"more than {limit}"
        raise Refusal(
            TOO_LARGE, f"the body has {told[:30]} bytes, the limit is {limit}", closes=True
        )
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _decompressed(body: bytes, limit: int) -> bytes:
    """Undo gzip or zlib, which say in their first bytes which of the two they are."""
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        data = decoder.decompress(body, limit + 1)
    except zlib.error as error:
        raise Refusal(BAD_REQUEST, f"the body cannot be decompressed: {error}") from None
    if len(data) > limit:
        raise Refusal(TOO_LARGE, f"decompressed, the body has more than {limit} bytes")
    if not decoder.eof or decoder.unused_data:
        raise Refusal(BAD_REQUEST, "the compressed body is truncated, or something follows it")
    return data
