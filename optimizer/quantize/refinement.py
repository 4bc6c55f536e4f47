"""Refinement of quantized weights by what layers multiply: better rounding, corrected biases."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from ..edits import new_constant, set_inputs
from ..values import constant, used_once
from .calibration import Run
from .layers import Layer
from .moments import Feeds, moments
from .rounding import METHODS, Grid, rounded

Grids = Callable[[Layer], Grid]
"""The grid of a layer's weights, broadcast against `Layer.matrices`."""
_TOO_MANY = 8192
"""Products of a sum beyond which their matrix is not made, and weights are rounded to the nearest."""


def refine(
    layers: Sequence[Layer], grids: Grids, feeds: Feeds, run: Run, method: str, *, biases: bool
) -> dict[ir.Node, np.ndarray]:
    """Round the weights of layers by calibration data, and correct their biases in place.

    Parameters
    ----------
    layers : sequence of Layer
    grids : callable
    feeds, run
        As `moments.moments` takes them.
    method : str
        Of `rounding.METHODS`, or ``"nearest"``.
    biases : bool
        Whether a bias takes up the mean error of a layer's outputs.

    Returns
    -------
    dict of ir.Node to ndarray
        Integers in the places of a layer's weights, as float32.
    """
    found = {}
    rounds = method in METHODS
    for products in (False, True) if rounds else (False,):
        part = [e for e in layers if products == (rounds and e.summed <= _TOO_MANY)]
        for same, each in moments(part, feeds, run, products=products) if part else ():
            for layer in same:
                grid, matrices = grids(layer), layer.matrices(layer.weights)
                integers = grid.nearest(matrices)
                if products:
                    integers = np.stack(
                        [
                            rounded(matrix, _of_group(grid, group, matrices), product, method)
                            for group, (matrix, product) in enumerate(
                                zip(matrices, each.products, strict=True)
                            )
                        ]
                    )
                found[layer.node] = layer.placed(integers)
                if biases:
                    errors = matrices - grid.numbers(integers)
                    _shift(layer.node, np.einsum("gok,gk->go", errors, each.mean).reshape(-1))
    return found


def _of_group(grid: Grid, group: int, matrices: np.ndarray) -> Grid:
    scales, zeros = (np.broadcast_to(e, matrices.shape)[group] for e in (grid.scales, grid.zeros))
    return Grid(scales, zeros, grid.low, grid.high)


def _shift(node: ir.Node, amounts: np.ndarray) -> None:
    """Add to each output channel of a layer, if it has a bias or can have one.

    M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019
    (arXiv 1906.04721), section 4.2, with means from calibration.
    """
    if any(node.attributes[k].as_float() != 1 for k in ("alpha", "beta") if k in node.attributes):
        return
    if node.op_type != "MatMul":
        _add_to(node, 2, amounts)
        return
    result = node.outputs[0]
    readers = list(result.consumers())
    if used_once(result) and readers[0].op_type == "Add" and not readers[0].domain:
        (index,) = (i for i, value in enumerate(readers[0].inputs) if value is not result)
        if constant(readers[0].inputs[index]) is not None:
            _add_to(readers[0], index, amounts)


def _add_to(node: ir.Node, index: int, amounts: np.ndarray) -> None:
    """Add to a constant operand of a node, or make one."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    old = node.inputs[index] if len(node.inputs) > index else None
    bias = constant(old)
    if old is not None and (bias is None or bias.shape[-1:] != amounts.shape or bias.ndim > 1):
        return
    new = amounts.astype(np.float32) if bias is None else (bias + amounts).astype(np.float32)
    if len(node.inputs) <= index:
        node.resize_inputs(index + 1)
    set_inputs(node, {index: new_constant(graph, new, f"{node.name}.bias")})


def by_channel_grid(layer: Layer, scales: np.ndarray, most: int) -> Grid:
    """Return the symmetric grid of weights that have a scale for each output channel."""
    found = scales.reshape(layer.groups, layer.outputs, 1)
    return Grid(found, np.zeros((1, 1, 1), np.float32), -most, most)
