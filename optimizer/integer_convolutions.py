"""Convolutions of dequantized operands as convolutions of integers: for a runtime only.

A QuantizeLinear that follows, alone or behind a Relu or Clip, makes it a QLinearConv. Quantizing
rounds, which keeps the order of numbers, so that a limit of floats is one of the integers. Others
are a ConvInteger, whose sums become floats in their scale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from .edits import insert, new_constant, remove, replace
from .quantized_values import Grid, dequantized, scales_along, zero_point
from .values import attribute, constant, dims, graphs, scalar, static_shape, used_once

_MOST_BIAS = 2**30 + 2**16
"""Units of a bias beside which sums have room.

Who quantizes may limit it to 2**30, and what it is in units of float32 may be a little more.
"""


Pays = Callable[[Sequence[int], Sequence[Any], int, Sequence[int], Sequence[int]], bool]
"""Whether a convolution of bytes is worth it; see `convolve_integers`."""


def convolve_integers(model: ir.Model, pays: Pays) -> None:
    """Let convolutions of dequantized tensors and constants take the integers, in place.

    ``pays`` tells of the shape of filters, that of the result as far as it is known, the number of
    groups, strides and dilations whether integers are worth it.
    """
    for graph in graphs(model):
        for node in list(graph):
            if node.op_type == "Conv" and not node.domain:
                found = _Convolution.of(node)
                if found is not None and pays(*_sizes(node)):
                    _rewrite(graph, found)


def _sizes(node: ir.Node) -> tuple[Any, ...]:
    """Shapes of filters and result, groups, strides and dilations."""
    filters = static_shape(node.inputs[1]) or ()  # type: ignore[arg-type]
    axes = max(len(filters) - 2, 0)
    steps = [
        list(node.attributes[name].as_ints()) if name in node.attributes else [1] * axes
        for name in ("strides", "dilations")
    ]
    result = dims(node.outputs[0]) or [None] * (axes + 2)
    return filters, result, attribute(node, "group", 1), *steps


@dataclass(frozen=True)
class _Convolution:
    """A convolution of integers, and what follows it.

    Attributes
    ----------
    node : ir.Node
    image, filters : ir.Node
        What dequantizes its operands.
    grid : Grid
        Of the image.
    bias : ndarray, optional
        int32, in units of ``scales``; float32 where no QuantizeLinear follows.
    limits : (float, float)
        Of the Relu or Clip that follows.
    quantizer : ir.Node, optional
        The QuantizeLinear behind all.
    """

    node: ir.Node
    image: ir.Node
    filters: ir.Node
    grid: Grid
    bias: np.ndarray | None
    limits: tuple[float, float]
    passed: tuple[ir.Node, ...]
    quantizer: ir.Node | None

    @staticmethod
    def of(node: ir.Node) -> _Convolution | None:
        """Return what a Conv is part of; None unless all of it can be one of integers."""
        image, filters = dequantized(node.inputs[0]), dequantized(node.inputs[1])
        grid = Grid.of(image)
        if image is None or filters is None or grid is None or not scales_along(filters, 0):
            return None
        passed, limits, quantizer = followers(node.outputs[0])
        scales, bias = constant(filters.inputs[1]), bias_of(node)
        assert scales is not None
        is_depthwise = _shape(filters)[1] == 1  # floats are as fast then
        if bias is None or (quantizer is None and is_depthwise):
            return None
        if quantizer is not None:
            bias = _in_units(bias, grid.scale * scales.reshape(-1).astype(np.float64))
        if bias is None:
            return None
        whole = bias if bias.size else None
        return _Convolution(node, image, filters, grid, whole, limits, passed, quantizer)

    @property
    def scales(self) -> np.ndarray:
        """Scales of the sums, float32: one, or one for each filter."""
        scales = constant(self.filters.inputs[1])
        assert scales is not None
        return (self.grid.scale * scales).astype(np.float32).reshape(-1)


def followers(
    value: ir.Value,
) -> tuple[tuple[ir.Node, ...], tuple[float, float], ir.Node | None]:
    """Return a Relu or Clip if one follows, its limits, and the QuantizeLinear behind."""
    passed: list[ir.Node] = []
    limits = (-np.inf, np.inf)
    while used_once(value):
        (user,) = value.consumers()
        if user.op_type == "QuantizeLinear" and value is user.inputs[0]:
            return tuple(passed), limits, user if Grid.of(user) is not None else None
        own = _limits(user)
        if own is None or passed:
            break
        passed, limits, value = [user], own, user.outputs[0]
    return tuple(passed), limits, None


def _limits(node: ir.Node) -> tuple[float, float] | None:
    """Limits of the results of a Relu or Clip that are constants; None of others."""
    if node.domain or node.op_type not in ("Relu", "Clip"):
        return None
    if node.op_type == "Relu":
        return 0.0, np.inf
    ends = []
    for index, default in ((1, -np.inf), (2, np.inf)):
        end = node.inputs[index] if len(node.inputs) > index else None
        number = default if end is None else scalar(end)
        if number is None:
            return None
        ends.append(number)
    return (ends[0], ends[1]) if ends[0] <= ends[1] else None


def _shape(filters: ir.Node) -> tuple[int, ...]:
    """Shape of constant filters, by what dequantizes them."""
    weights = constant(filters.inputs[0])
    assert weights is not None
    return weights.shape


def bias_of(node: ir.Node) -> np.ndarray | None:
    """Bias, float64 (empty: none); None if it is not known."""
    value = node.inputs[2] if len(node.inputs) > 2 else None
    if value is None:
        return np.zeros(0)
    floats, maker = constant(value), value.producer()
    if floats is None and maker is not None and maker.op_type == "DequantizeLinear":
        whole, scale = constant(maker.inputs[0]), constant(maker.inputs[1])
        zero = constant(zero_point(maker))
        if whole is not None and scale is not None and (zero is None or not zero.any()):
            floats = whole.astype(np.float64) * scale
    return None if floats is None else floats.astype(np.float64)


def _in_units(bias: np.ndarray, units: np.ndarray) -> np.ndarray | None:
    """Bias in units of the sums, int32; None if it is too large."""
    if not bias.size:
        return bias
    with np.errstate(all="ignore"):
        numbers = np.rint(bias / units)
    return numbers.astype(np.int32) if (np.abs(numbers) < _MOST_BIAS).all() else None


def _rewrite(graph: ir.Graph, found: _Convolution) -> None:
    (_make_floats if found.quantizer is None else _make_bytes)(graph, found)
    for each in (*reversed(found.passed), found.node, found.image, found.filters):
        y = each.outputs[0]
        if each.graph is not None and not y.uses() and not y.is_graph_output():
            remove(each)


def _make_floats(graph: ir.Graph, found: _Convolution) -> None:
    """Replace a convolution by one of integers, whose sums are multiplied by their scales."""
    node, old = found.node, found.node.outputs[0]
    axes = (1, -1, *[1] * (len(_shape(found.filters)) - 2))

    def by_filter(array: np.ndarray, what: str) -> ir.Value:
        return new_constant(graph, array.astype(np.float32).reshape(axes), f"{node.name}.{what}")

    inputs = [
        found.image.inputs[0], found.filters.inputs[0], zero_point(found.image),
        zero_point(found.filters),
    ]  # fmt: skip
    while inputs[-1] is None:
        inputs.pop()
    sums = ir.node("ConvInteger", inputs, dict(node.attributes), name=f"{node.name}.sums")
    floats = ir.node("Cast", sums.outputs, {"to": int(ir.DataType.FLOAT)}, name=f"{node.name}.cast")
    factor = by_filter(found.scales, "scale")
    made = [sums, floats, ir.node("Mul", [floats.outputs[0], factor], name=f"{node.name}.scaled")]
    if found.bias is not None:
        operands = [made[-1].outputs[0], by_filter(found.bias, "bias")]
        made.append(ir.node("Add", operands, name=f"{node.name}.added"))
    for each in made:
        kind = ir.DataType.INT32 if each is sums else ir.DataType.FLOAT
        each.outputs[0].name, each.outputs[0].shape = f"{each.name}.result", old.shape
        each.outputs[0].type = ir.TensorType(kind)
    insert(node, made)
    replace(node, made[-1].outputs[0])


def _make_bytes(graph: ir.Graph, found: _Convolution) -> None:
    """Replace a convolution, and what follows up to a QuantizeLinear, by one of bytes."""
    assert found.quantizer is not None
    node, result = found.node, Grid.of(found.quantizer)
    assert result is not None

    def make(array: np.ndarray, what: str) -> ir.Value:
        return new_constant(graph, array, f"{node.name}.{what}")

    def zero(maker: ir.Node, grid: Grid) -> ir.Value:
        return zero_point(maker) or make(grid.zero, "zero")

    x, weights = found.image.inputs[0], found.filters.inputs[0]
    assert weights is not None and weights.dtype is not None
    w_zero = zero_point(found.filters)
    if w_zero is None:
        w_zero = make(np.zeros((), weights.dtype.numpy()), "filters.zero")
    inputs = [
        x, make(found.grid.scale, "image.scale"), zero(found.image, found.grid),
        weights, found.filters.inputs[1], w_zero,
        make(result.scale, "scale"), zero(found.quantizer, result),
    ]  # fmt: skip
    if found.bias is not None:
        inputs.append(make(found.bias, "bias"))
    integers = ir.node("QLinearConv", inputs, dict(node.attributes), name=node.name)
    y, old = integers.outputs[0], found.quantizer.outputs[0]
    insert(found.quantizer, [integers])
    made, limits = integers, np.iinfo(result.zero.dtype)
    low, high = (result.quantize(limit) for limit in found.limits)
    if low > limits.min or high < limits.max:
        ends = [make(np.array(end, result.zero.dtype), "limit") for end in (low, high)]
        made = ir.node("Clip", [y, *ends], name=f"{node.name}.clip")
        insert(found.quantizer, [made])
    for each in {integers, made}:
        each.outputs[0].type, each.outputs[0].shape = old.type, old.shape
        each.outputs[0].name = f"{each.name}.integers"
    replace(found.quantizer, made.outputs[0])
