"""Weight-only quantization: constants of 8 or 4 bits, widened where they are used."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from ..edits import insert, new_constant, set_inputs
from ..values import attribute, constant, graphs, rank
from .block_sums import with_offsets, with_sums
from .few_bits import LEAST, FewBits
from .grid import Grid
from .layers import Layer
from .products import products
from .refinement import Refined, by_channel_grid
from .regions import CONVOLUTIONS, is_float
from .scales import LEVELS
from .weights import Blocks, by_channel, in_blocks


def write_weights(
    model: ir.Model, few: FewBits, refined: Mapping[str, Refined] | None = None
) -> int:
    """Keep the weights of products, convolutions and lookups in few bits, in place.

    Parameters
    ----------
    model : ir.Model
    few : FewBits
    refined : mapping of str to Refined, optional
        By the name of a layer, its weights on a grid of `weight_grid`.

    Returns
    -------
    int
        Number of operands.
    """
    refined = refined or {}
    made: dict[tuple[ir.Value, int, bool, bool], ir.Value] = {}
    sums: dict[ir.Graph, dict[ir.Value, ir.Value]] = {}
    places = [(each.graph, each.node, 1, each.columns) for each in products(model)]
    places += [
        (graph, node, *place)
        for graph in graphs(model)
        for node in graph
        if (place := _other_place(node)) is not None
    ]
    count = 0
    for graph, node, index, axis in places:
        value = node.inputs[index]
        weights = constant(value)
        if value is None or weights is None or weights.size < LEAST:
            continue
        name = str(node.name)
        is_few, spaced = few.take(node), few.spaced.get(name)
        key = value, axis, is_few, spaced is not None
        if key not in made:
            if is_few:
                blocks = _blocks(weights, axis, few, name, refined.get(name))
                block = few.block_of(weights.shape[1 - axis])
                made[key] = _in_blocks(graph, value, blocks, 1 - axis, block)
            else:
                made[key] = _by_channel(graph, value, weights, axis, refined.get(name))
        if spaced is not None and spaced.has_offsets:
            depth = weights.shape[1 - axis]
            joined = with_sums(node, depth, few.block_of(depth), sums.setdefault(graph, {}))
            set_inputs(node, {0: joined})
        if name in refined:
            refined[name].correct(node)
        set_inputs(node, {index: made[key]})
        count += 1
    return count


def _blocks(
    weights: np.ndarray, axis: int, few: FewBits, name: str, refined: Refined | None
) -> Blocks:
    """Weights in 4 bits: as they were, as they are refined, or nearest."""
    block = few.block_of(weights.shape[1 - axis])
    if name in few.spaced:
        found = with_offsets(few.spaced[name], block)
        return found if axis else Blocks(found.integers.T, found.scales.T, found.zeros.T)
    if refined is not None and refined.blocks is not None:
        return refined.blocks
    return in_blocks(weights, 1 - axis, block, few.method)


def _other_place(node: ir.Node) -> tuple[int, int] | None:
    """Operand of a convolution or lookup that is a weight, and its axis of channels."""
    if node.domain or node.op_type not in (*CONVOLUTIONS, "Gather"):
        return None
    index = 0 if node.op_type == "Gather" else 1
    weights = constant(node.inputs[index])
    if weights is None or not is_float(node.inputs[index]) or not np.isfinite(weights).all():
        return None
    if node.op_type == "Gather" and (rank(node.inputs[0]) != 2 or attribute(node, "axis", 0)):
        return None
    return index, 1 if node.op_type == "ConvTranspose" else 0


def weight_grid(layer: Layer, few: FewBits, squares: np.ndarray | None = None) -> Grid:
    """Return the grid that the weights of a layer are rounded to.

    Parameters
    ----------
    layer : Layer
    few : FewBits
    squares : ndarray, shape (groups, summed), optional
        Mean squares of what weights multiply: errors count so much.
    """
    weights = layer.matrices(layer.weights)
    if not few.take(layer.node):
        _, scales = by_channel(weights.reshape(-1, layer.summed), 0)
        return by_channel_grid(layer, scales)
    importance = None if squares is None else squares[0]
    block = few.block_of(layer.summed)
    blocks = in_blocks(weights[0], 1, block, few.method, importance)
    parts = (blocks.scales, blocks.zeros.astype(np.float32))
    scales, zeros = (np.repeat(part, block, 1)[:, : layer.summed] for part in parts)
    return Grid(scales, zeros, 0, LEVELS, block)


def _by_channel(
    graph: ir.Graph, value: ir.Value, weights: np.ndarray, axis: int, given: Refined | None
) -> ir.Value:
    integers, scales = by_channel(weights, axis)
    chosen = integers if given is None else given.integers.astype(integers.dtype)
    return _widened(graph, value, [chosen, scales], axis=axis)


def _in_blocks(graph: ir.Graph, value: ir.Value, found: Blocks, axis: int, block: int) -> ir.Value:
    parts = [found.integers, found.scales, found.zeros]
    return _widened(graph, value, parts, axis=axis, block_size=block)


def _widened(
    graph: ir.Graph, value: ir.Value, parts: list[np.ndarray], **attributes: int
) -> ir.Value:
    """Insert the node that widens integers at the begin of the graph that has the constant."""
    names = ("quantized", "scale", "zero_point")
    home = value.graph if isinstance(value.graph, ir.Graph) else graph
    inputs = [
        new_constant(home, part, f"{value.name}.{name}")
        for part, name in zip(parts, names, strict=False)
    ]
    node = ir.node("DequantizeLinear", inputs, attributes, name=f"{value.name}.dequantized")
    result = node.outputs[0]
    result.name, result.type = node.name, ir.TensorType(ir.DataType.FLOAT)
    result.shape = ir.Shape(parts[0].shape)
    insert(home[0], [node])
    return result
