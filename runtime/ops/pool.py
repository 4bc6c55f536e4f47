"""Pooling and global pooling."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...kernels.cpu.max_pool import columns_of, max_pool
from ...kernels.cpu.pool import COUNTING, average_pool, max_pool_indices, max_pool_wide
from ...kernels.cpu.pool_numbers import pool_numbers
from ...kernels.registry import Kernel
from ..emission import Emission
from ..graph import Info, Node, OnHost
from ..strides import channels_last_order
from ..symbolic import Dim, minimum, product
from ..tensors import Tensor, short_name
from . import checks
from .planes import are_planes, are_small, emit_planes, have_elements
from .pointwise import emit_expression
from .quads import channel_words
from .reduce import emit_reduce, reduce_to
from .registry import Operator, register
from .windows import (
    Along,
    Window,
    depth_fields,
    height_width,
    size_fields,
    stride_fields,
    window_fields,
    window_forms,
    window_parameters,
)


def pool_size(node: Node, own: Along, size: Dim) -> Dim:
    """Output size; with ceil_mode no window may begin in the padding after the input."""
    if not node.attribute("ceil_mode", 0):
        return own.size(size)
    up = (size + own.before + own.after - own.reach + own.stride - 1) // own.stride + 1
    return minimum(up, (size + own.before - 1) // own.stride + 1)


def _infer_pool(node: Node) -> list[Info]:
    x = node.required(0)
    narrow = ("int8", "uint8") if node.op_type == "MaxPool" else ()
    if x.dtype not in ("float32", "float64", *narrow):
        raise OnHost(f"{node.op_type} of {x.dtype}")
    window = Window.of(node, node.attribute("kernel_shape"))
    sizes = [pool_size(node, own, size) for own, size in window.by_axis(x.dims[2:])]
    shape = (*x.dims[:2], *sizes)
    infos = [node.result(shape)]
    if len(node.outputs) > 1:
        infos.append(node.result(shape, "int64", 1))
    return infos


def _lower_max(emit: Emission, node: Node) -> None:
    window = Window.of(node, node.attribute("kernel_shape"))
    has_places = len(node.outputs) > 1 and bool(node.outputs[1].name)
    if emit.takes_halves and (has_places or not _always_inside(node, window)):
        with emit.taking_halves(False):
            _lower_max(emit, node)
        return
    if has_places:
        _lower_indices(emit, node, window)
        return
    if are_planes(emit, node, window):
        emit_planes(emit, node, window, "max", sum_fields(window, "inside"))
        return
    x, y = images(emit, node)
    width = height_width(y.shape)[1]
    fields = window_fields(window)
    elements = _wide_elements(x, y) if _always_inside(node, window) else None
    if elements is not None:
        emit.check_some(product(x.shape[2:]), product(y.shape), "maxima")
        (taps_d, taps_h, taps_w), stride = (own.taps for own in window), window.columns.stride
        columns = columns_of(width, taps_w)
        kernel = max_pool(taps_d, taps_h, taps_w, stride, columns, short_name(x.dtype))
        fields = {name: fields[name] for name in ("stride_h", "pad_top", "pad_left")}
        emit_pool(emit, kernel, window, *elements, fields, y)
    else:
        kernel = _kernel("max", window, x, y)
        fields |= sum_fields(window, "inside")
        emit_pool(emit, kernel, window, x, y, fields)


def _wide_elements(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return input and output as floats or words of bytes; None where they have no such ones."""
    if x.dtype in ("float32", "bfloat16"):
        return x, y
    if x.itemsize != 1:
        return None
    whole, target = channel_words(x), channel_words(y)
    return None if whole is None or target is None else (whole, target)


def _lower_average(emit: Emission, node: Node) -> None:
    window = Window.of(node, node.attribute("kernel_shape"))
    x = node.required(0)
    sizes = window.by_axis(x.dims[2:])
    if all(own.taps == own.reach == size and not own.is_padded for own, size in sizes):
        with emit.taking_halves(False):
            emit_reduce(emit, node, "mean", list(range(2, x.rank)))
        return
    counting = COUNTING[node.attribute("count_include_pad", 0)]
    if are_planes(emit, node, window):
        emit_planes(emit, node, window, "mean", sum_fields(window, counting))
        return
    emit_average(emit, window, *images(emit, node), counting)


def images(emit: Emission, node: Node) -> tuple[Tensor, Tensor]:
    """Input and output of a node, channels last."""
    x = emit.channels_last(emit.tensor(node.values[0]))
    return x, emit.output(node, order=channels_last_order(len(x.shape)))


def emit_average(emit: Emission, window: Window, x: Tensor, y: Tensor, counting: str) -> None:
    """Emit means over windows; ``counting`` is one of `COUNTING`, what padding counts as."""
    kernel = _kernel("mean", window, x, y)
    fields = window_fields(window) | sum_fields(window, counting)
    emit_pool(emit, kernel, window, x, y, fields)


def _kernel(kind: str, window: Window, x: Tensor, y: Tensor) -> Kernel:
    """Kernel of maxima or means over any windows."""
    if x.dtype not in ("float32", "bfloat16"):
        return pool_numbers(kind, short_name(x.dtype))
    taps, stride, columns = window_parameters(window, height_width(y.shape)[1])
    if kind == "max":
        return max_pool_wide(stride, columns)
    forms = window_forms(window, x, y)
    return average_pool(taps, stride, columns, short_name(x.dtype), forms)


