"""Functions of bytes times factors of channels, quantized again, by tables of float32.

A gate multiplies what an activation makes of an image. Where images are bytes, the activation is a
table of 256 numbers, which a step makes of constants alone, and so only once.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import onnx_ir as ir

from ...kernels.cpu.scaled_bytes import BLOCK, HAS_SCALED_BYTES, STORED, scaled_bytes
from ..emission import Emission
from ..graph import Info, Node
from ..groups import Group
from ..strides import channels_last_order, contiguous_strides, same_strides
from ..symbolic import Dim, product
from ..tensors import Tensor
from .pointwise import emit_expression, write_expression
from .residuals import ByteGrid, grid_of

_BYTES = ("int8", "uint8")
_FEW = 4096
"""Bytes for which steps of their own for factors cost more than is gained."""
_SMALLEST = 8
"""Factor of the numbers of channels whose factors fill whole blocks a few times over."""


@dataclasses.dataclass(frozen=True)
class _Scaled:
    """What a group of elementwise nodes is.

    Attributes
    ----------
    x : onnx_ir.Value
        The bytes.
    function : list of Node
        What is looked up.
    factor : onnx_ir.Value
        Of the channels.
    grid : (scale, zero)
        Of the result.
    """

    x: ir.Value
    function: list[Node]
    factor: ir.Value
    grid: ByteGrid

    @classmethod
    def of(cls, emit: Emission, group: Group) -> _Scaled | None:
        """Return what a group is; None for others."""
        quantizer, makers = group.last, {node.outputs[0]: node for node in group.nodes}
        floats = (info.dtype for node in group.nodes[:-1] for info in node.infos)
        if quantizer.key != ("", "QuantizeLinear") or set(floats) != {"float32"}:
            return None
        grid, last = grid_of(quantizer), makers.get(quantizer.values[0])  # type: ignore[arg-type]
        if grid is None or last is None or quantizer.attribute("precision", 0) not in (0, 1):
            return None
        maker, factor = _split(emit, last, makers)
        found = None if maker is None else _function(emit, maker, makers)
        if found is None or factor is None:
            return None
        x, function = found
        is_all = len(function) + 2 == len(group.nodes)
        return cls(x, function, factor, grid) if is_all and len(function) > 1 else None


def emit_scaled_bytes(emit: Emission, group: Group) -> bool:
    """Emit a group so; False, and nothing emitted, for others."""
    info = group.last.infos[0]
    if not HAS_SCALED_BYTES or info.rank < 3 or len(group.nodes) < 4:
        return False
    channels, order = info.dims[1], channels_last_order(info.rank)
    if not isinstance(channels, int) or channels == 0 or channels % _SMALLEST:
        return False
    found = _Scaled.of(emit, group)
    if found is None or emit.infos[found.x].dims != info.dims:
        return False
    x, size = emit.tensor(found.x), product(info.dims)
    dense = contiguous_strides(info.dims, order)
    if not same_strides(x.shape, x.strides, dense) or (isinstance(size, int) and size < _FEW):
        return False
    y = emit.output(group.last, order=order)
    target = y if same_strides(y.shape, y.strides, dense) else emit.new(y.shape, y.dtype, order)
    factors, f_image = _stored(emit, found.factor, info)
    scale, zero = found.grid
    emit.step(
        scaled_bytes, outputs=[target], flops=size * len(group.nodes), x=x, y=target,
        table=_table(emit, found), factors=factors, images=x.shape[0], count=product(x.shape[1:]),
        period=math.lcm(channels, BLOCK) // BLOCK, f_image=f_image, scale=float(scale),
        zero=emit.constant(zero), is_signed=int(y.dtype == "int8"),
    )  # fmt: skip
    if target is not y:
        emit.copy(target, y, "Reorder")
    return True


def _split(
    emit: Emission, node: Node, makers: dict[ir.Value, Node]
) -> tuple[Node | None, ir.Value | None]:
    """Return what makes one factor within the group, and the other, which is by channel."""
    if node.key != ("", "Mul"):
        return None, None
    for own, other in (node.values, node.values[::-1]):
        maker = makers.get(own)  # type: ignore[arg-type]
        if maker is None or other is None or other in makers:
            continue
        if len(own.uses()) == 1 and _is_by_channel(emit.infos[other], node.infos[0]):  # type: ignore[union-attr]
            return maker, other
    return None, None


def _is_by_channel(info: Info, result: Info) -> bool:
    """Tell whether an operand has a number for each channel, perhaps of each image."""
    missing = result.rank - info.rank
    if missing not in (0, 1) or info.dtype != "float32" or info.dims[1 - missing] != result.dims[1]:
        return False
    images = info.dims[0] if missing == 0 else 1
    return images in (1, result.dims[0]) and all(size == 1 for size in info.dims[2 - missing :])


def _function(
    emit: Emission, last: Node, makers: dict[ir.Value, Node]
) -> tuple[ir.Value, list[Node]] | None:
    """Return the bytes that a node is a function of, and the nodes from there; None for others."""
    nodes: dict[int, Node] = {}
    sources: set[ir.Value] = set()
    waiting = [last]
    while waiting:
        node = waiting.pop()
        nodes[node.index] = node
        for value in node.values:
            if value is None:
                continue
            maker = makers.get(value)
            if maker is not None:
                waiting.append(maker)
            elif emit.infos[value].dims == last.infos[0].dims:
                sources.add(value)
            elif not emit.infos[value].is_constant or product(emit.infos[value].dims) != 1:
                return None
    if len(sources) != 1:
        return None
    (x,) = sources
    readers = [node for node in nodes.values() if x in node.values]
    is_grid = all(node.key == ("", "DequantizeLinear") for node in readers)
    if emit.infos[x].dtype not in _BYTES or not is_grid:
        return None
    return x, [nodes[index] for index in sorted(nodes)]


def _table(emit: Emission, found: _Scaled) -> Tensor:
    """Emit the numbers that a function gives for each byte, in four planes of bytes."""
    expression = write_expression(found.function, found.x)
    numbers = np.arange(256, dtype=np.uint8).view(emit.infos[found.x].dtype)
    table = emit.new((256,), "float32", name=f"{found.function[-1].name}.table")
    operands = [emit.constant(numbers), *expression.tensors(emit, 1)]
    emit_expression(emit, expression.text, table, operands)
    return emit.ordered(Tensor(table.buffer, table.offset, "uint8", (4, 256), (1, 4), table.name))


def _stored(emit: Emission, value: ir.Value, result: Info) -> tuple[Tensor, Dim]:
    """Emit the factors of whole blocks in their order, and the elements from image to image."""
    tensor, channels = emit.tensor(value), result.dims[1]
    assert isinstance(channels, int)
    steps, sizes = tensor.strides, tensor.shape
    has_images = len(sizes) == result.rank and sizes[0] != 1
    images = sizes[0] if has_images else 1
    channel = steps[len(sizes) - result.rank + 1]
    times = math.lcm(channels, BLOCK) // channels
    own = tensor.view((images, times, channels), (steps[0] if has_images else 0, 0, channel))

    def make() -> Tensor:
        rows = emit.new(own.shape, "float32", name=tensor.name)
        emit.copy(own, rows, "Repeat")
        shape = (images * (times * channels // BLOCK), *[4] * 3)
        apart = (BLOCK, *((16, 4, 1)[axis] for axis in STORED))
        stored = emit.new(shape, "float32", name=tensor.name)
        emit.copy(rows.view(shape, apart), stored, "Reorder")
        return stored

    return emit.once(own, "stored", make), times * channels if has_images else 0
