"""ConvTranspose of dequantized operands whose windows do not overlap: for a runtime only.

Where a window is as large as its stride, each pixel becomes a block of pixels of its own: a product
with the filters of all places in the block, which `integer_convolutions` makes one of bytes, and a
DepthToSpace of the bytes that follow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from .edits import insert, new_constant, remove, replace
from .integer_convolutions import Pays, bias_of, followers
from .quantized_values import dequantized, scales_along, zero_point
from .values import attribute, constant, dims, graphs, rank


def enlarge_integers(model: ir.Model, pays: Pays) -> None:
    """Replace such nodes between dequantized tensors and a QuantizeLinear, in place.

    ``pays`` is that of `convolve_integers`.
    """
    for graph in graphs(model):
        for node in list(graph):
            if node.op_type != "ConvTranspose" or node.domain:
                continue
            found = _Enlargement.of(node)
            if found is not None and pays(*found.sizes):
                _rewrite(graph, found)


@dataclass(frozen=True)
class _Enlargement:
    """A ConvTranspose, and what follows it.

    Attributes
    ----------
    node : ir.Node
    filters : ir.Node
        What dequantizes them, (C, M, block, block).
    block : int
        Pixels along each side.
    bias : ndarray
        Empty: none.
    passed, quantizer
        Relu or Clip, and the QuantizeLinear behind.
    """

    node: ir.Node
    filters: ir.Node
    block: int
    bias: np.ndarray
    passed: tuple[ir.Node, ...]
    quantizer: ir.Node

    @staticmethod
    def of(node: ir.Node) -> _Enlargement | None:
        """Return what a node is part of; None for other ones."""
        x, filters = node.inputs[:2]
        image, weights = dequantized(x), dequantized(filters)
        if image is None or weights is None or rank(x) != 4 or not scales_along(weights, 1):
            return None
        whole, bias = constant(weights.inputs[0]), bias_of(node)
        passed, _, quantizer = followers(node.outputs[0])
        if whole is None or bias is None or quantizer is None or attribute(node, "group", 1) != 1:
            return None
        block = whole.shape[-1]
        if not _is_enlarging(node, list(whole.shape[2:])):
            return None
        return _Enlargement(node, weights, block, bias, passed, quantizer)

    @property
    def shape(self) -> list[int | ir.SymbolicDim]:
        """Shape of the product."""
        x = self.node.inputs[0]
        assert x is not None and x.shape is not None
        return [x.shape[0], self.count, x.shape[2], x.shape[3]]

    @property
    def count(self) -> int:
        """Filters of the product."""
        return int(self._whole.shape[1]) * self.block**2

    @property
    def sizes(self) -> tuple[list[int], list[object], int, list[int], list[int]]:
        """What `pays` takes."""
        x = self.node.inputs[0]
        assert x is not None
        known = dims(x) or [None] * 4
        filters = [self.count, int(self._whole.shape[0]), 1, 1]
        return filters, [known[0], self.count, *known[2:]], 1, [1, 1], [1, 1]

    @property
    def _whole(self) -> np.ndarray:
        whole = constant(self.filters.inputs[0])
        assert whole is not None
        return whole

    def by_place(self) -> np.ndarray:
        """Return filters (block block M, C, 1, 1), of all places of a block for all of M."""
        return self._whole.transpose(2, 3, 1, 0).reshape(self.count, -1, 1, 1)

    def repeated(self, array: np.ndarray) -> np.ndarray:
        """Return numbers for each of M as those of `by_place`; single ones as they are."""
        return array if array.ndim == 0 else np.tile(array.reshape(-1), self.block**2)


def _is_enlarging(node: ir.Node, kernel: list[int]) -> bool:
    """Tell whether windows, square and as large as their strides, fill the result."""
    zeros = [0] * 4
    wanted = {
        "strides": kernel, "dilations": [1, 1], "pads": zeros, "output_padding": zeros[:2],
        "kernel_shape": kernel,
    }  # fmt: skip
    if kernel[0] != kernel[1] or kernel[0] < 2 or "output_shape" in node.attributes:
        return False
    mode = node.attributes.get("auto_pad")
    if mode is not None and mode.as_string() not in ("NOTSET", "VALID"):
        return False
    if "strides" not in node.attributes:
        return False
    return all(
        name not in node.attributes or list(node.attributes[name].as_ints()) == numbers
        for name, numbers in wanted.items()
    )


def _rewrite(graph: ir.Graph, found: _Enlargement) -> None:
    node, shape = found.node, ir.Shape(found.shape)

    def make(array: np.ndarray, what: str) -> ir.Value:
        return new_constant(graph, array, f"{node.name}.{what}")

    scales, zero = constant(found.filters.inputs[1]), constant(zero_point(found.filters))
    assert scales is not None
    operands = [make(found.by_place(), "filters"), make(found.repeated(scales), "scales")]
    if zero is not None:
        operands.append(make(found.repeated(zero), "zeros"))
    filters = ir.node("DequantizeLinear", operands, {"axis": 0}, name=f"{node.name}.floats")
    floats = filters.outputs[0]
    floats.shape = ir.Shape([found.count, operands[0].shape[1], 1, 1])  # type: ignore[index]
    inputs = [node.inputs[0], floats]
    if found.bias.size:
        inputs.append(make(found.repeated(found.bias.reshape(-1)).astype(np.float32), "bias"))
    made = [filters, ir.node("Conv", inputs, name=f"{node.name}.product")]
    for each in (*found.passed, found.quantizer):
        others = [made[-1].outputs[0], *each.inputs[1:]]
        made.append(ir.node(each.op_type, others, dict(each.attributes), name=f"{each.name}.few"))
    for each in made[1:]:
        each.outputs[0].shape, each.outputs[0].type = shape, node.outputs[0].type
    for each in made:
        each.outputs[0].name = f"{each.name}.result"
    floats.type, made[-1].outputs[0].type = node.outputs[0].type, found.quantizer.outputs[0].type
    space = ir.node(
        "DepthToSpace", made[-1].outputs, {"blocksize": found.block}, name=f"{node.name}.space"
    )
    y, old = space.outputs[0], found.quantizer.outputs[0]
    y.name, y.type, y.shape = f"{space.name}.result", old.type, old.shape
    insert(found.quantizer, [*made, space])
    replace(found.quantizer, y)
    for each in (*reversed(found.passed), node, found.filters):
        if not each.outputs[0].uses() and not each.outputs[0].is_graph_output():
            remove(each)
