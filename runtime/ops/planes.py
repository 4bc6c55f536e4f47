"""Pooling in ONNX's order of axes, plane by plane, where that costs less than channels last."""

from __future__ import annotations

import math
from typing import Any

import onnx_ir as ir

from ...kernels.cpu.plane_columns import NO_WINDOWS, Windows
from ...kernels.cpu.pool_planes import LEFT, pitch_of, pool_planes, workspace_elements
from ...kernels.cpu.window import MAX_TAPS
from ...kernels.machine_costs import machine_costs
from ...kernels.target import LANES
from ..emission import Emission
from ..graph import Node
from ..symbolic import Dim, maximum, product
from ..tensors import short_name
from .registry import OPERATORS
from .windows import Window

_OPEN = 64
"""Stands for sizes that are known only when the model runs."""
MOST_ROWS = 27
"""Rows of a window that a kernel has all in registers."""
_LINE, _COLUMN, _OF_COLUMNS = 8, 60, 0.65
"""Where vectors of results go down the plane: instructions of a row, and of a vector that does;
and the instructions of other kernels that take as long as one of such a vector's, of which more are
under way at a time (fitted to Zen 4: 12 cycles a row with 14 of a vector of one row)."""


def are_planes(emit: Emission, node: Node, window: Window) -> bool:
    """Tell whether a pooling reads and writes planes.

    Maxima of other types than float32 do for channels that fill no vector, where these do not lie
    together, and need not for others.
    """
    x, y = emit.tensor(node.values[0]), node.infos[0].dims
    if not have_elements(node, window) or window.columns.taps > LEFT:
        return False
    if x.dtype == "bfloat16" or (node.op_type != "MaxPool" and x.dtype != "float32"):
        return False
    if x.shape[1] == 1:
        return True
    if node.outputs[0] in emit.places:
        return False
    if x.dtype != "float32":
        is_few = isinstance(x.shape[1], int) and x.shape[1] < LANES
        return is_few and not x.is_channels_last
    result = node.outputs[0]
    copied_in, copied_out = _copy(x.shape), _copy(y)
    planes = _planes(y, x.shape, window)
    pixels = _pixels(y, window)
    if x.is_channels_last:
        planes += copied_in
    elif not _others_take_channels_last(node.values[0], node):  # type: ignore[arg-type]
        pixels += copied_in
    if any(_takes_channels_last(use.node) for use in result.uses()):
        planes += copied_out
    elif result.is_graph_output():
        pixels += copied_out
    return planes < pixels


def _takes_channels_last(node: ir.Node) -> bool:
    operator = OPERATORS.get((node.domain, node.op_type))
    return operator is not None and operator.layout == "channels_last"


def _others_take_channels_last(value: ir.Value, node: Node) -> bool:
    return any(use.node is not node.ir and _takes_channels_last(use.node) for use in value.uses())


def _known(size: Dim) -> int:
    return size if isinstance(size, int) else _OPEN


def _elements(shape: tuple[Dim, ...]) -> int:
    return math.prod(map(_known, shape[1:]))


