"""GridSample of images and volumes."""

from __future__ import annotations

from typing import Any

from ...kernels.cpu import grid_sample as kernel
from ..emission import Emission
from ..graph import Info, Node, OnHost, refuse
from ..strides import channels_last_order
from ..symbolic import product
from ..tensors import Tensor, short_name
from . import checks
from .registry import Operator, register

_MODES = {"bilinear": "linear", "bicubic": "cubic"}  # names before opset 20


def _infer_grid_sample(node: Node) -> list[Info]:
    x, grid = node.required(0), node.required(1)
    if x.dtype not in ("float32", "float64") or grid.dtype != x.dtype or x.rank not in (4, 5):
        raise OnHost("only floats of one type, and two or three spatial axes")
    if grid.rank != x.rank:
        refuse(node, f"rank of {grid.name!r}", grid.rank, f"{x.rank}, that of {x.name!r}")
    return [node.result([*x.dims[:2], *grid.dims[1:-1]])]


def _lower_grid_sample(emit: Emission, node: Node) -> None:
    x = emit.channels_last(emit.tensor(node.values[0]))
    grid = emit.ordered(emit.tensor(node.values[1]))
    rank = len(x.shape)
    y = emit.output(node, order=channels_last_order(rank))
    for axis, expected in ((0, x.shape[0]), (rank - 1, rank - 2)):
        emit.check(grid.shape[axis], expected, f"size of axis {axis} of the grid {grid.name!r}")
    emit.check_some(product(x.shape), product(y.shape), "pixels")
    mode = node.attribute("mode", "linear")
    sample = kernel.grid_sample if rank == 4 else kernel.grid_sample_volume
    emit.step(
        sample(short_name(x.dtype), _MODES.get(mode, mode)),
        outputs=[y],
        flops=product(y.shape),
        x=x, grid=grid, y=y, images=x.shape[0], channels=x.shape[1],
        **_places("", "x_", x), **_places("out_", "y_", y),
        padding=kernel.PADDINGS.index(node.attribute("padding_mode", "zeros")),
        align_corners=int(node.attribute("align_corners", 0) != 0),
    )  # fmt: skip


def _places(sizes: str, strides: str, tensor: Tensor) -> dict[str, Any]:
    """Fields of the spatial sizes and of the strides of a tensor, named with these prefixes."""
    axes = ("depth", "height", "width")[5 - len(tensor.shape) :]
    steps = ("plane", "row", "pixel")[5 - len(tensor.shape) :]
    fields: dict[str, Any] = dict(
        zip([f"{sizes}{name}" for name in axes], tensor.shape[2:], strict=True)
    )
    fields |= zip([f"{strides}{name}" for name in steps], tensor.strides[2:], strict=True)
    return fields | {f"{strides}image": tensor.strides[0]}


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
