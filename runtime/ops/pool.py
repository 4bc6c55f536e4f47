"""Pooling, global pooling and LRN."""

from __future__ import annotations

from ...kernels.cpu.lrn import MARGIN, lrn
from ...kernels.cpu.max_pool import columns_of, max_pool
from ...kernels.cpu.pool import average_pool, max_pool_indices, max_pool_wide
from ...kernels.cpu.pool_numbers import pool_numbers
from ...kernels.cpu.window import MAX_TAPS
from ..emission import Emission
from ..graph import Info, Node, OnHost
from ..symbolic import Dim, minimum, product
from ..tensors import short_name
from . import checks
from .reduce import emit_reduce
from .registry import Operator, register
from .windows import (
    Window,
    height_width,
    image_strides,
    size_fields,
    stride_fields,
    window_fields,
    window_parameters,
)


def _image_of(node: Node, *dtypes: str) -> None:
    if node.required(0).dtype not in dtypes or node.required(0).rank not in (3, 4):
        raise OnHost(f"only {', '.join(dtypes)} with one or two spatial axes")


def _pool_size(node: Node, window: Window, axis: int, size: Dim) -> Dim:
    """Output size; with ceil_mode no window may begin in the padding after the input."""
    if not node.attribute("ceil_mode", 0):
        return window.size(axis, size)
    stride = window.strides[axis]
    padded = size + window.pads[axis] + window.pads[axis + 2]
    up = (padded - window.reach(axis) + stride - 1) // stride + 1
    return minimum(up, (size + window.pads[axis] - 1) // stride + 1)


def _infer_pool(node: Node) -> list[Info]:
    narrow = ("int8", "uint8") if node.op_type == "MaxPool" else ()
    _image_of(node, "float32", "float64", *narrow)
    x = node.required(0)
    window = Window.of(node, node.attribute("kernel_shape"))
    height, width = height_width(x.dims)
    sizes = [_pool_size(node, window, 0, height), _pool_size(node, window, 1, width)]
    shape = (*x.dims[:2], *sizes[-(x.rank - 2) :])
    infos = [node.result(shape)]
    if len(node.outputs) > 1:
        infos.append(node.result(shape, "int64", 1))
    return infos


def _lower_pool(emit: Emission, node: Node) -> None:
    window = Window.of(node, node.attribute("kernel_shape"))
    if len(node.outputs) > 1 and node.outputs[1].name:
        _lower_indices(emit, node, window)
        return
    x = emit.channels_last(emit.tensor(node.values[0]))
    height, width = height_width(x.shape)
    everything = window.kernel == (height, width) and not window.is_padded
    if everything and window.dilations == (1, 1) and node.op_type == "AveragePool":
        emit_reduce(emit, node, "mean", list(range(2, len(x.shape))))
        return
    y = emit.output(node, order=(0, *range(2, len(x.shape)), 1))
    out_width = height_width(y.shape)[1]
    taps, stride, columns = window_parameters(window, out_width)
    fields = window_fields(window)
    is_max, has_vectors = node.op_type == "MaxPool", x.dtype == "float32"
    if is_max and has_vectors and _always_inside(node, window):
        emit.check_some(height * width, product(y.shape), node, "maxima")
        kernel = max_pool(*window.kernel, stride, columns_of(out_width, window.kernel[1]))
        fields = {name: fields[name] for name in ("stride_h", "pad_top", "pad_left")}
    else:
        if not has_vectors:
            kernel = pool_numbers("max" if is_max else "mean", short_name(x.dtype))
        else:
            wide = max_pool_wide(stride, columns)
            kernel = wide if is_max else average_pool(taps, stride, columns)
        fields |= {"pad_bottom": window.pads[2], "pad_right": window.pads[3]}
        fields["include_pad"] = node.attribute("count_include_pad", 0)
    # Of a window, only what lies inside the image is read.
    taps_h, taps_w = minimum(window.kernel[0], height), minimum(window.kernel[1], width)
    emit.step(
        kernel,
        outputs=[y],
        flops=product(y.shape) * taps_h * taps_w,
        x=x, y=y, channels=x.shape[1],
        **size_fields(x, y), **stride_fields("x", x), **stride_fields("y", y), **fields,
    )  # fmt: skip


def _always_inside(node: Node, window: Window) -> bool:
    """Tell whether windows are small and dense, and each has an element of the image."""
    small = window.dilations == (1, 1) and max(*window.kernel, window.strides[1]) <= MAX_TAPS
    if node.attribute("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
        return small
    pads = zip(window.pads, [*window.kernel, *window.kernel], strict=True)
    return small and all(isinstance(pad, int) and pad < taps for pad, taps in pads)


def _lower_indices(emit: Emission, node: Node, window: Window) -> None:
    x = emit.ordered(emit.tensor(node.values[0]))
    y, indices = emit.output(node), emit.output(node, 1)
    height, width = height_width(x.shape)
    taps = minimum(window.kernel[0], height) * minimum(window.kernel[1], width)
    emit.step(
        max_pool_indices(short_name(x.dtype)),
        outputs=[y, indices],
        flops=product(y.shape) * taps,
        x=x, y=y, indices=indices, channels=x.shape[1],
        column_major=node.attribute("storage_order", 0),
        **size_fields(x, y), **window_fields(window),
    )  # fmt: skip


def _infer_global(node: Node) -> list[Info]:
    x = node.required(0)
    if x.dtype not in ("float32", "float64") or x.rank < 3:
        raise OnHost("only images of float32 or float64")
    return [node.result((*x.dims[:2], *[1] * (x.rank - 2)))]


def _lower_global(emit: Emission, node: Node) -> None:
    x = node.required(0)
    kind, what = ("mean", "means") if node.op_type == "GlobalAveragePool" else ("max", "maxima")
    emit.check_some(product(x.dims[2:]), product(x.dims[:2]), node, what)
    emit_reduce(emit, node, kind, list(range(2, x.rank)))


def _infer_lrn(node: Node) -> list[Info]:
    _image_of(node, "float32")
    if node.attribute("size") > MARGIN:
        raise OnHost(f"a window of more than {MARGIN} channels")
    return [node.result(node.required(0).dims)]


def _lower_lrn(emit: Emission, node: Node) -> None:
    x = emit.channels_last(emit.tensor(node.values[0]))
    y = emit.output(node, order=(0, *range(2, len(x.shape)), 1))
    x_image, _, x_pixel = image_strides(x)
    y_image, _, y_pixel = image_strides(y)
    spatial = product(x.shape[2:])
    if x.shape[0] != 1 and (x_image != spatial * x_pixel or y_image != spatial * y_pixel):
        x = emit.ordered(x, (0, *range(2, len(x.shape)), 1))
        x_pixel = x.shape[1]
    emit.step(
        lrn,
        outputs=[y],
        flops=product(y.shape) * (2 * node.attribute("size") + 6),
        x=x, y=y, pixels=x.shape[0] * spatial, channels=x.shape[1], x_pixel=x_pixel,
        y_pixel=y_pixel, size=node.attribute("size"), alpha=node.attribute("alpha", 1e-4),
        beta=node.attribute("beta", 0.75), bias=node.attribute("bias", 1.0),
    )  # fmt: skip


register(
    "MaxPool AveragePool",
    Operator(rules=(checks.window,), infer=_infer_pool, lower=_lower_pool, layout="channels_last"),
)
register("LpPool", Operator(rules=(checks.window,)))
register("GlobalAveragePool GlobalMaxPool", Operator(infer=_infer_global, lower=_lower_global))
register(
    "LRN",
    Operator(
        rules=(checks.at_least_one("size"), checks.least_rank(2)),
        infer=_infer_lrn,
        lower=_lower_lrn,
        layout="channels_last",
    ),
)
