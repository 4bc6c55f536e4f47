"""Refinement of quantized weights by what layers multiply: better rounding, corrected biases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ..edits import new_constant
from ..values import constant, used_once
from .calibration import Run
from .layers import Layer
from .moments import Feeds, Moments, moments
from .rounding import METHODS, Grid, rounded
from .weights import MOST

Grids = Callable[[Layer], Grid]
"""The grid of a layer's weights, broadcast against `Layer.matrices`."""
_FACTORS = ("alpha", "beta")
_TOO_MANY = 8192
"""Products of a sum beyond which their matrix is too large: weights are rounded to the nearest."""


@dataclass(frozen=True)
class Refined:
    """Weights of a layer.

    Attributes
    ----------
    integers : ndarray of float32
        In the places of the weights.
    shifts : ndarray of float64, shape (channels,), optional
        What the bias takes up.
    """

    integers: np.ndarray
    shifts: np.ndarray | None = None

    def correct(self, node: ir.Node) -> None:
        """Add the shifts to each output channel of a layer, if it has a bias or can have one."""
        factors = [node.attributes[k].as_float() for k in _FACTORS if k in node.attributes]
        if self.shifts is None or any(factor != 1 for factor in factors):
            return
        if node.op_type != "MatMul":
            _add_to(node, 2, self.shifts)
            return
        result = node.outputs[0]
        readers = list(result.consumers())
        if used_once(result) and readers[0].op_type == "Add" and not readers[0].domain:
            (index,) = (i for i, value in enumerate(readers[0].inputs) if value is not result)
            if constant(readers[0].inputs[index]) is not None:
                _add_to(readers[0], index, self.shifts)


def _add_to(node: ir.Node, index: int, amounts: np.ndarray) -> None:
    """Add to a constant operand of a node, or make one."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    old = node.inputs[index] if len(node.inputs) > index else None
    bias = constant(old)
    if old is not None and (bias is None or bias.shape != amounts.shape):
        return
    new = amounts.astype(np.float32) if bias is None else (bias + amounts).astype(np.float32)
    if len(node.inputs) <= index:
        node.resize_inputs(index + 1)
    node.replace_input_with(index, new_constant(graph, new, f"{node.name}.bias"))


def refine(
    layers: Sequence[Layer], grids: Grids, feeds: Feeds, run: Run, method: str, *, biases: bool
) -> dict[str, Refined]:
    """Round the weights of layers by calibration data, and find what their biases should take up.

    Parameters
    ----------
    layers : sequence of Layer
    grids : callable
    feeds, run
        As `moments.moments` takes them.
    method : str
        Of `rounding.METHODS`, or ``"nearest"``.
    biases : bool
        Whether a bias takes up the mean error of a layer's outputs: M. Nagel et al., "Data-Free
        Quantization Through Weight Equalization and Bias Correction", 2019 (arXiv 1906.04721),
        section 4.2, with means from calibration.

    Returns
    -------
    dict of str to Refined
        By the name of the layer's node.
    """
    found = {}
    rounds = method in METHODS
    for products in (False, True) if rounds else (False,):
        part = [e for e in layers if products == (rounds and e.summed <= _TOO_MANY)]
        for same, seen in moments(part, feeds, run, products=products):
            for layer in same:
                found[str(layer.node.name)] = _refined(layer, grids(layer), seen, method, biases)
    return found


def _refined(layer: Layer, grid: Grid, seen: Moments, method: str, biases: bool) -> Refined:
    weights = layer.matrices(layer.weights)
    integers = grid.nearest(weights)
    for group, products in enumerate(seen.products if seen.products.size else ()):
        grid_of_group = grid.of(group, weights.shape)
        integers[group] = rounded(weights[group], grid_of_group, products, method)
    errors = weights - grid.numbers(integers)
    shifts = np.einsum("gok,gk->go", errors, seen.mean).reshape(-1) if biases else None
    return Refined(layer.placed(integers), shifts)


def by_channel_grid(layer: Layer, scales: np.ndarray) -> Grid:
    """Return the symmetric grid of weights that have a scale for each output channel."""
    found = scales.reshape(layer.groups, layer.outputs, 1)
    return Grid(found, np.zeros((1, 1, 1), np.float32), -MOST, MOST)
