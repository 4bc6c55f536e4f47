"""Static quantization: QuantizeLinear and DequantizeLinear around what computes with integers.

Activations are uint8 with one scale, weights int8 with one for each output channel and no zero
point, biases int32 in units of both scales.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from ..edits import new_constant, set_inputs
from ..values import attribute, constant
from .ranges import Range
from .refinement import Refined
from .regions import Regions
from .weights import by_channel


def write_static(
    graph: ir.Graph,
    regions: Regions,
    ranges: Mapping[ir.Value, Range],
    refined: Mapping[str, Refined] | None = None,
) -> None:
    """Quantize the regions of a graph, in place.

    Parameters
    ----------
    graph : ir.Graph
    regions : Regions
    ranges : mapping of ir.Value to Range
        By the tensor that stands for those of a grid.
    refined : mapping of str to Refined, optional
        By the name of a layer, its weights on the grid of `quantized_weights`.
    """
    writer = Writer(graph, regions, ranges, refined)
    for node in regions.heads:
        if refined and node.name in refined:
            refined[str(node.name)].correct(node)
        set_inputs(node, writer.constants(node))
    for value in regions.values:
        writer.quantize(value)


class Writer:
    """Makes quantized tensors and weights of a graph, by the ranges of its regions."""

    def __init__(
        self,
        graph: ir.Graph,
        regions: Regions,
        ranges: Mapping[ir.Value, Range],
        refined: Mapping[str, Refined] | None = None,
    ) -> None:
        self.graph, self.regions, self.ranges = graph, regions, ranges
        self._refined = refined or {}
        self._grids: dict[ir.Value, list[ir.Value]] = {}
        self._weights: dict[tuple[str, int, bytes], ir.Value] = {}

    def quantize(self, value: ir.Value) -> None:
        """Let what computes with integers read a tensor quantized."""
        readers = list(self.regions.readers(value))
        source = value.producer()
        is_result = value.is_graph_output() and source in self.regions.nodes
        if not readers and not is_result:
            return
        nodes = self.rounding(value, value)
        if source is None:
            self.graph.insert_before(self.graph[0], nodes)
        else:
            self.graph.insert_after(source, nodes)
        result = nodes[-1].outputs[0]
        for node, index in readers:
            set_inputs(node, {index: result})
        if is_result:
            name, value.name = value.name, f"{value.name}.float"
            result.name = name
            outputs = self.graph.outputs
            while value.is_graph_output():
                outputs[outputs.index(value)] = result

    def rounding(self, value: ir.Value, like: ir.Value) -> list[ir.Node]:
        """Return the nodes that quantize a tensor on the grid of another, and dequantize it.

        They are in no graph yet.
        """
        quantizer = self._node("QuantizeLinear", [value, *self._grid(like)], "quantized", value)
        dequantizer = self._node(
            "DequantizeLinear", [quantizer.outputs[0], *self._grid(like)], "dequantized", value
        )
        quantizer.outputs[0].type = ir.TensorType(ir.DataType.UINT8)
        dequantizer.outputs[0].type = value.type
        return [quantizer, dequantizer]

    def _grid(self, value: ir.Value) -> list[ir.Value]:
        """Scale and zero point of a tensor."""
        grid = self.regions.grid_of(value)
        if grid not in self._grids:
            found = self.ranges[grid]
            self._grids[grid] = [
                new_constant(self.graph, np.asarray(found.scale), f"{grid.name}.scale"),
                new_constant(self.graph, np.asarray(found.zero), f"{grid.name}.zero_point"),
            ]
        return self._grids[grid]

    def _node(
        self, op_type: str, inputs: list[ir.Value], what: str, value: ir.Value, **attributes: int
    ) -> ir.Node:
        node = ir.node(op_type, inputs, attributes, name=f"{value.name}.{what}")
        node.outputs[0].name, node.outputs[0].shape = node.name, value.shape
        return node

    def constants(self, node: ir.Node) -> dict[int, ir.Value | None]:
        """Return dequantized weights, and a bias of 32 bits, by index of a head's operands."""
        if constant(node.inputs[1]) is None:
            return {}
        x = node.inputs[0]
        assert x is not None
        scale = float(self.ranges[self.regions.grid_of(x)].scale)
        integers, scales, axis, bias = quantized_weights(node, scale)
        if node.name in self._refined:
            integers = self._refined[str(node.name)].integers.astype(integers.dtype)
        changes: dict[int, ir.Value | None] = {
            1: self._dequantized(node, 1, integers, scales, axis)
        }
        if bias is not None:
            channels = np.tile(scales, bias.size // scales.size)
            units = (channels.astype(np.float64) * scale).astype(np.float32)
            with np.errstate(all="ignore"):
                whole = np.rint(bias.astype(np.float64) / units)
            if (np.abs(whole) < 2**31).all():
                changes[2] = self._dequantized(node, 2, whole.astype(np.int32), units, 0)
        return changes

    def _dequantized(
        self, node: ir.Node, index: int, integers: np.ndarray, scales: np.ndarray, axis: int
    ) -> ir.Value:
        """Return an operand made of integers; once for those that several nodes share."""
        old = node.inputs[index]
        assert old is not None
        key = (str(old.name), axis, scales.tobytes())
        if key not in self._weights:
            zeros = np.zeros(scales.shape, integers.dtype)
            parts = (("quantized", integers), ("scale", scales), ("zero_point", zeros))
            inputs = [new_constant(self.graph, part, f"{old.name}.{what}") for what, part in parts]
            made = self._node("DequantizeLinear", inputs, "dequantized", old, axis=axis)
            made.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
            made.outputs[0].shape = ir.Shape(integers.shape)
            self.graph.insert_before(self.graph[0], [made])
            self._weights[key] = made.outputs[0]
        return self._weights[key]


def quantized_weights(
    node: ir.Node, scale: float
) -> tuple[np.ndarray, np.ndarray, int, np.ndarray | None]:
    """Return integers, scales and axis of the channels of weights, and the bias, if it is constant.

    Parameters
    ----------
    node : ir.Node
        Convolution or product with constant weights.
    scale : float
        Of what they multiply.
    """
    weights = constant(node.inputs[1])
    assert weights is not None
    axis = 0 if node.op_type == "Conv" or attribute(node, "transB", 0) else 1
    groups = attribute(node, "group", 1) if node.op_type == "ConvTranspose" else 1
    bias = _bias(node, weights.shape[axis] * groups)
    largest = None if bias is None else np.abs(bias).reshape(groups, -1).max(0)
    return *by_channel(weights, axis, largest, scale), axis, bias


def _bias(node: ir.Node, channels: int) -> np.ndarray | None:
    """Constant bias of a convolution or plain product, one number a channel."""
    value = node.inputs[2] if len(node.inputs) > 2 else None
    bias = constant(value)
    factors = [
        node.attributes[name].as_float() for name in ("alpha", "beta") if name in node.attributes
    ]
    if bias is None or any(factor != 1.0 for factor in factors) or bias.size != channels:
        return None
    flat = bias.reshape(-1)
    return flat if bias.shape[-1:] == (channels,) and np.isfinite(flat).all() else None
