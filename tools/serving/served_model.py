"""Served models: one version of a model, open, with its queue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from ...errors import UnsupportedModel
from ...runtime.session import Session
from .batching import Batcher
from .joining import TOLERANCE, TOLERANCES, Joiner, kind, obstacle
from .metrics import Metrics, ModelMetrics
from .model_files import ModelFile
from .options import ServingOptions
from .ports import Port, ports
from .workers import Workers

Opener: TypeAlias = Callable[[str, ServingOptions], Any]
"""Opens a model: returns what has `Session`'s ``run``, ports and ``threads``."""


def open_session(path: str, options: ServingOptions) -> Session:
    """Open a model as the options say."""
    return Session(
        path,
        threads=options.threads,
        precision=options.precision,
        optimize=options.level,
        device=options.device,
    )


class ServedModel:
    """A model that can be asked.

    Parameters
    ----------
    file : ModelFile
    options : ServingOptions
    metrics : Metrics
    opener : callable
        Opens the session, in the thread that calls this.

    Attributes
    ----------
    file : ModelFile
    mark : tuple
        Of the files that it was opened from.
    inputs, optional, outputs : list of Port
        ``optional`` are inputs that have values of their own.
    metrics : ModelMetrics

    Raises
    ------
    SardonyxError
        The model cannot be opened, or the protocol has no word for one of its ports.
    """

    def __init__(
        self,
        file: ModelFile,
        options: ServingOptions,
        metrics: Metrics,
        opener: Opener = open_session,
    ) -> None:
        self.file = file
        self.mark = file.mark()
        self._options = options
        self._session = session = opener(str(file.path), options)
        self.inputs = ports(session.get_inputs())
        self.outputs = ports(session.get_outputs())
        try:
            self.optional = ports(session.get_overridable_initializers())
        except UnsupportedModel:
            self.optional = []  # they have values all the same
        self.outputs_by_name: Mapping[str, Port] = {port.name: port for port in self.outputs}
        self.output_names = [port.name for port in self.outputs]
        self.description: str = session.get_modelmeta().description
        self.properties: dict[str, str] = session.get_modelmeta().custom_metadata_map
        self.metrics = ModelMetrics(metrics, file.name, file.version)
        self.threads: int = session.threads
        self._joiner = Joiner(
            lambda feeds, cancellation: session.run(None, feeds, cancellation),
            obstacle(self.inputs, self.outputs),
            TOLERANCES.get(options.precision, TOLERANCE),
        )
        self._batcher: Batcher | None = None

    @property
    def max_batch(self) -> int:
        """Rows that requests are joined to; 1 where they are not joined."""
        return 1 if self._joiner.why_not else self._options.max_batch

    @property
    def why_not_joined(self) -> str:
        """Why requests are not joined; empty where they are."""
        return "--max-batch is 1" if self._options.max_batch == 1 else self._joiner.why_not

    def start(self, workers: Workers) -> None:
        """Begin to take requests, in the event loop that runs."""
        self._batcher = Batcher(
            self._joiner,
            workers,
            self.metrics,
            max_rows=self._options.max_batch,
            max_wait=self._options.max_wait,
            max_queue=self._options.max_queue,
            threads=self.threads,
        )
        self.metrics.ready.set(1)

    def submit(self, feeds: dict[str, np.ndarray]) -> Any:
        """Queue a run; returns a future of the list of all outputs.

        Raises
        ------
        QueueFull, Closed
        """
        assert self._batcher is not None
        joins = self.max_batch > 1 and len(feeds) == len(self.inputs)
        if not joins:
            return self._batcher.submit(feeds)
        ordered = {port.name: feeds[port.name] for port in self.inputs}
        rows = {len(array) for array in ordered.values()}
        count = rows.pop()
        if rows or not count:  # the run says what is wrong
            return self._batcher.submit(feeds)
        return self._batcher.submit(ordered, count, kind(ordered))

    async def close(self) -> None:
        """Answer the requests that are there, and give memory and threads back."""
        self.metrics.ready.set(0)
        if self._batcher is not None:
            await self._batcher.close()
        self._session.close()
