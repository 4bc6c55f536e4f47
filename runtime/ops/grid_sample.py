"""GridSample of images."""

from __future__ import annotations

from ...kernels.cpu import grid_sample as kernel
from ..emission import Emission
from ..graph import Info, Node, OnHost, refuse
from ..symbolic import product
from . import checks
from .registry import Operator, register
from .windows import image_strides

_MODES = {"bilinear": "linear", "bicubic": "cubic"}  # names before opset 20


def _infer_grid_sample(node: Node) -> list[Info]:
    x, grid = node.required(0), node.required(1)
    if x.dtype != "float32" or grid.dtype != "float32" or x.rank != 4:
        raise OnHost("only float32, and images rather than volumes")
    if grid.rank != x.rank:
        refuse(node, f"rank of {grid.name!r}", grid.rank, f"{x.rank}, that of {x.name!r}")
    return [node.result([*x.dims[:2], *grid.dims[1:3]])]


def _lower_grid_sample(emit: Emission, node: Node) -> None:
    x = emit.channels_last(emit.tensor(node.values[0]))
    grid = emit.ordered(emit.tensor(node.values[1]))
    y = emit.output(node, order=(0, 2, 3, 1))
    for axis, expected in ((0, x.shape[0]), (3, 2)):
        message = f"node {node.name!r} (GridSample): size of axis {axis} of the grid {grid.name!r}"
        emit.check(grid.shape[axis], expected, message)
    emit.check_some(product(x.shape), product(y.shape), node, "pixels")
    x_image, x_row, x_pixel = image_strides(x)
    y_image, y_row, y_pixel = image_strides(y)
    mode = node.attribute("mode", "linear")
    padding = node.attribute("padding_mode", "zeros")
    emit.step(
        kernel.grid_sample(_MODES.get(mode, mode)),
        outputs=[y],
        flops=product(y.shape),
        x=x, grid=grid, y=y, images=x.shape[0], height=x.shape[2], width=x.shape[3],
        channels=x.shape[1], out_height=y.shape[2], out_width=y.shape[3],
        x_image=x_image, x_row=x_row, x_pixel=x_pixel,
        y_image=y_image, y_row=y_row, y_pixel=y_pixel,
        padding=kernel.PADDINGS.index(padding),
        align_corners=int(node.attribute("align_corners", 0) != 0),
    )  # fmt: skip


register(
    "GridSample",
    Operator(
        rules=(
            checks.one_of("mode", "linear", "nearest", "cubic", "bilinear", "bicubic"),
            checks.one_of("padding_mode", *kernel.PADDINGS),
        ),
        infer=_infer_grid_sample,
        lower=_lower_grid_sample,
        layout="channels_last",
    ),
)
