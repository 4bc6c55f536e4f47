"""Resize and Pad."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...kernels.cpu import resize as kernel
from ...kernels.cpu.fill import fill
from ...kernels.cpu.pad import MODES, RANK, pad
from ..emission import Emission
from ..graph import Info, NeedsNumbers, Node, OnHost, refuse
from ..symbolic import Dim, maximum, minimum, product
from . import checks
from .pointwise import preferred_order
from .registry import Operator, register
from .windows import image_strides


def _scales(node: Node) -> list[float] | None:
    info = node.input(2)
    if info is None or info.shape == (0,):
        return None
    return [float(scale) for scale in info.array()]


def _infer_resize(node: Node) -> list[Info]:
    x = node.required(0)
    if x.dtype != "float32" or x.rank != 4 or node.version < 11:
        raise OnHost("only float32 images")
    if node.attribute("axes") or node.attribute("antialias", 0):
        raise OnHost("attribute axes or antialias")
    if node.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise OnHost("attribute keep_aspect_ratio_policy")
    mode = node.attribute("coordinate_transformation_mode", "half_pixel")
    if mode not in kernel.COORDINATES or mode == "tf_crop_and_resize":
        raise OnHost(f"coordinate_transformation_mode {mode}")
    scales = _scales(node)
    if scales is None:
        shape: list[Dim] = node.required(3).sizes()
    else:
        shape = [_scaled(dim, scale) for dim, scale in zip(x.dims, scales, strict=True)]
    if shape[1] != x.dims[1] or (shape[0] != x.dims[0]):
        raise OnHost("the batch or the channels are resized")
    return [node.result(shape)]


def _scaled(dim: Dim, scale: float) -> Dim:
    if isinstance(dim, int):
        return int(np.floor(dim * np.float32(scale)))
    if scale == int(scale):
        return dim * int(scale)
    if scale > 0 and 1 / scale == int(1 / scale):
        return dim // int(1 / scale)
    raise NeedsNumbers(f"scale {scale} of an axis whose size is not known", [dim])


def _lower_resize(emit: Emission, node: Node) -> None:
    x = emit.channels_last(emit.tensor(node.values[0]))
    y = emit.output(node, order=(0, 2, 3, 1))
    emit.check_some(product(x.shape), product(y.shape), node, "pixels")
    scales = _scales(node) or [0.0] * 4
    x_image, x_row, x_pixel = image_strides(x)
    y_image, y_row, y_pixel = image_strides(y)
    coordinates = node.attribute("coordinate_transformation_mode", "half_pixel")
    mode = node.attribute("mode", "nearest")
    space = kernel.workspace_bytes(y.shape[3], kernel.TAPS[mode])
    more = {}
    if mode != "nearest":
        more = dict(
            cubic=node.attribute("cubic_coeff_a", -0.75),
            exclude_outside=node.attribute("exclude_outside", 0), extrapolate=0,
            extrapolation=0.0, top=0.0, bottom=1.0, left=0.0, right=1.0,
        )  # fmt: skip
    emit.step(
        kernel.resize_nearest(4) if mode == "nearest" else kernel.resize(kernel.TAPS[mode]),
        outputs=[y],
        flops=product(y.shape),
        x=x, y=y, images=x.shape[0], height=x.shape[2], width=x.shape[3], channels=x.shape[1],
        out_height=y.shape[2], out_width=y.shape[3], scale_h=scales[2], scale_w=scales[3],
        x_image=x_image, x_row=x_row, x_pixel=x_pixel,
        y_image=y_image, y_row=y_row, y_pixel=y_pixel,
        coordinates=kernel.COORDINATES.index(coordinates),
        rounding=kernel.ROUNDINGS.index(node.attribute("nearest_mode", "round_prefer_floor")),
        workspace=emit.workspace(space), workspace_bytes=space, **more,
    )  # fmt: skip


# --- Pad --------------------------------------------------------------------------------------


def _pads(node: Node) -> tuple[list[Dim], list[Dim]]:
    x = node.required(0)
    pads = node.attribute("pads") or node.required(1).sizes()
    axes = list(range(x.rank))
    if node.input(3) is not None:
        axes = [axis % x.rank for axis in node.required(3).integers()]
    before: list[Dim] = [0] * x.rank
    after: list[Dim] = [0] * x.rank
    for i, axis in enumerate(axes):
        before[axis], after[axis] = pads[i], pads[i + len(axes)]
    return before, after


def _infer_pad(node: Node) -> list[Info]:
    x = node.required(0)
    before, after = _pads(node)
    if node.attribute("mode", "constant") != "constant" and (
        x.rank > RANK or any(not isinstance(pad, int) or pad < 0 for pad in before + after)
    ):
        raise OnHost(
            f"more than {RANK} axes, or negative or computed pads, in a mode other than constant"
        )
    shape = [d + a + b for d, a, b in zip(x.dims, before, after, strict=True)]
    possible = all(not isinstance(dim, int) or dim >= 0 for dim in shape)
    for size, cut in zip(x.dims * 2, before + after, strict=True):
        if possible and isinstance(size, int) and isinstance(cut, int) and -cut > size:
            raise OnHost("negative pads that remove more than an axis has")
    value = node.input(2)
    if value is not None and (not value.is_constant or value.array().size != 1):
        raise OnHost("the value is not constant")
    return [node.result(shape)]


def _lower_pad(emit: Emission, node: Node) -> None:
    x = emit.tensor(node.values[0])
    before, after = _pads(node)
    y = emit.output(node, order=preferred_order(x.shape, [x]) if len(x.shape) == 4 else None)
    dtype = np.dtype(x.dtype)
    fill_value = node.input(2)
    value = np.zeros(1, dtype)
    if fill_value is not None:
        value = fill_value.array().reshape(1).astype(dtype)
    if node.attribute("value") is not None:
        value = np.full(1, node.attribute("value"), dtype)
    mode = node.attribute("mode", "constant")
    if mode != "constant":
        groups = (
            ("n", x.shape, 1), ("m", y.shape, 1), ("p", before, 0), ("x", x.strides, 0),
            ("y", y.strides, 0),
        )  # fmt: skip
        fields: dict[str, Any] = {}
        for name, values, unused in groups:
            filled = [unused] * (RANK - len(values)) + list(values)
            fields |= {f"{name}{i}": v for i, v in enumerate(filled)}
        emit.step(
            pad(dtype.itemsize), outputs=[y], x=x, y=y, value=emit.constant(value),
            mode=MODES.index(mode), **fields,
        )  # fmt: skip
        return
    if y.is_dense:
        emit.step(
            fill(dtype.itemsize), outputs=[y], op_type="Fill", y=y, value=emit.constant(value),
            count=y.size,
        )  # fmt: skip
    else:
        spread = emit.constant(value).view(y.shape, (0,) * len(y.shape))
        emit.copy(spread, y, "Fill")
    shape = list(x.shape)
    source: Dim = 0
    target: Dim = 0
    for axis in range(len(shape)):
        front, back = before[axis], after[axis]
        shape[axis] = shape[axis] + minimum(front, 0) + minimum(back, 0)
        message = f"node {node.name!r} (Pad): size of axis {axis} of {x.name!r} after cropping"
        emit.check(minimum(0, shape[axis]), 0, message)
        source = source + maximum(-1 * front, 0) * x.strides[axis]
        target = target + maximum(front, 0) * y.strides[axis]
    emit.copy(x.view(shape, x.strides, source), y.view(shape, y.strides, target))


def _check_scales(node: Node) -> None:
    x, scales, sizes = node.input(0), node.input(2), node.input(3)
    axes = node.attribute("axes")
    count = len(axes) if axes is not None else x.rank if x is not None and x.shape else None
    if scales is not None and scales.is_constant and scales.shape != (0,):
        values = scales.array().reshape(-1).tolist()
        if count is not None and len(values) != count:
            refuse(node, f"size of the scales {scales.name!r}", len(values), f"{count}")
        if not all(0 < value < checks.MOST for value in values):
            refuse(node, f"content of the scales {scales.name!r}", values, "finite positive ones")
    if sizes is None or sizes.known is None or count is None:
        return
    if len(sizes.sizes()) != count:
        refuse(node, f"size of the sizes {sizes.name!r}", len(sizes.sizes()), f"{count}")


_COORDINATES = (
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
    "tf_half_pixel_for_nn", "tf_crop_and_resize", "output_half_pixel",
)  # fmt: skip
_NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")

register(
    "Resize",
    Operator(
        rules=(
            checks.one_of("mode", "nearest", "linear", "cubic"),
            checks.one_of("coordinate_transformation_mode", *_COORDINATES),
            checks.one_of("nearest_mode", *_NEAREST),
            _check_scales,
            checks.size_list(3, per_axis=0, least=0),
        ),
        infer=_infer_resize,
        lower=_lower_resize,
        layout="as_input",
    ),
)
register("Upsample", Operator(rules=(checks.one_of("mode", "nearest", "linear", "bilinear"),)))
register(
    "Pad",
    Operator(
        rules=(
            checks.one_of("mode", "constant", "reflect", "edge", "wrap"),
            checks.size_list(1, per_axis=2),
            checks.axes(3),
        ),
        infer=_infer_pad,
        lower=_lower_pad,
    ),
)
