"""Refinement of quantized weights by what layers multiply: better rounding, corrected biases."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import onnx_ir as ir

from ..edits import new_constant
from ..values import constant, used_once
from .grid import Grid
from .layers import Key, Layer
from .moments import Moments, moments
from .rounding import METHODS, rounded
from .walk import Walk
from .weights import MOST, Blocks

Grids = Callable[[Layer, np.ndarray | None], Grid]
"""The grid of a layer's weights, broadcast against `Layer.matrices`, by the mean squares of what
they multiply, where these are known."""
_FACTORS = ("alpha", "beta")
_TOO_MANY = 8192
"""Products of a sum beyond which their matrix is too large: weights are rounded to the nearest."""


@dataclass(frozen=True)
class Refined:
    """Weights of a layer.

    Attributes
    ----------
    integers : ndarray of int8
        In the places of the weights.
    blocks : Blocks, optional
        The same, with scales and zero points of blocks, where weights have them.
    shifts : ndarray of float64, shape (channels,), optional
        What the bias takes up.
    """

    integers: np.ndarray
    blocks: Blocks | None = None
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


def by_input(layers: Iterable[Layer]) -> list[list[Layer]]:
    """Group layers that multiply the same rows."""
    groups: dict[Key, list[Layer]] = {}
    for layer in layers:
        groups.setdefault(layer.key, []).append(layer)
    return list(groups.values())


def refine(
    groups: Iterable[Sequence[Layer]], grids: Grids, walk: Walk, method: str, *, biases: bool
) -> dict[str, Refined]:
    """Round the weights of layers by calibration data, and find what their biases should take up.

    Each layer sees what those before it give with their rounded weights.

    Parameters
    ----------
    groups : iterable of sequence of Layer
        As `by_input` makes them of the walk's model. Their weights become the rounded ones.
    grids : callable
    walk : Walk
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
    found: dict[str, Refined] = {}
    done: dict[ir.Value, tuple[Refined, ir.Value]] = {}
    for same in groups:
        first = same[0]
        walk.advance(first.node)
        products = method in METHODS and first.summed <= _TOO_MANY
        arrays = (run[str(first.source.name)] for run in walk.runs)
        seen = moments(first, arrays, products=products)
        _warn_of_zeros(first, seen)
        for layer in same:
            node, weights = layer.node, layer.node.inputs[1]
            assert weights is not None
            if weights not in done:
                done[weights] = _refined(layer, grids, seen, method, biases)
            found[str(node.name)], numbers = done[weights]
            node.replace_input_with(1, numbers)
            found[str(node.name)].correct(node)
    return found


def _warn_of_zeros(layer: Layer, seen: Moments) -> None:
    """Name rows that say nothing of the errors of weights."""
    name, node = layer.source.name, layer.node
    if seen.products.size and not seen.products.any():
        warnings.warn(
            f"tensor {name!r} is zero in all runs: weights of node {node.name!r} "
            f"({node.op_type}) are rounded to the nearest",
            stacklevel=2,
        )


def _refined(
    layer: Layer, grids: Grids, seen: Moments, method: str, biases: bool
) -> tuple[Refined, ir.Value]:
    """Round the weights of a layer; also returns the constant of what their integers stand for."""
    weights = layer.matrices(layer.weights)
    squares = np.stack([np.diag(e) for e in seen.products]) if seen.products.size else None
    grid = grids(layer, None if squares is None else squares / max(seen.count, 1))
    integers = grid.nearest(weights)
    scales, zeros = (np.broadcast_to(e, weights.shape).copy() for e in (grid.scales, grid.zeros))
    for group, products in enumerate(seen.products if seen.products.size else ()):
        integers[group], own = rounded(
            weights[group], grid.of(group, weights.shape), products, method
        )
        scales[group], zeros[group] = own.scales, own.zeros
    numbers = (integers - zeros) * scales
    shifts = np.einsum("gok,gk->go", weights - numbers, seen.mean).reshape(-1) if biases else None
    whole, blocks = layer.placed(integers), None
    if grid.block:
        of_blocks = [layer.placed(each[..., :: grid.block]) for each in (scales, zeros)]
        few, zero = (each.astype(ml_dtypes.uint4) for each in (whole, of_blocks[1]))
        blocks = Blocks(few, of_blocks[0], zero)
    graph = layer.node.graph
    assert isinstance(graph, ir.Graph)
    made = new_constant(graph, layer.placed(numbers), f"{layer.node.name}.rounded")
    return Refined(whole.astype(np.int8), blocks, shifts), made


def by_channel_grid(layer: Layer, scales: np.ndarray) -> Grid:
    """Return the symmetric grid of weights that have a scale for each output channel."""
    found = scales.reshape(layer.groups, layer.outputs, 1)
    return Grid(found, np.zeros((1, 1, 1), np.float32), -MOST, MOST)
