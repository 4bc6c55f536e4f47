"""Regions of integers: which tensors of a graph are quantized, and which share a grid.

Convolutions and products with constant weights begin them: what they read is quantized, and what a
convolution gives. From there, regions grow against the data flow through operators that only move
elements (one grid before and behind), pools and residual additions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from ..operators import lookup
from ..values import attribute, constant, rank, scalar, used_once

_MOVING = {
    "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Slice", "Gather",
    "Split", "MaxPool", "DepthToSpace", "SpaceToDepth", "Expand", "Tile",
}  # fmt: skip
CONVOLUTIONS = ("Conv", "ConvTranspose")
_ADDING = {"Add", "Sum"}
_AVERAGING = {"AveragePool", "GlobalAveragePool", "ReduceMean"}


@dataclass
class Regions:
    """Tensors that are quantized.

    Attributes
    ----------
    heads : dict of ir.Node to tuple of int
        Convolutions and products, with the indices of the operands that are activations.
    values : dict of ir.Value to None
        Quantized tensors, in the order in which they were found.
    nodes : dict of ir.Node to None
        All that give integers: not products, whose sums are floats until something quantizes them.
    """

    heads: dict[ir.Node, tuple[int, ...]] = field(default_factory=dict)
    values: dict[ir.Value, None] = field(default_factory=dict)
    nodes: dict[ir.Node, None] = field(default_factory=dict)
    _parents: dict[ir.Value, ir.Value] = field(default_factory=dict)

    def grid_of(self, value: ir.Value) -> ir.Value:
        """Return the tensor that stands for all that share the grid of one."""
        while (parent := self._parents.get(value, value)) is not value:
            value = parent
        return value

    def share(self, one: ir.Value, other: ir.Value) -> None:
        """Let two tensors have one grid."""
        self._parents[self.grid_of(one)] = self.grid_of(other)

    def grids(self) -> dict[ir.Value, list[ir.Value]]:
        """Return for each grid the tensors whose numbers it must hold.

        What an operator only moves has the numbers of its operand, and is left out.
        """
        found: dict[ir.Value, list[ir.Value]] = {}
        for value in self.values:
            members = found.setdefault(self.grid_of(value), [])
            source = value.producer()
            if source is None or source not in self.nodes or not _shares(source):
                members.append(value)
        return found

    def readers(self, value: ir.Value) -> Iterator[tuple[ir.Node, int]]:
        """Yield the nodes that read a tensor's integers, with the index of the operand.

        Behind an operator of integers, all do; else those that compute with integers, and the
        others keep the floats.
        """
        source = value.producer()
        made_of_integers = source is not None and source in self.nodes
        for node, index in value.uses():
            if node.graph is value.graph and (made_of_integers or self._reads(node, index)):
                yield node, index

    def _reads(self, node: ir.Node, index: int) -> bool:
        return index in self.heads[node] if node in self.heads else node in self.nodes


def find_regions(
    graph: ir.Graph, *, products: bool = False, only: Collection[str] | None = None
) -> Regions:
    """Find the regions of a graph.

    Parameters
    ----------
    graph : ir.Graph
    products : bool
        Whether also products of two activations are quantized, such as those of attention.
    only : collection of str, optional
        Names of the convolutions and products that are quantized; all when not given.
    """
    regions = Regions()
    for node in graph:
        operands = _operands(node, products)
        if operands and (only is None or node.name in only):
            regions.heads[node] = operands
            if node.op_type in CONVOLUTIONS:
                regions.nodes[node] = None
    for node, operands in regions.heads.items():
        for index in operands:
            operand = node.inputs[index]
            assert operand is not None
            _quantize(regions, operand)
        if node.op_type in CONVOLUTIONS:
            _quantize(regions, behind_limits(node.outputs[0]))
    return regions


def _operands(node: ir.Node, products: bool) -> tuple[int, ...]:
    """Indices of the operands of a convolution or product that are activations; none of others."""
    if node.domain or node.op_type not in (*CONVOLUTIONS, "Gemm", "MatMul"):
        return ()
    if not all(is_float(value) for value in node.inputs[:2]) or not is_float(node.outputs[0]):
        return ()
    left, right = (constant(value) for value in node.inputs[:2])
    if left is None and right is not None:
        is_taken = right.ndim == 2 or (node.op_type in CONVOLUTIONS and right.ndim > 2)
        return (0,) if is_taken and right.size and np.isfinite(right).all() else ()
    taken = products and node.op_type == "MatMul" and left is None and right is None
    return (0, 1) if taken and min(rank(v) or 0 for v in node.inputs[:2]) > 1 else ()


def is_float(value: ir.Value | None) -> bool:
    """Tell whether a value is known to be float32."""
    return value is not None and value.dtype == ir.DataType.FLOAT


def behind_limits(value: ir.Value) -> ir.Value:
    """Return the result of the Relu or Clip that alone reads a value, else the value."""
    while used_once(value):
        (reader,) = value.consumers()
        if not _limits(reader) or reader.graph is not value.graph:
            break
        value = reader.outputs[0]
    return value


def _limits(node: ir.Node) -> bool:
    """Tell whether a node is a Relu, or a Clip at constants."""
    if node.domain or node.op_type not in ("Relu", "Clip"):
        return False
    return all(end is None or scalar(end) is not None for end in node.inputs[1:])


def _source(value: ir.Value) -> tuple[ir.Value, list[ir.Node]]:
    """Return the value before Relus and Clips that alone read what they limit, and these."""
    passed: list[ir.Node] = []
    node = value.producer()
    while node is not None and _limits(node):
        x = node.inputs[0]
        if x is None or not used_once(x):
            break
        passed.append(node)
        value, node = x, x.producer()
    return value, passed


def _quantize(regions: Regions, wanted: ir.Value) -> None:
    """Quantize a tensor, and before it what then can be."""
    waiting = [wanted]
    while waiting:
        value = waiting.pop()
        if value in regions.values or not is_float(value) or constant(value) is not None:
            continue
        regions.values[value] = None
        made, passed = _source(value)
        node = made.producer()
        if node is None or node.graph is not value.graph:
            continue
        if node in regions.heads:
            if node.op_type in CONVOLUTIONS:
                regions.nodes.update(dict.fromkeys(passed))
            continue
        operands = _integer_operands(regions, node)
        if operands:
            regions.nodes.update(dict.fromkeys((node, *passed)))
        if operands and _shares(node):
            _share(regions, node, operands, made)
        if passed and operands and _shares(node) and node.op_type != "Concat":
            regions.values[made] = None
        waiting += operands or _behind_elementwise(regions, value)


def _share(regions: Regions, node: ir.Node, operands: list[ir.Value], made: ir.Value) -> None:
    """Let a node that moves elements, or joins tensors, have one grid before and behind."""
    regions.nodes[node] = None
    for operand in operands:
        regions.share(operand, made)


def _integer_operands(regions: Regions, node: ir.Node) -> list[ir.Value]:
    """Operands that have to be quantized for a node to compute with integers; none: it cannot."""
    given = [value for value in node.inputs if value is not None]
    if node.domain or not given or not is_float(given[0]) or constant(given[0]) is not None:
        return []
    if node.op_type == "Concat":
        return given if all(is_float(v) and constant(v) is None for v in given) else []
    if node.op_type in _ADDING:
        return given if all(_can_be_integers(regions, value) for value in given) else []
    return given[:1] if _shares(node) or node.op_type in _AVERAGING else []


def _shares(node: ir.Node) -> bool:
    """Tell whether results have the numbers of the operands, or lie between them."""
    if node.domain:
        return False
    if node.op_type == "Resize":
        mode = node.attributes["mode"].as_string() if "mode" in node.attributes else "nearest"
        return mode in ("nearest", "linear") and not attribute(node, "exclude_outside", 0)
    if node.op_type == "Pad":
        fill = node.inputs[2] if len(node.inputs) > 2 else None
        return fill is None or scalar(fill) == 0.0
    if node.op_type == "MaxPool":
        return len(node.outputs) < 2 or not node.outputs[1].uses()
    return node.op_type in _MOVING or node.op_type == "Concat"


def _behind_elementwise(regions: Regions, value: ir.Value) -> list[ir.Value]:
    """Results of operators of integers that elementwise operators alone make a value of.

    Of a Concat, its operands: they lie on one grid, and so does what nothing quantizes again.
    (OpenVINO 2026.4 crashes on a quantized Concat that one elementwise operator alone reads.)
    """
    found: list[ir.Value] = []

    def is_passed(node: ir.Node) -> bool:
        return lookup(node).elementwise and not _adds_activations(node)

    for each in _behind(value, is_passed):
        node = each.producer()
        if node is None or node.op_type in _AVERAGING:  # perhaps of a normalization
            continue
        operands = _integer_operands(regions, node)
        if not operands or not _can_be_integers(regions, each):
            continue
        if node.op_type == "Concat":
            _share(regions, node, operands, each)
        found += operands if node.op_type == "Concat" else [each]
    return found


def _adds_activations(node: ir.Node) -> bool:
    return node.op_type in _ADDING and all(constant(value) is None for value in node.inputs)


def _can_be_integers(regions: Regions, value: ir.Value) -> bool:
    """Tell whether a tensor comes from convolutions, through what can compute with integers.

    Elementwise operators may lie between: they compute with floats, from integers to integers.
    """
    if constant(value) is not None:
        return False

    def is_passed(node: ir.Node) -> bool:
        taken = lookup(node).elementwise or _shares(node) or node.op_type in _AVERAGING
        return taken and node.outputs[0] not in regions.values

    for each in _behind(value, is_passed):
        node = each.producer()
        if each not in regions.values and (
            node not in regions.heads or node.op_type not in CONVOLUTIONS
        ):
            return False
    return True


def _behind(value: ir.Value, is_passed: Callable[[ir.Node], bool]) -> list[ir.Value]:
    """Float tensors that operators make a value of, as far as they are passed."""
    ends, seen, waiting = [], {value}, [value]
    while waiting:
        each = waiting.pop()
        node = each.producer()
        if node is None or node.graph is not value.graph or not is_passed(node):
            ends.append(each)
            continue
        for operand in node.inputs:
            if operand is not None and is_float(operand) and operand not in seen:
                seen.add(operand)
                if constant(operand) is None:
                    waiting.append(operand)
    return ends
