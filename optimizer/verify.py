"""Verification of passes: the model computes the same before and after each."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeAlias

import numpy as np
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from ..errors import InvalidArgument, SardonyxError
from ..reference import OPERATORS

Feeds: TypeAlias = Mapping[str, Any]
Runner: TypeAlias = Callable[[ir.Model, Feeds], list[Any]]
"""Runs a model on inputs by name; returns its outputs."""


def run_reference(model: ir.Model, feeds: Feeds) -> list[Any]:
    """Run a model in onnx's reference implementation, which is slow on large images."""
    evaluator = ReferenceEvaluator(ir.to_proto(model), new_ops=OPERATORS)
    results: Any = evaluator.run(None, dict(feeds))
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
        self._feeds = _random_feeds(model) if feeds is None else feeds
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
            if reason := _difference(expected, result):
                raise SardonyxError(f"optimizer pass {name!r} changed output {output!r}: {reason}")


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
        dtype = value.dtype.numpy()
        if value.dtype.is_floating_point():
            feeds[str(value.name)] = rng.standard_normal(shape).astype(dtype)
        else:
            feeds[str(value.name)] = rng.integers(0, 2, shape).astype(dtype)
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
        id(value.const_value) for graph in model.graphs() for value in graph.initializers.values()
    )
    return nodes, weights, tuple(id(value) for value in model.graph.outputs)


def _difference(expected: Any, result: Any) -> str:
    """Describe how a result differs; empty when it does not."""
    if isinstance(expected, list | tuple) and isinstance(result, list | tuple):
        if len(expected) != len(result):
            return f"{len(result)} elements, expected {len(expected)}"
        return next(filter(None, map(_difference, expected, result)), "")
    a, b = np.asarray(expected), np.asarray(result)
    if a.shape != b.shape or a.dtype != b.dtype:
        return f"{b.dtype} of shape {b.shape}, expected {a.dtype} of shape {a.shape}"
    if a.dtype.kind not in "fc":
        return "" if np.array_equal(a, b) else "other values"
    scale = float(np.max(np.abs(a), initial=0.0, where=np.isfinite(a)))
    # A mistake of a pass is larger than what rounding in another order grows to.
    tolerance = 1e-2 if a.dtype == np.float16 else 1e-3
    if np.allclose(b, a, rtol=tolerance, atol=0.2 * tolerance * max(scale, 1e-6), equal_nan=True):
        return ""
    with np.errstate(invalid="ignore"):
        return f"off by up to {float(np.nanmax(np.abs(a - b))):.3g} where values reach {scale:.3g}"
