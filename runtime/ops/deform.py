"""DeformConv: columns of what the windows read, then products with the weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...kernels.cpu.deform import deformed_columns
from ..emission import Emission
from ..graph import Info, Node, OnHost, refuse
from ..symbolic import Dim
from ..tensors import Tensor, short_name
from . import checks
from .matmul import emit_product
from .pointwise import emit_expression
from .registry import Operator, register
from .windows import Window, image_strides, size_fields, window_fields


def _window(node: Node) -> Window:
    return Window.of(node, node.required(1).dims[2:])


def _infer(node: Node) -> list[Info]:
    x, w = node.required(0), node.required(1)
    if x.dtype not in ("float32", "float64") or x.rank != 4:
        raise OnHost("only images of float32 or float64")
    if not all(isinstance(dim, int) and dim for dim in w.dims):
        raise OnHost("weights of unknown sizes, or without elements")
    window = _window(node)
    return [node.result((x.dims[0], w.dims[0], *window.sizes(x.dims[2:])))]


def _columns(emit: Emission, node: Node, shape: tuple[Dim, ...]) -> Tensor:
    """Emit what each output pixel reads: (pixels, groups, taps times channels of a group)."""
    x = emit.channels_last(emit.tensor(node.values[0]))
    window, groups = _window(node), node.attribute("group", 1)
    own, taps = node.attribute("offset_group", 1), window.kernel[0] * window.kernel[1]
    offsets = _beside(emit, node, 2, (shape[0], 2 * own * taps, *shape[2:]))
    mask = None
    if node.input(4) is not None:
        mask = _beside(emit, node, 4, (shape[0], own * taps, *shape[2:]))
    for count, what in ((groups, "group"), (own, "offset_group")):
        emit.check(x.shape[1] // count * count, x.shape[1], f"channels and a multiple of {what!r}")
    message = f"channels of {x.name!r} and of the weights"
    emit.check(x.shape[1], node.required(1).dims[1] * groups, message)
    depth = taps * node.required(1).dims[1]
    pixels = shape[0] * shape[2] * shape[3]
    columns = emit.new((pixels, groups, depth), x.dtype)
    whole = columns.view((shape[0], groups * depth, *shape[2:]), (0,) * 4)
    strides: dict[str, Any] = dict(
        zip(("x_image", "x_row", "x_pixel"), image_strides(x), strict=True)
    )
    emit.step(
        deformed_columns(short_name(x.dtype)), outputs=[columns], flops=columns.size * 8, x=x,
        offsets=offsets, mask=mask, columns=columns, **size_fields(x, whole),
        **window_fields(window), channels=x.shape[1], groups=groups, offset_groups=own, **strides,
    )  # fmt: skip
    return columns


def _beside(emit: Emission, node: Node, index: int, shape: tuple[Dim, ...]) -> Tensor:
    """Return an input that belongs to the output's pixels, dense and of this shape."""
    tensor = emit.ordered(emit.tensor(node.values[index]))
    for axis, size in enumerate(shape):
        emit.check(tensor.shape[axis], size, f"size of axis {axis} of {tensor.name!r}")
    return tensor


def _matrices(emit: Emission, node: Node, groups: int) -> list[np.ndarray | Tensor]:
    """Weights of each group as a matrix (taps times channels, outputs)."""
    info = node.required(1)
    outputs, channels, height, width = (int(dim) for dim in info.dims)  # type: ignore[arg-type]
    each, shape = outputs // groups, (height * width * channels, outputs // groups)
    if info.is_constant:
        matrix = info.array().transpose(2, 3, 1, 0).reshape(shape[0], outputs)
        return [matrix[:, each * g : each * (g + 1)] for g in range(groups)]
    w = emit.tensor(node.values[1])
    order = (2, 3, 1, 0)
    turned = emit.ordered(w.view([w.shape[i] for i in order], [w.strides[i] for i in order]))
    return [turned.view(shape, (outputs, 1), each * g) for g in range(groups)]


def _lower(emit: Emission, node: Node) -> None:
    shape, groups = node.infos[0].dims, node.attribute("group", 1)
    columns = _columns(emit, node, shape)
    pixels, _, depth = columns.shape
    each = shape[1] // groups
    products = emit.new((groups, pixels, each), columns.dtype)
    for g, matrix in enumerate(_matrices(emit, node, groups)):
        rows = columns.view((pixels, depth), (groups * depth, 1), g * depth)
        own = products.view((pixels, each), (each, 1), g * pixels * each)
        emit_product(emit, node, rows, matrix, own)
    batch, _, height, width = shape
    parts = (batch, groups, each, height, width)
    steps = (height * width * each, pixels * each, 1, width * each, each)
    bias = None if node.input(3) is None else emit.ordered(emit.tensor(node.values[3]))
    if bias is None and groups == 1:
        emit.set(node.outputs[0], products.view(shape, (steps[0], *steps[2:])))
        return
    y = emit.output(node, order=(0, 2, 3, 1))
    s = y.strides
    split = y.view(parts, (s[0], each * s[1], *s[1:]))
    if bias is None:
        emit.copy(products.view(parts, steps), split)
        return
    emit.check(bias.shape[0], shape[1], f"size of {bias.name!r}")
    spread = bias.view((1, groups, each, 1, 1), (0, each, 1, 0, 0))
    order = (0, 3, 4, 1, 2)
    emit_expression(emit, "add(x0,x1)", split, [products.view(parts, steps), spread], order)


def _check(node: Node) -> None:
    checks.window(node)
    for name in ("group", "offset_group"):
        checks.at_least_one(name)(node)
    for index, rank in ((1, 4), (2, 4), (3, 1), (4, 4)):
        info, x = node.input(index), node.input(0)
        if x is None or x.shape is None or x.rank != 4:
            return
        if info is not None and info.shape is not None and info.rank != rank:
            refuse(node, f"rank of {info.name!r}", info.rank, str(rank))
    w, groups = node.input(1), node.attribute("group", 1)
    outputs = None if w is None or w.shape is None else w.dims[0]
    if isinstance(outputs, int) and outputs % groups:
        refuse(node, "attribute 'group'", groups, f"a divisor of the {outputs} outputs")


register(
    "DeformConv",
    Operator(rules=(_check,), infer=_infer, lower=_lower, layout="channels_last"),
)
