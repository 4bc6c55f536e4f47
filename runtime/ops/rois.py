"""RoiAlign and MaxRoiPool: regions of images brought to one size."""

from __future__ import annotations

from typing import Any

from ...kernels.cpu.rois import max_roi_pool, roi_align
from ..emission import Emission
from ..graph import Info, Node, OnHost, refuse
from ..symbolic import product
from ..tensors import Indexed, Tensor, short_name
from . import checks
from .registry import Operator, register
from .windows import image_strides


def _size(node: Node) -> list[int]:
    if node.op_type == "MaxRoiPool":
        return list(node.attribute("pooled_shape"))
    return [node.attribute(f"output_{name}", 1) for name in ("height", "width")]


def _infer(node: Node) -> list[Info]:
    x, rois = node.required(0), node.required(1)
    if x.dtype not in ("float32", "float64") or x.rank != 4:
        raise OnHost("only images of float32 or float64")
    return [node.result([rois.dims[0], x.dims[1], *_size(node)])]


def _fields(emit: Emission, node: Node, x: Tensor, rois: Tensor, columns: int) -> dict[str, Any]:
    """Fields of both kernels; what they read must be there."""
    y = emit.output(node, order=(0, 2, 3, 1))
    emit.check(rois.shape[1], columns, f"size of axis 1 of {rois.name!r}")
    emit.check_some(product(x.shape[2:]), product(y.shape), "pixels")
    strides = dict(zip(("x_image", "x_row", "x_pixel"), image_strides(x), strict=True))
    strides |= zip(("y_image", "y_row", "y_pixel"), image_strides(y), strict=True)
    return {
        "x": x, "rois": rois, "y": y, "regions": y.shape[0], "images": x.shape[0],
        "height": x.shape[2], "width": x.shape[3], "channels": x.shape[1],
        "out_height": y.shape[2], "out_width": y.shape[3],
        "scale": node.attribute("spatial_scale", 1.0), **strides,
    }  # fmt: skip


def _lower_roi_align(emit: Emission, node: Node) -> None:
    x = emit.channels_last(emit.tensor(node.values[0]))
    rois, batches = (emit.ordered(emit.tensor(value)) for value in node.values[1:3])
    emit.check(batches.shape[0], rois.shape[0], f"numbers of regions and of {batches.name!r}")
    fields = _fields(emit, node, x, rois, 4)
    otherwise = "output_half_pixel" if node.version < 16 else "half_pixel"
    is_half = node.attribute("coordinate_transformation_mode", otherwise) == "half_pixel"
    ratio = node.attribute("sampling_ratio", 0)
    emit.step(
        roi_align(short_name(x.dtype), int(node.attribute("mode", "avg") == "max")),
        outputs=[fields["y"]], flops=8 * product(fields["y"].shape) * max(ratio, 2) ** 2,
        **fields, batches=batches, shift=0.5 if is_half else 0.0, may_be_thin=int(is_half),
        ratio=ratio, indexed=Indexed(node.required(2).name, (x.shape[0],)),
    )  # fmt: skip


def _lower_max_roi_pool(emit: Emission, node: Node) -> None:
    x = emit.channels_last(emit.tensor(node.values[0]))
    rois = emit.ordered(emit.tensor(node.values[1]))
    fields = _fields(emit, node, x, rois, 5)
    emit.step(
        max_roi_pool(short_name(x.dtype)), outputs=[fields["y"]],
        flops=16 * product(fields["y"].shape), **fields,
        indexed=Indexed(node.required(1).name, (x.shape[0],)),
    )  # fmt: skip


def _check(node: Node) -> None:
    checks.least_rank(4, exact=True)(node)
    for index, rank in ((1, 2), (2, 1)):
        info = node.input(index)
        if info is not None and info.shape is not None and info.rank != rank:
            refuse(node, f"rank of {info.name!r}", info.rank, str(rank))
    shape = node.attribute("pooled_shape")
    if node.op_type == "MaxRoiPool" and (shape is None or len(shape) != 2 or min(shape) < 1):
        refuse(node, "attribute 'pooled_shape'", shape, "two numbers from 1 on")
    ratio = node.attribute("sampling_ratio", 0)
    if not 0 <= ratio < checks.MOST:
        refuse(node, "attribute 'sampling_ratio'", ratio, "a number from 0 on, below 2**31")


register(
    "RoiAlign",
    Operator(
        rules=(
            _check,
            checks.one_of("mode", "avg", "max"),
            checks.one_of("coordinate_transformation_mode", "half_pixel", "output_half_pixel"),
            checks.at_least_one("output_height"),
            checks.at_least_one("output_width"),
        ),
        infer=_infer,
        lower=_lower_roi_align,
        layout="channels_last",
    ),
)
register(
    "MaxRoiPool",
    Operator(rules=(_check,), infer=_infer, lower=_lower_max_roi_pool, layout="channels_last"),
)
