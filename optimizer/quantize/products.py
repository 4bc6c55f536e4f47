"""Products with constant weights, in all graphs of a model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ..values import attribute, constant, graphs
from .regions import is_float


@dataclass(frozen=True)
class Product:
    """A MatMul or Gemm of an activation and a constant matrix.

    Attributes
    ----------
    graph : ir.Graph
    node : ir.Node
    weights : ndarray of float32
        As they lie.
    columns : int
        Axis of the weights that is one of the product; the other is summed over.
    """

    graph: ir.Graph
    node: ir.Node
    weights: np.ndarray
    columns: int


def products(model: ir.Model) -> Iterator[Product]:
    """Yield the products whose weights are finite numbers of float32."""
    for graph in graphs(model):
        for node in list(graph):
            if node.domain or node.op_type not in ("MatMul", "Gemm"):
                continue
            weights = constant(node.inputs[1])
            floats = is_float(node.inputs[1]) and is_float(node.outputs[0])
            if weights is None or weights.ndim != 2 or not weights.size or not floats:
                continue
            if constant(node.inputs[0]) is None and np.isfinite(weights).all():
                yield Product(graph, node, weights, 0 if attribute(node, "transB", 0) else 1)