def sum_fields(window: Window, counting: str) -> dict[str, Any]:
    """Fields of a kernel that sums: padding behind, and what counts (`COUNTING`)."""
    names = ("pad_back", "pad_bottom", "pad_right")
    pads = {name: own.after for name, own in zip(names, window, strict=True)}
    return {**pads, "counting": COUNTING.index(counting)}


def emit_pool(
    emit: Emission, kernel: Kernel, window: Window, x: Tensor, y: Tensor, fields: dict[str, Any],
    result: Tensor | None = None,
) -> None:  # fmt: skip
    """Emit a step that writes ``y``, which shows the elements of a ``result`` otherwise."""
    emit.step(
        kernel,
        outputs=[y if result is None else result],
        flops=product(y.shape) * _taps_read(window, x),
        x=x, y=y, channels=x.shape[1],
        **size_fields(x, y), **stride_fields("x", x), **stride_fields("y", y),
        **depth_fields(window, x, y), **fields,
    )  # fmt: skip


def _taps_read(window: Window, x: Tensor) -> Dim:
    """Elements of a window that may lie inside the image: only these are read."""
    return product([minimum(own.taps, size) for own, size in window.by_axis(x.shape[2:])])


def _always_inside(node: Node, window: Window) -> bool:
    """Tell whether windows are small and dense, and each has an element of the image."""
    return are_small(window) and have_elements(node, window)


def _lower_indices(emit: Emission, node: Node, window: Window) -> None:
    x = emit.ordered(emit.tensor(node.values[0]))
    y, indices = emit.output(node), emit.output(node, 1)
    emit.step(
        max_pool_indices(short_name(x.dtype)),
        outputs=[y, indices],
        flops=product(y.shape) * _taps_read(window, x),
        x=x, y=y, indices=indices, channels=x.shape[1],
        column_major=node.attribute("storage_order", 0),
        **size_fields(x, y), **window_fields(window), **depth_fields(window, x, y),
    )  # fmt: skip


# --- norms ------------------------------------------------------------------------------------


def _lower_norm(emit: Emission, node: Node) -> None:
    """Emit the p-th root of windows' sums of p-th powers."""
    window, p = Window.of(node, node.attribute("kernel_shape")), node.attribute("p", 2)
    x, y = images(emit, node)
    powers = _powers(emit, x, p)
    sums = y if p == 1 else emit.new(y.shape, y.dtype, channels_last_order(len(y.shape)))
    emit_average(emit, window, powers, sums, "nothing")
    _emit_root(emit, sums, y, p)


def _lower_global_norm(emit: Emission, node: Node) -> None:
    x, p = emit.tensor(node.values[0]), node.attribute("p", 2)
    axes = list(range(2, len(x.shape)))
    if p in (1, 2):
        emit_reduce(emit, node, f"l{p}", axes)
        return
    y = emit.output(node)
    sums = emit.new(y.shape, y.dtype)
    reduce_to(emit, "sum", _powers(emit, x, p), sums, axes)
    _emit_root(emit, sums, y, p)


def _powers(emit: Emission, x: Tensor, p: float) -> Tensor:
    text = {1.0: "abs(x0)", 2.0: "mul(x0,x0)"}.get(p, "pow(abs(x0),x1)")
    order = channels_last_order(len(x.shape))
    powers = emit.new(x.shape, x.dtype, order)
    emit_expression(emit, text, powers, [x] if p in (1, 2) else [x, float(p)], order)
    return powers


def _emit_root(emit: Emission, sums: Tensor, y: Tensor, p: float) -> None:
    order = channels_last_order(len(y.shape))
    if p == 2:
        emit_expression(emit, "sqrt(x0)", y, [sums], order)
    elif p != 1:
        root = emit.constant(np.array(1.0 / p, y.dtype))
        emit_expression(emit, "pow(x0,x1)", y, [sums, root], order)


# --- over all of an image ---------------------------------------------------------------------


def _infer_global(node: Node) -> list[Info]:
    x = node.required(0)
    if x.dtype not in ("float32", "float64") or x.rank < 3:
        raise OnHost("only images of float32 or float64")
    return [node.result((*x.dims[:2], *[1] * (x.rank - 2)))]


def _lower_global(emit: Emission, node: Node) -> None:
    x = node.required(0)
    kind, what = ("mean", "means") if node.op_type == "GlobalAveragePool" else ("max", "maxima")
    emit.check_some(product(x.dims[2:]), product(x.dims[:2]), what)
    emit_reduce(emit, node, kind, list(range(2, x.rank)))


_power = checks.at_least_one("p")
for _name, _lower, _rules in (
    ("MaxPool", _lower_max, (checks.window,)),
    ("AveragePool", _lower_average, (checks.window,)),
    ("LpPool", _lower_norm, (checks.window, _power)),
):
    register(
        _name,
        Operator(rules=_rules, infer=_infer_pool, lower=_lower, layout="channels_last"),
    )
register("GlobalLpPool", Operator(rules=(_power,), infer=_infer_global, lower=_lower_global_norm))
register("GlobalAveragePool GlobalMaxPool", Operator(infer=_infer_global, lower=_lower_global))
