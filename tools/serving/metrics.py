"""Metrics in Prometheus' words.

Labels are the names and versions of models that are there, never what a client sends, so that no
client makes them more.
"""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

_SECONDS = (
    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30,
)  # fmt: skip
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128)
_MODEL = ("model", "version")


class Metrics:
    """All metrics of a server, in a registry of their own."""

    def __init__(self) -> None:
        disable_created_metrics()  # times of the first use, a line for each line
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)

        def histogram(name: str, text: str, buckets: Sequence[float]) -> Histogram:
            return Histogram(f"sardonyx_{name}", text, _MODEL, registry=registry, buckets=buckets)

        self.requests = Counter(
            "sardonyx_requests",
            "Requests for inference, by status (empty model: for none that is there).",
            (*_MODEL, "status"),
            registry=registry,
        )
        self.request_seconds = histogram(
            "request_seconds", "From a request's arrival to its response.", _SECONDS
        )
        self.queue_seconds = histogram("queue_seconds", "That requests waited.", _SECONDS)
        self.run_seconds = histogram("run_seconds", "That runs of models took.", _SECONDS)
        self.batch_rows = histogram("batch_rows", "Rows that were run together.", _ROWS)
        self.queue_length = Gauge(
            "sardonyx_queue_length", "Requests that wait.", _MODEL, registry=registry
        )
        self.ready = Gauge(
            "sardonyx_model_ready", "1 for a model that can be asked.", _MODEL, registry=registry
        )
        self.nobody = ModelMetrics(self, "", "")

    def text(self) -> bytes:
        """Write all in Prometheus' text format."""
        return generate_latest(self._registry)


class ModelMetrics:
    """Metrics of one version of a model; also the observer of its batcher."""

    def __init__(self, metrics: Metrics, model: str, version: str) -> None:
        self._requests = metrics.requests
        self._labels = (model, version)
        self._by_status: dict[int, Counter] = {}
        if not model:
            return
        self._request_seconds = metrics.request_seconds.labels(*self._labels)
        self._queue_seconds = metrics.queue_seconds.labels(*self._labels)
        self._run_seconds = metrics.run_seconds.labels(*self._labels)
        self._batch_rows = metrics.batch_rows.labels(*self._labels)
        self._queue_length = metrics.queue_length.labels(*self._labels)
        self.ready = metrics.ready.labels(*self._labels)

    def answered(self, status: int, seconds: float) -> None:
        """Count a request; the times are those of requests that got a result."""
        counter = self._by_status.get(status)
        if counter is None:
            counter = self._requests.labels(*self._labels, str(status))
            self._by_status[status] = counter
        counter.inc()
        if status == 200:
            self._request_seconds.observe(seconds)

    def queued(self, length: int) -> None:
        """Note how many requests wait."""
        self._queue_length.set(length)

    def ran(self, rows: int, waited: Sequence[float], seconds: float) -> None:
        """Note a run."""
        self._batch_rows.observe(rows)
        self._run_seconds.observe(seconds)
        for each in waited:
            self._queue_seconds.observe(each)
