"""Chrome trace of a session's runs, in the form of onnxruntime's profiles.

A JSON list of complete events (``"ph": "X"``) with times in microseconds, which
``chrome://tracing`` and Perfetto show (Trace Event Format, Google).
"""

from __future__ import annotations

import json
import os
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..runtime.profile import RunProfile

_NANOSECONDS = 1000


class ChromeTrace:
    """Events of a session, from the time at which it was opened.

    Parameters
    ----------
    prefix : str
        Of the file's name; the time follows it.

    Attributes
    ----------
    start_ns : int
        Time of the first moment, in nanoseconds of ``time.time_ns``.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._lock = threading.Lock()
        self._events: list[dict[str, Any]] = []
        self._begin = time.perf_counter_ns()
        self.start_ns = time.time_ns()

    def add_opening(self) -> None:
        """Add the event of a session that is now open."""
        self._add("Session", "session_initialization", 0, time.perf_counter_ns() - self._begin, {})

    def add_run(self, profile: RunProfile, provider: str) -> None:
        """Add the events of a run that has just ended."""
        total = int(profile.total_ns[0])
        at = time.perf_counter_ns() - self._begin - total
        self._add("Session", "model_run", at, total, {})
        for step in profile.steps:
            duration = int(step.times_ns[0])
            details = {
                "op_name": step.op_type,
                "provider": provider,
                "node_index": str(step.index),
                "nodes": list(step.nodes),
                "kernel": step.kernel,
                "outputs": dict(zip(step.outputs, map(list, step.shapes), strict=False)),
                "flops": str(step.flops),
                "bytes": str(step.bytes),
            }
            self._add("Node", f"{step.name}_kernel_time", at, duration, details)
            at += duration

    def _add(self, kind: str, name: str, at: int, duration: int, details: dict[str, Any]) -> None:
        event = {
            "cat": kind,
            "pid": os.getpid(),
            "tid": threading.get_native_id(),
            "ts": at // _NANOSECONDS,
            "dur": duration // _NANOSECONDS,
            "ph": "X",
            "name": name,
            "args": details,
        }
        with self._lock:
            self._events.append(event)

    def write(self) -> str:
        """Write the file; returns its path."""
        moment = time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(self.start_ns / 1e9))
        path = f"{self._prefix}_{moment}_{self.start_ns // 1_000_000 % 1000}.json"
        with self._lock, open(path, "w", encoding="utf-8") as file:
            json.dump(self._events, file)
        return path
