"""Resize: images by one kernel, all else one axis after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...kernels.cpu import resize as images
from ...kernels.cpu.gather import gather
from ...kernels.cpu.resample import (
    axis_weights,
    blend_axis,
    nearest_positions,
    scaled_sizes,
    workspace_bytes,
)
from ...kernels.resampling import COORDINATES, ROUNDINGS
from ..element_types import HALVES
from ..emission import Emission
from ..graph import Info, Node, OnHost, refuse
from ..strides import channels_last_order, same_strides
from ..symbolic import Dim, ceil_divide, maximum, minimum, product
from ..tensors import Tensor, short_name
from . import checks
from .pointwise import emit_expression
from .quantization import quantized
from .registry import Operator, register
from .resize_axes import (
    CROP,
    Axis,
    changed_axes,
    coordinates_of,
    given_input,
    listed_axes,
    mode_of,
    resized_axes,
)
from .terms import Term
from .windows import height_width, image_strides

_MODES = (*COORDINATES, "output_half_pixel")
_POLICIES = ("stretch", "not_larger", "not_smaller")


def _infer_resize(node: Node) -> list[Info]:
    x = node.required(0)
    if node.version < 11:
        raise OnHost("Resize before opset 11")
    if coordinates_of(node) not in COORDINATES:
        raise OnHost(f"coordinate_transformation_mode {coordinates_of(node)}")
    shape = list(x.dims)
    for axis in resized_axes(node):
        shape[axis.number] = axis.n_out
    return [node.result(shape)]


def _lower_resize(emit: Emission, node: Node) -> None:
    x = emit.tensor(node.values[0])
    if node.counted:
        _read_sizes(emit, node)
    emit.check_some(product(x.shape), product(node.infos[0].dims), "pixels")
    axes = changed_axes(node)
    order = channels_last_order(len(x.shape)) if x.is_channels_last else None
    x = _wide(emit, node, x, order)
    resample = _emit_axes
    if _is_of_images(node, x, axes):
        order, resample = channels_last_order(len(x.shape)), _emit_images
    y = emit.output(node, order=order)
    is_narrow = x.dtype != y.dtype or (coordinates_of(node) == CROP and not _blends(node, x))
    result = emit.new(y.shape, x.dtype, order, y.name) if is_narrow else y
    resample(emit, node, axes, x, result, order)
    if is_narrow:
        _emit_narrow(emit, node, axes, result, y, order)


def _blends(node: Node, x: Tensor) -> bool:
    """Tell whether elements are computed by kernels of sums, not copied."""
    return x.dtype == "float32" or mode_of(node) != "nearest"


def _wide(emit: Emission, node: Node, x: Tensor, order: Sequence[int] | None) -> Tensor:
    """Return a tensor as the floats that are summed up: wide enough for all digits of its type."""
    dtype = "float32" if x.itemsize == 1 or x.dtype in HALVES else "float64"
    if mode_of(node) == "nearest" or x.dtype in ("float32", dtype):
        return x
    wide = emit.new(x.shape, dtype, order, x.name)
    emit_expression(emit, f"to_{short_name(dtype)}(x0)", wide, [x], order)
    return wide


def _emit_narrow(
    emit: Emission, node: Node, axes: Sequence[Axis], x: Tensor, y: Tensor,
    order: Sequence[int] | None,
) -> None:  # fmt: skip
    """Emit elements of the result's type: rounded and limited; outside of the region its value."""
    text = "x0"
    if y.dtype in ("int64", "uint64") and x.dtype != y.dtype:
        # Negative numbers would wrap.
        number = "max(round(x0),0)" if y.dtype == "uint64" else "round(x0)"
        text = f"float_to_{short_name(y.dtype)}({number})"
    elif y.dtype in HALVES or y.dtype == "bool":
        text = f"to_{short_name(y.dtype)}(x0)"
    elif x.dtype != y.dtype:
        text = quantized(Term("x0"), None, y.dtype).text
    operands = [x]
    if coordinates_of(node) == CROP:
        inside = "1"
        for axis in axes:
            inside = f"mul({inside},x{len(operands)})"
            operands.append(_inside(emit, node, axis, len(x.shape)))
        text = f"where(equal({inside},0),x{len(operands)},{text})"
        operands.append(emit.constant(_value_outside(node, y.dtype)))
    emit_expression(emit, text, y, operands, order)


