"""Load generator: clients on connections of their own that ask again as soon as they are answered.

Requests are bytes made before; of responses only the status and the length are looked at, so that
one thread keeps a server busy.
"""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .element_types import datatype

_LENGTH = b"content-length: "


@dataclass
class Load:
    """What clients saw.

    Attributes
    ----------
    seconds : float
    latencies : list of float
        Seconds from a request to its response.
    failed : int
        Responses that were no result.
    """

    seconds: float
    latencies: list[float]
    failed: int

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.latencies) / self.seconds

    def quantile(self, share: float) -> float:
        """Return the latency that a share of the requests does not exceed."""
        return float(np.quantile(self.latencies, share))


def request_of(model: str, feeds: Mapping[str, np.ndarray]) -> bytes:
    """Return a request with binary tensors, both ways."""
    tensors = [
        {
            "name": name,
            "shape": list(array.shape),
            "datatype": datatype(f"tensor({_word(array.dtype)})"),
            "parameters": {"binary_data_size": array.nbytes},
        }
        for name, array in feeds.items()
    ]
    head = json.dumps({"inputs": tensors, "parameters": {"binary_data_output": True}}).encode()
    body = head + b"".join(array.tobytes() for array in feeds.values())
    lines = (
        f"POST /v2/models/{model}/infer HTTP/1.1",
        "Host: localhost",
        f"Inference-Header-Content-Length: {len(head)}",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join((*lines, "", "")).encode() + body


def _word(dtype: np.dtype) -> str:
    return {"float32": "float", "float64": "double"}.get(dtype.name, dtype.name)


class _Client:
    """A connection with one request at a time."""

    def __init__(self, port: int, requests: Sequence[bytes], turn: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._requests = requests
        self._turn = turn
        self._got = b""
        self.began = 0.0

    def ask(self) -> None:
        request = self._requests[self._turn % len(self._requests)]
        self._turn += 1
        self._got = b""
        self.began = time.perf_counter()
        self.socket.sendall(request)

    def read(self) -> bool | None:
        """Read on; whether the response is a result, None where it has not come wholly."""
        piece = self.socket.recv(1 << 20)
        if not piece:
            raise ConnectionError("the server closed the connection")
        self._got += piece
        end = self._got.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = self._got[:end].lower()
        length = int(head[head.index(_LENGTH) + len(_LENGTH) :].split(b"\r\n", 1)[0])
        return head.startswith(b"http/1.1 200") if len(self._got) >= end + 4 + length else None


def load(port: int, requests: Sequence[bytes], clients: int, seconds: float) -> Load:
    """Ask a server of this machine for some seconds.

    Parameters
    ----------
    port : int
    requests : sequence of bytes
        Sent in turn.
    clients : int
        Requests at a time.
    seconds : float
    """
    selector = selectors.DefaultSelector()
    connections = [_Client(port, requests, turn) for turn in range(clients)]
    for each in connections:
        selector.register(each.socket, selectors.EVENT_READ, each)
    latencies: list[float] = []
    failed = 0
    began = time.perf_counter()
    for each in connections:
        each.ask()
    waiting = clients
    while waiting:
        for key, _ in selector.select():
            client: _Client = key.data
            is_result = client.read()
            if is_result is None:
                continue
            now = time.perf_counter()
            if is_result:
                latencies.append(now - client.began)
            else:
                failed += 1
            if now - began < seconds:
                client.ask()
            else:
                waiting -= 1
    took = time.perf_counter() - began
    for each in connections:
        selector.unregister(each.socket)
        each.socket.close()
    return Load(took, latencies, failed)
