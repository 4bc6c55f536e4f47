"""Quantized tensors that are moved: as integers, for a runtime only.

What only moves elements, or takes the largest of several, may do so with integers that stand for
them: a DequantizeLinear in front moves behind it, a QuantizeLinear behind moves in front. Where
both meet on one grid, neither is left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from .edits import insert, new_constant, remove, replace, replace_output
from .operators import lookup
from .quantized_values import Grid, dequantized
from .values import constant, graphs, static_shape, used_once

_SINCE = 13  # the opset in which Pad, Max and others take integers of 8 bits


def move_integers(model: ir.Model) -> None:
    """Let what moves elements of quantized tensors move their integers, in place."""
    if (model.graph.opset_imports.get("") or 0) < _SINCE:
        return
    for graph in graphs(model):
        for node in list(graph):
            if not _cancel(node):
                _dequantize_behind(graph, node)
        for node in reversed(list(graph)):
            _quantize_before(graph, node)


def _cancel(node: ir.Node) -> bool:
    """Take away a QuantizeLinear of what a DequantizeLinear of the same grid made."""
    if node.op_type != "QuantizeLinear" or node.domain:
        return False
    maker = dequantized(node.inputs[0])
    grid = Grid.of(node)
    if maker is None or grid is None or not grid.is_regular or not grid.is_same(Grid.of(maker)):
        return False
    x = maker.inputs[0]
    assert x is not None
    if not replace(node, x):
        return False
    _remove_unused(maker)
    return True


def _carried(node: ir.Node) -> list[int]:
    """Inputs of a node whose elements those of its results are; also one that is left out."""
    rule = lookup(node).carried
    indices = [] if rule is None else list(rule(node))
    return indices if all(value.dtype == ir.DataType.FLOAT for value in node.outputs) else []


def _inputs(node: ir.Node, indices: Sequence[int]) -> list[ir.Value | None]:
    return [node.inputs[i] if i < len(node.inputs) else None for i in indices]


def _numbers(value: ir.Value | None) -> np.ndarray | None:
    """Contents of a constant; one that is left out is zero."""
    return np.zeros((), np.float32) if value is None else constant(value)


def _dequantize_behind(graph: ir.Graph, node: ir.Node) -> None:
    """Move the DequantizeLinear nodes in front of a node behind it, if they have one grid."""
    indices = _carried(node)
    values = _inputs(node, indices)
    makers = [None if constant(value) is not None else dequantized(value) for value in values]
    found = [maker for maker in makers if maker is not None]
    grids = [Grid.of(maker) for maker in found]
    if not found or grids[0] is None or not grids[0].is_regular:
        return
    grid = grids[0]
    if not all(grid.is_same(each) for each in grids):
        return
    if all(constant(maker.inputs[0]) is not None for maker in found):
        return
    integers: list[ir.Value | None] = []
    for value, maker in zip(values, makers, strict=True):
        numbers = _numbers(value)
        if maker is not None:
            integers.append(maker.inputs[0])
        elif numbers is not None and grid.holds(numbers):
            integers.append(new_constant(graph, grid.quantized(numbers), f"{node.name}.integers"))
        else:
            return
    moved = _with_inputs(node, indices, integers, grid)
    operands = found[0].inputs[1:]
    for old, new in zip(node.outputs, moved.outputs, strict=True):
        floats = ir.node("DequantizeLinear", [new, *operands], name=f"{old.name}.dequantized")
        floats.outputs[0].name = floats.name
        floats.outputs[0].type, floats.outputs[0].shape = old.type, old.shape
        insert(node, [floats])
        replace_output(old, floats.outputs[0])
    remove(node)
    for maker in set(found):
        _remove_unused(maker)


def _quantize_before(graph: ir.Graph, node: ir.Node) -> None:
    """Move a QuantizeLinear in front of what makes its operand, and further."""
    queue = [node]
    while queue:
        quantizer = queue.pop()
        grid = Grid.of(quantizer) if quantizer.op_type == "QuantizeLinear" else None
        value = quantizer.inputs[0] if quantizer.inputs else None
        mover = None if value is None else value.producer()
        if grid is None or not grid.is_regular or value is None or not used_once(value):
            continue
        if mover is None or mover.graph is not graph or len(mover.outputs) != 1:
            continue
        indices = _carried(mover)
        values = _inputs(mover, indices)
        if not indices or _grows(value, values):
            continue
        integers = [_quantized(mover, source, quantizer, grid) for source in values]
        queue += [maker for maker in (each.producer() for each in integers) if maker is not None]
        moved = _with_inputs(mover, indices, integers, grid)
        replace(quantizer, moved.outputs[0])
        remove(mover)
        for source in values:
            _remove_unused(dequantized(source))


def _quantized(mover: ir.Node, value: ir.Value | None, quantizer: ir.Node, grid: Grid) -> ir.Value:
    """Return the integers of a value in front of a node, as one behind it makes them."""
    numbers, maker = _numbers(value), dequantized(value)
    if numbers is not None:
        assert mover.graph is not None
        return new_constant(mover.graph, grid.quantized(numbers), f"{mover.name}.integers")
    assert value is not None
    if maker is not None and grid.is_same(Grid.of(maker)) and maker.inputs[0] is not None:
        return maker.inputs[0]
    name = f"{value.name}.quantized"
    before = ir.node("QuantizeLinear", [value, *quantizer.inputs[1:]], name=name)
    _describe(before.outputs[0], value, grid)
    insert(mover, [before])
    return before.outputs[0]


def _grows(result: ir.Value, values: Sequence[ir.Value | None]) -> bool:
    """Tell whether there may be more elements in front of a node than behind it."""
    node = result.producer()
    if node is not None and (lookup(node).reshape or node.op_type == "Transpose"):
        return False
    given = [() if value is None else static_shape(value) for value in values]
    after = static_shape(result)
    if after is None or any(shape is None for shape in given):
        return True
    return sum(math.prod(shape) for shape in given if shape is not None) > math.prod(after)


def _with_inputs(
    node: ir.Node, indices: Sequence[int], integers: Sequence[ir.Value | None], grid: Grid
) -> ir.Node:
    """Insert a node that does with integers what another does with numbers."""
    inputs = [*node.inputs, *[None] * (1 + max(indices) - len(node.inputs))]
    for index, value in zip(indices, integers, strict=True):
        inputs[index] = value
    attributes = dict(node.attributes)
    count = len(node.outputs)
    moved = ir.node(node.op_type, inputs, attributes, num_outputs=count, name=node.name)
    for old, new in zip(node.outputs, moved.outputs, strict=True):
        _describe(new, old, grid)
    insert(node, [moved])
    return moved


def _describe(value: ir.Value, floats: ir.Value | None, grid: Grid) -> None:
    """State type, shape and name of the integers of a tensor of floats."""
    assert floats is not None
    value.name = f"{floats.name}.integers"
    value.type = ir.TensorType(ir.DataType.from_numpy(grid.zero.dtype))
    value.shape = floats.shape


def _remove_unused(node: ir.Node | None) -> None:
    if node is not None and node.graph is not None:
        value = node.outputs[0]
        if not value.uses() and not value.is_graph_output():
            remove(node)