def _value_outside(node: Node, dtype: str) -> np.ndarray:
    """The value of what lies outside in a type, rounded and limited as results are."""
    value = np.asarray(node.attribute("extrapolation_value", 0.0))
    if np.dtype(dtype).kind in "iu":
        info = np.iinfo(dtype)
        return np.array(min(max(round(float(value)), info.min), info.max), dtype)
    return value.astype(dtype)


def _inside(emit: Emission, node: Node, axis: Axis, rank: int) -> Tensor:
    """Emit for each position of an axis how many elements there are at it: none outside."""
    index = _emit_weights(emit, node, axis, "float32", 1)[0]
    shape: list[Dim] = [1] * rank
    strides: list[Dim] = [0] * rank
    shape[axis.number], strides[axis.number] = axis.n_out, 2
    return index.view(shape, strides, 1)


def _read_sizes(emit: Emission, node: Node) -> None:
    """Emit the sizes that scales known at run time make, and read them."""
    scales = emit.ordered(emit.tensor(node.values[2]))
    old = [node.required(0).dims[axis] for axis in listed_axes(node)]
    emit.check(scales.size, len(old), f"elements of {scales.name!r}, one for each axis")
    counted = emit.new((len(old),), "int64")
    emit.step(
        scaled_sizes, outputs=[counted], counted=counted,
        sizes=emit.table(old, "an axis"), scales=scales, count=len(old),
    )  # fmt: skip
    emit.read(counted, node.counted, node)


def _growth(axis: Axis) -> float:
    if isinstance(axis.n_in, int) and isinstance(axis.n_out, int):
        return axis.n_out / max(axis.n_in, 1)
    return axis.scale or 1.0


# --- images -----------------------------------------------------------------------------------


def _is_of_images(node: Node, x: Tensor, axes: Sequence[Axis]) -> bool:
    """Tell whether only rows and columns of images change whose channels lie together.

    What has to be copied to lie so takes less time as it is, if it may be added up.
    """
    spatial = not node.counted and len(x.shape) in (3, 4) and all(axis.number >= 2 for axis in axes)
    plain = coordinates_of(node) != CROP and not node.attribute("antialias", 0)
    if _blends(node, x):
        return spatial and plain and x.is_channels_last and x.dtype == "float32"
    return spatial and plain


def _emit_images(
    emit: Emission, node: Node, axes: Sequence[Axis], x: Tensor, y: Tensor,
    order: Sequence[int] | None,
) -> None:  # fmt: skip
    x = emit.channels_last(x)
    scales = {axis.number - len(x.shape): axis.scale or 0.0 for axis in axes}
    (height, width), (out_height, out_width) = height_width(x.shape), height_width(y.shape)
    x_image, x_row, x_pixel = image_strides(x)
    y_image, y_row, y_pixel = image_strides(y)
    mode = mode_of(node)
    space = images.workspace_bytes(out_width, images.TAPS[mode])
    kernel, more = images.resize_nearest(x.itemsize), {}
    if mode != "nearest":
        kernel = images.resize(images.TAPS[mode])
        more = dict(
            cubic=node.attribute("cubic_coeff_a", -0.75),
            exclude_outside=node.attribute("exclude_outside", 0), extrapolate=0,
            extrapolation=0.0, top=0.0, bottom=1.0, left=0.0, right=1.0,
        )  # fmt: skip
    emit.step(
        kernel,
        outputs=[y],
        flops=product(y.shape),
        x=x, y=y, images=x.shape[0], height=height, width=width, channels=x.shape[1],
        out_height=out_height, out_width=out_width, scale_h=scales.get(-2, 0.0),
        scale_w=scales.get(-1, 0.0), x_image=x_image, x_row=x_row, x_pixel=x_pixel,
        y_image=y_image, y_row=y_row, y_pixel=y_pixel,
        coordinates=COORDINATES.index(coordinates_of(node)),
        rounding=_rounding(node), workspace=emit.workspace(space), workspace_bytes=space, **more,
    )  # fmt: skip


