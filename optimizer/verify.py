"""Verification of passes: the model computes the same before and after each."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeAlias

import numpy as np
import onnx_ir as ir

from ..difference import difference
from ..errors import InvalidArgument, SardonyxError
from ..random_arrays import random_array
from .values import graphs

Feeds: TypeAlias = Mapping[str, Any]
Runner: TypeAlias = Callable[[ir.Model, Feeds], list[Any]]
"""Runs a model on inputs by name; returns its outputs."""


def run_reference(model: ir.Model, feeds: Feeds) -> list[Any]:
    """Run a model in onnx's reference implementation, which is slow on large images."""
    from ..reference import evaluator  # takes 20 MB, and is rarely needed

    results: Any = evaluator(ir.to_proto(model)).run(None, dict(feeds))
    return list(results)


class Verifier:
    """Compares what a model computes after each pass with what it computed before the first.

    Parameters
    ----------
    model : onnx_ir.Model
        Before the first pass.
    feeds : mapping or None
        Inputs by name; random ones when None.
    run : Runner

    Raises
    ------
    InvalidArgument
        The model does not run on these inputs.
    """

    def __init__(self, model: ir.Model, feeds: Feeds | None, run: Runner) -> None:
        self._run = run
        self._feeds = {**_defaults(model), **(_random_feeds(model) if feeds is None else feeds)}
        self._seen = _fingerprint(model)
        self._names = [str(value.name) for value in model.graph.outputs]
        try:
            self._expected = run(model, self._feeds)
        except Exception as error:  # every runner has exceptions of its own
            shapes = {name: np.shape(array) for name, array in self._feeds.items()}
            raise InvalidArgument(
                f"cannot verify: the model does not run on inputs of shapes {shapes}: {error}; "
                "give inputs of your own"
            ) from error

    def check(self, name: str, model: ir.Model) -> None:
        """Run the model if a pass has changed it, even if the pass counts no change.

        Raises
        ------
        SardonyxError
            The results are others than before, or there are none; names the pass.
        """
        now = _fingerprint(model)
        if now == self._seen:
            return
        self._seen = now
        try:
            results = self._run(model, self._feeds)
        except Exception as error:
            raise SardonyxError(
                f"optimizer pass {name!r} made a model that does not run: {error}"
            ) from error
        for output, expected, result in zip(self._names, self._expected, results, strict=True):
            tolerance = _tolerance(expected)
            compared = difference(
                output, result, expected, tolerance, 1e-6 * tolerance, 0.2 * tolerance
            )
            if not compared.agrees:
                raise SardonyxError(
                    f"optimizer pass {name!r} changed output {output!r}: {compared.reason}"
                )


def _defaults(model: ir.Model) -> dict[str, np.ndarray]:
    """Values of inputs that need not be given."""
    stored = {str(value.name): value.const_value for value in model.graph.inputs}
    return {name: tensor.numpy() for name, tensor in stored.items() if tensor is not None}


def _random_feeds(model: ir.Model) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    feeds = {}
    for value in model.graph.inputs:
        if value.name in model.graph.initializers:
            continue
        if value.shape is None or value.dtype is None or value.dtype == ir.DataType.STRING:
            raise InvalidArgument(
                f"cannot verify on random inputs: {value.name!r} is {value.type or 'of no type'} "
                f"of shape {value.shape}; give inputs of your own"
            )
        shape = [dim if isinstance(dim, int) else 2 for dim in value.shape]
        feeds[str(value.name)] = random_array(shape, value.dtype.numpy(), rng, signed=True)
    return feeds


def _fingerprint(model: ir.Model) -> Hashable:
    """Nodes, their attributes and operands, and the weights: all that a pass can change."""
    nodes = tuple(
        (
            node.op_identifier(),
            tuple(id(value) for value in (*node.inputs, *node.outputs)),
            tuple((name, id(attribute)) for name, attribute in sorted(node.attributes.items())),
        )
        for node in model.graph.all_nodes()
    )
    weights = tuple(
        id(value.const_value) for graph in graphs(model) for value in graph.initializers.values()
    )
    return nodes, weights, tuple(id(value) for value in model.graph.outputs)


def _tolerance(value: Any) -> float:
    """Tolerance: rounding in another order stays below it, a mistake of a pass does not."""
    if isinstance(value, list | tuple):
        return max(map(_tolerance, value), default=0.0)
    return 1e-2 if np.asarray(value).dtype == np.float16 else 1e-3
