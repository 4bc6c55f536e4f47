"""Options of the server: how models are opened, what is joined, and what is too much."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ServingOptions:
    """What ``sardonyx serve`` is told.

    Attributes
    ----------
    threads : int, optional
        Of a run; as for `Session`.
    precision, level, device : str
        As for `Session` (``level`` is its ``optimize``).
    max_batch : int
        Rows that requests are joined to at most; 1 joins none.
    max_wait : float
        Seconds that a request waits at most for others to be joined with.
    max_request_bytes : int
        Of the body of a request, also when it is decompressed.
    max_queue : int
        Requests that wait for one model.
    timeout : float
        Seconds that a request may take to be sent, and then to be answered.
    read_only : bool
        Whether clients may not load and unload models.
    """

    threads: int | None = None
    precision: str = "fp32"
    level: str = "all"
    device: str = "cpu"
    max_batch: int = 1
    max_wait: float = 0.0
    max_request_bytes: int = 64 << 20
    max_queue: int = 256
    timeout: float = 60.0
    read_only: bool = False