def _rounding(node: Node) -> int:
    return ROUNDINGS.index(node.attribute("nearest_mode", "round_prefer_floor"))


# --- single axes ------------------------------------------------------------------------------


def _emit_axes(
    emit: Emission, node: Node, axes: Sequence[Axis], x: Tensor, y: Tensor,
    order: Sequence[int] | None,
) -> None:  # fmt: skip
    """Emit the resampling of one axis after the other."""
    x = emit.ordered(x, order)
    # First what makes the tensor smaller, or the least larger.
    axes = sorted(axes, key=_growth)
    for axis in axes:
        shape = [axis.n_out if i == axis.number else n for i, n in enumerate(x.shape)]
        dense = emit.new(shape, x.dtype, order)
        is_result = axis is axes[-1] and same_strides(shape, y.strides, dense.strides)
        dense = y if is_result else dense
        _emit_axis(emit, node, axis, x, dense, order)
        x = dense
    if x is not y:
        emit.copy(x, y)


def _emit_axis(
    emit: Emission, node: Node, axis: Axis, x: Tensor, y: Tensor, order: Sequence[int] | None
) -> None:
    """Emit the resampling of one axis of dense tensors, whose axes lie in an order."""
    axes = list(order or range(len(x.shape)))
    before, after = axes[: axes.index(axis.number)], axes[axes.index(axis.number) + 1 :]
    outer, inner = product(x.shape[a] for a in before), product(x.shape[a] for a in after)
    if not _blends(node, x):
        index = emit.new((axis.n_out,), "int64")
        fields = _table_fields(emit, node, axis)
        emit.step(nearest_positions, outputs=[index], index=index, **fields)
        emit.step(
            gather(x.itemsize, "i64"),
            outputs=[y],
            x=x, indices=index, y=y, outer=outer, size=axis.n_in, inner=inner, count=axis.n_out,
            x_outer=axis.n_in * inner, x_axis=inner, y_outer=axis.n_out * inner, y_axis=inner,
        )  # fmt: skip
        return
    taps = images.TAPS[mode_of(node)]
    index, weight = _emit_weights(emit, node, axis, x.dtype, taps)
    width = weight.shape[1]
    has_lines = x.dtype == "float32" and not (isinstance(inner, int) and inner > 1)
    space = workspace_bytes(axis.n_in) if has_lines else 0
    emit.step(
        blend_axis(short_name(x.dtype)),
        outputs=[y],
        flops=2 * product(y.shape) * width,
        x=x, y=y, index=index, weight=weight, width=width, outer=outer, n_in=axis.n_in,
        n_out=axis.n_out, inner=inner, extrapolation=node.attribute("extrapolation_value", 0.0),
        workspace=emit.workspace(space) if has_lines else None, workspace_bytes=space,
    )  # fmt: skip


def _emit_weights(
    emit: Emission, node: Node, axis: Axis, dtype: str, taps: int
) -> tuple[Tensor, Tensor]:
    """Emit the tables of an axis: what each position reads, and weights."""
    width = _most_weights(node, axis, taps)
    index, weight = emit.new((axis.n_out, 2), "int64"), emit.new((axis.n_out, width), dtype)
    emit.step(
        axis_weights(short_name(dtype)),
        outputs=[index, weight],
        flops=weight.size * 8,
        index=index, weight=weight, width=width, taps=taps,
        cubic=node.attribute("cubic_coeff_a", -0.75),
        antialias=0 if taps == 1 else node.attribute("antialias", 0),
        exclude_outside=0 if taps == 1 else node.attribute("exclude_outside", 0),
        extrapolate=int(coordinates_of(node) == CROP), **_table_fields(emit, node, axis),
    )  # fmt: skip
    return index, weight


