"""Walk of calibration data through a model: values of all runs at a place in the order of nodes.

A layer that is rounded sees what the layers before it give once they are rounded: each stretch of
nodes is run when all before it is final, so the whole model runs once for each sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from ..values import subgraphs
from .calibration import Run

Opener = Callable[[ir.Model], AbstractContextManager[Run]]
"""Makes a model ready to run."""
_MOST = 1 << 29
"""Bytes of values that are kept; runs that need more are left out, the last first."""


@dataclass(frozen=True)
class _Activation:
    """A value, and places of nodes: of that which makes it (-1: an input), of its readers."""

    value: ir.Value
    made: int
    reads: frozenset[int]


class Walk:
    """Values of the main graph that nodes from a place on read, for each run.

    Parameters
    ----------
    model : ir.Model
        May be changed from the place on.
    feeds : iterable of mapping
        Inputs of each run.
    opener : callable
    """

    def __init__(self, model: ir.Model, feeds: Iterable[Mapping[str, Any]], opener: Opener) -> None:
        self._model, self._opener = model, opener
        self._places: dict[ir.Node, int] = {}
        for place, node in enumerate(model.graph):
            self._places[node] = place
            for body in subgraphs(node):
                self._places.update(dict.fromkeys(body.all_nodes(), place))
        self.runs: list[dict[str, Any]] = [dict(feed) for feed in feeds]
        self._values = list(self._activations())
        self._reached = 0

    def _activations(self) -> Iterator[_Activation]:
        graph = self._model.graph
        names = set().union(*self.runs)  # without the defaults that no run gives
        given = [value for value in graph.inputs if value.name in names]
        for value in (*given, *(value for node in graph for value in node.outputs)):
            producer = value.producer()
            made = -1 if producer is None else self._places[producer]
            reads = frozenset(self._places[node] for node, _ in value.uses())
            if reads:
                yield _Activation(value, made, reads)

    def advance(self, node: ir.Node) -> None:
        """Run what comes before a node, from where the walk is."""
        start, until = self._reached, self._places[node]
        self._reached = until
        before = [e for e in self._values if e.made < start]
        inputs = [e.value for e in before if any(start <= read < until for read in e.reads)]
        live = [e for e in self._values if e.made < until <= max(e.reads)]
        outputs = [e.value for e in live if e.made >= start]
        if outputs:
            self._run(inputs, outputs)
        kept = {str(e.value.name) for e in live}
        self.runs = [{k: run[k] for k in run if k in kept} for run in self.runs]
        self._forget()

    def _run(self, inputs: list[ir.Value], outputs: list[ir.Value]) -> None:
        """Run a stretch, and keep what it gives."""
        graph = ir.convenience.extract(self._model.graph, inputs, outputs)
        names, wanted = ([str(value.name) for value in part] for part in (inputs, outputs))
        for value in graph.inputs:
            given = [run[str(value.name)] for run in self.runs]
            value.shape = _common_shape(given) or value.shape
        part = ir.Model(graph, ir_version=self._model.ir_version)
        with self._opener(part) as run_part:
            for run in self.runs:
                results = run_part(wanted, {name: run[name] for name in names})
                run.update(zip(wanted, results, strict=True))

    def _forget(self) -> None:
        total = 0
        for index, run in enumerate(self.runs):
            total += sum(getattr(array, "nbytes", 0) for array in run.values())
            if index and total > _MOST:
                del self.runs[index:]
                return


def _common_shape(arrays: list[Any]) -> ir.Shape | None:
    """Shape of arrays, open along axes where they differ; None if they are no arrays of a rank."""
    shapes = {np.shape(each) for each in arrays if isinstance(each, np.ndarray)}
    if len(arrays) == 0 or len({len(shape) for shape in shapes}) != 1:
        return None
    sizes = [set(axis) for axis in zip(*shapes, strict=True)]
    return ir.Shape([axis.pop() if len(axis) == 1 else None for axis in sizes])