def _vectors(size: Dim) -> int:
    return -(-_known(size) // LANES)


def _copy(shape: tuple[Dim, ...]) -> float:
    """Cost of a transposition of an image: its vectors, what it reads and writes."""
    elements, costs = _elements(shape), machine_costs()
    moved = 8 * elements * costs.streams.of(8 * elements)
    return elements / LANES * costs.vectors.turned + moved


def _planes(y: tuple[Dim, ...], x: tuple[Dim, ...], window: Window) -> float:
    """Cost of an image of the result ``y`` by planes: of its rows, and of their vectors."""
    small = _small(window)
    if small.are_small:
        lines = _LINE + _OF_COLUMNS * small.instructions() * _vectors(y[-1])
        return _elements(y[:-1]) * (lines + _COLUMN / _known(y[-2]) * _vectors(y[-1]))
    columns, above = window.columns, window.depth.taps * window.rows.taps
    sizes = _known(x[-1]), columns.taps, _known(y[-1])
    each = row_vectors(above, *sizes, is_close=columns.stride <= 2)
    return _elements(y[:-1]) * (machine_costs().vectors.pooled_row + each)


def row_vectors(above: int, width: int, taps: int, out_width: int, is_close: bool = True) -> int:
    """Count the instructions of the vectors of a row of the result.

    Of ``above`` rows under a window, then of as many columns as it has taps: a maximum that keeps
    NaN takes three with the load. Windows that are not close, more than two columns apart, are
    taken one by one.
    """
    many = _vectors(out_width) if is_close else out_width
    return (3 * above + 2) * _vectors(width) + (3 * taps + 2) * many


def _small(window: Window) -> Windows:
    """Return windows of one slice that vectors of results take column by column, or none."""
    if window.depth.taps != 1:
        return NO_WINDOWS
    rows, columns = window.rows, window.columns
    small = Windows(rows.taps, columns.taps, rows.stride, columns.stride)
    return small if small.are_small else NO_WINDOWS


def _pixels(y: tuple[Dim, ...], window: Window) -> float:
    """Cost of an image of the result ``y`` by vectors of channels; small windows share columns."""
    columns, rows = window.columns, window.depth.taps * window.rows.taps
    each = 2 * (rows * min(columns.stride, columns.taps) + columns.taps - 1)
    if not are_small(window):
        each = 3 * rows * columns.taps
    return each * _vectors(y[1]) * _elements((1, *y[2:]))


def are_small(window: Window) -> bool:
    """Tell whether windows are so small that a kernel has their rows and columns in registers."""
    small = window.depth.taps * window.rows.taps <= MOST_ROWS
    return small and max(*window.kernel, window.columns.stride) <= MAX_TAPS


def have_elements(node: Node, window: Window) -> bool:
    """Tell whether windows are dense, and each has an element of the image."""
    if any(own.dilation != 1 for own in window):
        return False
    if node.attribute("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
        return True
    pads = [(pad, own.taps) for own in window for pad in (own.before, own.after)]
    return all(isinstance(pad, int) and pad < taps for pad, taps in pads)


def emit_planes(
    emit: Emission, node: Node, window: Window, kind: str, counted: dict[str, Any]
) -> None:
    """Emit a pooling of planes; ``counted`` are the fields of `pool.sum_fields`."""
    x, y = emit.ordered(emit.tensor(node.values[0])), emit.output(node)
    emit.check_some(product(x.shape[2:]), product(y.shape), "maxima")
    missing: list[Dim] = [1] * (5 - len(x.shape))
    depth, height, width = [*missing, *x.shape[2:]]
    out_depth, out_height, out_width = [*missing, *y.shape[2:]]
    rows, columns = window.rows, window.columns
    pitch = pitch_of(maximum(width, (out_width - 1) * columns.stride + columns.taps))
    space = workspace_elements(pitch) * x.itemsize
    names = ("kernel_d", "kernel_h", "kernel_w", "stride_d", "stride_h", "stride_w")
    numbers: list[Any] = [own.taps for own in window] + [own.stride for own in window]
    small = _small(window) if x.dtype == "float32" else NO_WINDOWS
    emit.step(
        pool_planes(kind, short_name(x.dtype), *small), outputs=[y],
        flops=product(y.shape) * sum(own.taps for own in window), x=x, y=y,
        images=product(x.shape[:2]), height=height, width=width, out_height=out_height,
        out_width=out_width, slices=depth, out_slices=out_depth,
        pad_front=window.depth.before, pad_top=rows.before, pad_left=columns.before, pitch=pitch,
        workspace=emit.workspace(space), workspace_bytes=space, **counted,
        **dict(zip(names, numbers, strict=True)),
    )  # fmt: skip
