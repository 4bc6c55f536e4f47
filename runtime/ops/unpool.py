"""MaxUnpool and Col2Im: elements and blocks put back to where they came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...kernels.cpu.unpool import add_blocks, unpool
from ..emission import Emission
from ..graph import Info, Node, OnHost, refuse
from ..strides import contiguous_strides
from ..symbolic import Dim, minimum, product
from ..tensors import Indexed, Tensor, short_name
from . import checks
from .pad import emit_fill, emit_padded
from .registry import Operator, register
from .windows import Along, Window, height_width, slices_of, window_fields


def _implied_shape(node: Node) -> list[Dim]:
    """Shape of what a window of these attributes would have pooled."""
    x, kernel = node.required(0), node.attribute("kernel_shape")
    rank = len(kernel)
    pads = node.attribute("pads", [0] * 2 * rank)
    strides = node.attribute("strides", [1] * rank)
    return [
        *x.dims[:2],
        *(
            (size - 1) * strides[i] - pads[i] - pads[i + rank] + kernel[i]
            for i, size in enumerate(x.dims[2:])
        ),
    ]


def _infer_unpool(node: Node) -> list[Info]:
    if node.required(0).dtype == "object":
        raise OnHost("elements that no kernel moves")
    shape: Sequence[Dim] = _implied_shape(node)
    if node.input(2) is not None:
        shape = node.required(2).sizes()
    return [node.result(shape)]


def _lower_unpool(emit: Emission, node: Node) -> None:
    """Indices count in the implied shape, of which another shape has a part, or more zeros."""
    x, indices = (emit.ordered(emit.tensor(value)) for value in node.values[:2])
    emit.check(x.size, indices.size, f"elements of {x.name!r} and indices")
    implied, y = _implied_shape(node), emit.output(node)
    whole = y if list(y.shape) == implied else emit.new(implied, x.dtype)
    zero = emit.constant(np.zeros(1, x.dtype))
    emit_fill(emit, whole, zero)
    emit.step(
        unpool(x.itemsize),
        outputs=[whole],
        x=x, indices=indices, y=whole, count=x.size, size=whole.size,
        indexed=Indexed(node.required(1).name, (whole.size,)),
    )  # fmt: skip
    if whole is not y:
        more = [new - old for new, old in zip(y.shape, implied, strict=True)]
        emit_padded(emit, whole, y, [0] * len(more), more, zero)


# --- Col2Im -----------------------------------------------------------------------------------


_ADDED = (
    "float32", "float64", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
    "uint64",
)  # fmt: skip


def _block_window(node: Node) -> tuple[Window, list[Dim]]:
    """Window of the blocks, and the sizes of the image."""
    image = node.required(1).sizes()
    taps, rank = node.required(2).sizes(), len(image)
    if not 1 <= rank <= 3:
        raise OnHost(f"{rank} spatial axes")
    if len(taps) != rank:
        refuse(node, "number of sizes of a block", len(taps), f"{rank}, as of the image")
    pads = node.attribute("pads", [0] * 2 * rank)
    strides, dilations = (node.attribute(name, [1] * rank) for name in ("strides", "dilations"))
    # A run may tell the sizes of a block; what is done with windows here takes them, too.
    return Window.over(taps, strides, dilations, pads), image  # type: ignore[arg-type]


def _infer_blocks(node: Node) -> list[Info]:
    x = node.required(0)
    if x.dtype not in _ADDED:
        raise OnHost(f"Col2Im of {x.dtype}")
    window, image = _block_window(node)
    return [node.result((x.dims[0], x.dims[1] // window.taps, *image))]


def _lower_blocks(emit: Emission, node: Node) -> None:
    x, y = emit.ordered(emit.tensor(node.values[0])), emit.output(node)
    window, image = _block_window(node)
    counts = window.sizes(image)
    for own in window:
        emit.check(minimum(own.taps, 1), 1, "the smaller of a size of a block and 1")
    emit.check(x.shape[1], y.shape[1] * window.taps, "rows, and those of whole blocks")
    emit.check(x.shape[2], product(counts), "columns, and places of blocks")
    if _is_tiled(window, image):
        _emit_tiles(emit, window, counts, x, y)
        return
    volume = (*y.shape[:2], *counts)
    (height, width), (out_height, out_width) = height_width(y.shape), height_width(volume)
    fields: dict[str, Any] = window_fields(window)
    emit.step(
        add_blocks(short_name(x.dtype)),
        outputs=[y],
        flops=x.size,
        x=x, y=y, channels=y.shape[1], images=y.shape[0], height=height, width=width,
        out_height=out_height, out_width=out_width, slices=slices_of(y.shape),
        out_slices=slices_of(volume), kernel_d=window.depth.taps, stride_d=window.depth.stride,
        dilation_d=window.depth.dilation, pad_front=window.depth.before, x_slice=0, y_slice=0,
        r_slice=0, **fields,
    )  # fmt: skip


def _is_tiled(window: Window, image: Sequence[Dim]) -> bool:
    """Tell whether blocks lie side by side and fill the image: nothing is added up."""
    return all(
        own == Along(own.taps, own.taps) and isinstance(size, int) and size % own.taps == 0
        for own, size in window.by_axis(image)
    )


def _emit_tiles(
    emit: Emission, window: Window, counts: Sequence[Dim], x: Tensor, y: Tensor
) -> None:
    """Emit the copy of blocks that are tiles of the image."""
    rank = len(counts)
    taps = [own.taps for own in window[-rank:]]
    shape = (*y.shape[:2], *taps, *counts)
    apart = [stride * size for stride, size in zip(y.strides[2:], taps, strict=True)]
    target = y.view(shape, (*y.strides, *apart))
    emit.copy(x.view(shape, contiguous_strides(shape)), target)


def _check_blocks(node: Node) -> None:
    """Rule of Col2Im: as many numbers as the image has axes, sizes of blocks from 1 on."""
    image, block = node.input(1), node.input(2)
    checks.least_rank(3, exact=True)(node)
    if image is None or image.shape is None or not isinstance(image.dims[0], int):
        return
    rank = image.dims[0]
    for name, count, least in (("strides", rank, 1), ("dilations", rank, 1), ("pads", 2 * rank, 0)):
        checks.numbers(node, name, count, least)
    sizes = [] if block is None or block.known is None else block.sizes()
    if any(isinstance(size, int) and not 1 <= size < checks.MOST for size in sizes):
        refuse(node, "sizes of a block", sizes, "numbers from 1 on, below 2**31")


register(
    "MaxUnpool",
    Operator(
        rules=(checks.window, checks.size_list(2, per_axis=1, least=0)),
        infer=_infer_unpool,
        lower=_lower_unpool,
    ),
)
register("Col2Im", Operator(rules=(_check_blocks,), infer=_infer_blocks, lower=_lower_blocks))