def _table_fields(emit: Emission, node: Node, axis: Axis) -> dict[str, Any]:
    """Fields that the kernels of tables share."""
    scale = None if axis.scale is None else emit.constant(np.array(axis.scale))
    if node.counted:
        scale = _doubles(emit, node, 2).view((1,), (1,), axis.place)
    region, step = None, 0
    info, count = given_input(node, 1), len(listed_axes(node))
    if coordinates_of(node) == CROP and info is not None:
        emit.check(product(info.dims), 2 * count, f"elements of {info.name!r}, two for each axis")
        region, step = _doubles(emit, node, 1).view((2,), (count,), axis.place), count
    return {
        "n_in": axis.n_in, "n_out": axis.n_out, "scale": scale, "region": region,
        "region_step": step, "coordinates": COORDINATES.index(coordinates_of(node)),
        "rounding": _rounding(node), "unrounded": int(bool(node.counted)),
    }  # fmt: skip


def _doubles(emit: Emission, node: Node, index: int) -> Tensor:
    """Return an input of floats as those that tables are computed from."""
    info = node.required(index)
    if info.is_constant:
        return emit.constant(info.array().astype(np.float64))
    x = emit.ordered(emit.tensor(node.values[index]))

    def widen() -> Tensor:
        wide = emit.new(x.shape, "float64", name=x.name)
        emit_expression(emit, "to_f64(x0)", wide, [x])
        return wide

    return emit.once(x, "float64", widen)


def _most_weights(node: Node, axis: Axis, taps: int) -> Dim:
    """Room for the weights of a position."""
    if not node.attribute("antialias", 0) or taps == 1:
        return taps
    if node.counted:
        return axis.n_in
    if axis.scale is not None:
        wide: Dim = int(np.ceil(taps / min(axis.scale, 1.0))) + 1
    else:
        wide = ceil_divide(taps * maximum(axis.n_in, axis.n_out), maximum(axis.n_out, 1)) + 1
    return minimum(wide, axis.n_in)


# --- rules ------------------------------------------------------------------------------------


def _check_counts(node: Node) -> None:
    """Rule of scales, sizes and region: as many as there are axes, scales positive."""
    x, scales, sizes, region = (node.input(i) for i in (0, 2, 3, 1))
    axes = node.attribute("axes")
    count = len(axes) if axes is not None else x.rank if x is not None and x.shape else None
    if scales is not None and scales.is_constant and scales.shape != (0,):
        values = scales.array().reshape(-1).tolist()
        if count is not None and len(values) != count:
            refuse(node, f"size of the scales {scales.name!r}", len(values), f"{count}")
        if not all(0 < value < checks.MOST for value in values):
            refuse(node, f"content of the scales {scales.name!r}", values, "finite positive ones")
    if count is None:
        return
    if sizes is not None and sizes.known is not None and len(sizes.sizes()) != count:
        refuse(node, f"size of the sizes {sizes.name!r}", len(sizes.sizes()), f"{count}")
    if coordinates_of(node) == CROP and region is not None and region.shape not in (None, (0,)):
        elements = product(region.dims)
        if isinstance(elements, int) and elements != 2 * count:
            refuse(node, f"size of the region {region.name!r}", elements, f"{2 * count}")


register(
    "Resize",
    Operator(
        rules=(
            checks.one_of("mode", "nearest", "linear", "cubic"),
            checks.one_of("coordinate_transformation_mode", *_MODES),
            checks.one_of("nearest_mode", *ROUNDINGS),
            checks.one_of("keep_aspect_ratio_policy", *_POLICIES),
            checks.axes(4),  # an attribute only
            _check_counts,
            checks.size_list(3, per_axis=0, least=0),
        ),
        infer=_infer_resize,
        lower=_lower_resize,
        layout="as_input",
    ),
)
register("Upsample", Operator(rules=(checks.one_of("mode", "nearest", "linear", "bilinear"),)))
