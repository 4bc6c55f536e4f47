"""Conv, and the fields every use of the convolution driver shares."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...kernels.cpu import packing
from ...kernels.cpu.conv import convolve, workspace_bytes
from ...kernels.cpu.depthwise import depthwise
from ..emission import Emission
from ..graph import Info, Node, OnHost
from ..groups import Gate, Group
from ..symbolic import Dim, product
from ..tensors import Tensor
from . import checks
from . import epilogue as endings
from .forms import choose_form
from .gates import scaled_weights
from .pooled import absorb_pool
from .registry import Operator, register
from .tiles import tiles_for
from .windows import Window, height_width, image_strides, window_form
from .winograd import emit_winograd


def _infer_conv(node: Node) -> list[Info]:
    x, w = node.required(0), node.required(1)
    if x.dtype != "float32":
        raise OnHost(f"Conv of {x.dtype}")
    if not w.is_constant:
        raise OnHost("the weights are not constant")
    window = Window(node, [int(k) for k in w.dims[2:]])  # type: ignore[arg-type]
    height, width = height_width(x.dims)
    spatial = [window.size(0, height), window.size(1, width)][-(x.rank - 2) :]
    return [node.result((x.dims[0], w.dims[0], *spatial))]


def _lower_conv(emit: Emission, node: Node, group: Group) -> None:
    weights = node.required(1).array()
    groups = node.attribute("group", 1)
    window = Window(node, weights.shape[2:])
    if weights.ndim == 3:
        weights = weights[:, :, None, :]
    bias = node.input(2)
    ending = endings.plan(emit, node, group.body, 1)
    if bias is not None and not bias.is_constant and ending.bias is not None:
        ending = endings.Plan(rest=group.body)
    x = emit.channels_last(emit.tensor(group.gate.x if group.gate else node.values[0]))
    message = f"node {node.name!r} (Conv): channels of {x.name!r} and of the weights"
    emit.check(x.shape[1], weights.shape[1] * groups, message)
    residual = None if ending.residual is None else emit.channels_last(emit.tensor(ending.residual))
    order = (0, *range(2, x_rank(x)), 1)
    y = emit.output(group.last, order=order)
    bias_tensor = bias_of(emit, node, 2, ending)
    is_depthwise = groups > 1 and weights.shape[1] == 1 and weights.shape[0] == groups
    if is_depthwise and residual is None:
        _emit_depthwise(emit, group, ending, window, weights, bias_tensor, x, y)
        return
    emit_convolution(emit, group, ending, window, x, y, residual, bias_tensor, groups, weights)


def x_rank(tensor: Tensor) -> int:
    """Rank of a tensor."""
    return len(tensor.shape)


def bias_of(
    emit: Emission, node: Node, index: int, ending: endings.Plan, repeats: int = 1
) -> Tensor | None:
    """The head's bias and the group's, as one; ``repeats`` times over when it is constant."""
    own = node.input(index)
    if own is not None:
        message = f"node {node.name!r} ({node.op_type}): elements of {own.name!r} and channels"
        emit.check(product(own.dims), node.infos[0].dims[1], message)
    if ending.bias is None and (own is None or repeats == 1):
        return None if own is None else emit.ordered(emit.tensor(node.values[index]))
    parts = [] if ending.bias is None else [emit.infos[ending.bias].array()]
    parts += [] if own is None else [own.array()]
    total = sum(part.reshape(-1).astype(np.float32) for part in parts)
    return emit.constant(np.tile(total, repeats), f"{node.name}.bias")


def emit_convolution(
    emit: Emission,
    group: Group,
    ending: endings.Plan,
    window: Window,
    x: Tensor,
    y: Tensor,
    residual: Tensor | None,
    bias: Tensor | None,
    groups: int,
    weights: np.ndarray,
) -> None:
    """Emit a convolution of channels-last tensors with weights (M, C / groups, kh, kw)."""
    target, rank = y, len(y.shape)
    axes = [0, None if rank == 3 else 2, rank - 1, 1]
    if _is_column(window, x):
        # The tile takes pixels of a row: a column is seen as one.
        axes = [0, 3, 2, 1]
        x, y = _turned(x), _turned(y)
        residual = None if residual is None else _turned(residual)
        window, weights = window.turned(), weights.transpose(0, 1, 3, 2)
    height, width = height_width(x.shape)
    out_height, out_width = height_width(y.shape)
    x_image, x_row, x_pixel = image_strides(x)
    y_image, y_row, y_pixel = image_strides(y)
    r_image, r_row, r_pixel = image_strides(residual) if residual is not None else (0, 0, 0)
    value = group.last.outputs[0]
    if ending.rest:
        before = [n for n in group.nodes if n not in ending.rest]
        value = before[-1].outputs[0]
    ends = endings.pointwise_fields(emit, ending.rest, value, target, axes)
    may_flatten = ends.pop("may_flatten")
    out_channels, channels = weights.shape[:2]
    fields = {
        "outputs": [target],
        "flops": 2 * product(y.shape) * channels * window.kernel[0] * window.kernel[1],
        "x": x, "bias": bias, "y": y, "residual": residual,
        "images": x.shape[0], "height": height, "width": width, "channels": channels,
        "out_height": out_height, "out_width": out_width,
        "out_channels": out_channels // groups, "groups": groups,
        "pad_top": window.pads[0], "pad_left": window.pads[1],
        "x_image": x_image, "x_row": x_row, "x_pixel": x_pixel,
        "y_image": y_image, "y_row": y_row, "y_pixel": y_pixel,
        "r_image": r_image, "r_row": r_row, "r_pixel": r_pixel,
        "activation": ending.activation, "low": ending.low, "high": ending.high, **ends,
    }  # fmt: skip
    name = group.nodes[0].name
    flat = may_flatten == 1 and _is_flat(window, fields)
    pixels = out_height * out_width if flat else out_width
    form, sizes = choose_form(emit, name, window, weights, groups, y, pixels)
    if form == "winograd":
        down, across = (
            (s + m - 1) // m for s, m in zip((out_height, out_width), sizes, strict=True)
        )
        tiles = x.shape[0] * down * across
        fields |= {"pool": 1, **absorb_pool(emit, group, ending, sizes)}
        emit_winograd(emit, sizes, window, weights, groups, tiles, name, fields)
    else:
        depth = channels * window.kernel[0] * window.kernel[1]
        table = tiles_for(
            pixels, flat, out_channels // groups, depth, sizes, flat and emit.is_catching
        )
        _emit_direct(emit, window, weights, name, fields, may_flatten, table, group.gate)


def _is_flat(window: Window, f: dict[str, Any]) -> bool:
    """Tell whether all pixels of an image may be taken as one row."""
    simple = window.kernel == [1, 1] and window.strides == [1, 1] and not window.is_padded
    flat = simple and f["x_row"] == f["width"] * f["x_pixel"]
    flat = flat and f["y_row"] == f["out_width"] * f["y_pixel"]
    return flat and (f["residual"] is None or f["r_row"] == f["out_width"] * f["r_pixel"])


def _emit_direct(
    emit: Emission, window: Window, weights: np.ndarray, name: str, fields: dict[str, Any],
    may_flatten: int, tiles: dict[str, Any], gate: Gate | None,
) -> None:  # fmt: skip
    """Emit a step of the direct driver, with the ``fields`` that both forms have."""
    f = fields
    (kernel_h, kernel_w), channels, groups = window.kernel, f["channels"], f["groups"]
    packed = packing.pack_conv(weights, groups, tiles["nv"])
    padded = window.is_padded
    padded_width = (f["out_width"] - 1) * window.strides[1]
    padded_width = padded_width + (kernel_w - 1) * window.dilations[1] + 1
    reach = (kernel_h - 1) * window.dilations[0] + 1
    copied = padded or (groups > 1 and kernel_w > 1)
    space = workspace_bytes(padded_width, channels, reach, copied, packed.nbytes // groups)
    w: Tensor = emit.constant(packed, f"{name}.weights")
    w_image: Dim = 0
    if gate is not None:
        w, w_image = scaled_weights(emit, gate, w, channels, f["out_channels"], tiles["nv"])
    emit.step(
        convolve,
        **f, **tiles,
        w=w, w_image=w_image,
        kernel_h=kernel_h, kernel_w=kernel_w,
        stride_h=window.strides[0], stride_w=window.strides[1],
        dilation_h=window.dilations[0], dilation_w=window.dilations[1],
        padded=int(padded), may_flatten=may_flatten,
        workspace=emit.workspace(space) if copied else None, workspace_bytes=space,
    )  # fmt: skip


def _is_column(window: Window, x: Tensor) -> bool:
    """Tell whether images are one pixel wide and stay so."""
    narrow = len(x.shape) == 4 and x.shape[3] == 1 and x.shape[2] != 1
    return narrow and window.kernel[1] == 1 and window.pads[1] == 0 and window.pads[3] == 0


def _turned(tensor: Tensor) -> Tensor:
    """View with height and width exchanged."""
    (n, c, h, w), s = tensor.shape, tensor.strides
    # The distance of rows in a one-pixel-wide image is that of its pixels.
    return tensor.view((n, c, w, h), (s[0], s[1], s[2] * h, s[2]))


def _emit_depthwise(
    emit: Emission, group: Group, ending: endings.Plan, window: Window, weights: np.ndarray,
    bias: Tensor | None, x: Tensor, y: Tensor,
) -> None:  # fmt: skip
    height, width = height_width(x.shape)
    out_height, out_width = height_width(y.shape)
    rank = len(y.shape)
    axes = [0, None if rank == 3 else 2, rank - 1, 1]
    value = group.last.outputs[0]
    if ending.rest:
        value = [n for n in group.nodes if n not in ending.rest][-1].outputs[0]
    ends = endings.pointwise_fields(emit, ending.rest, value, y, axes)
    del ends["may_flatten"]
    packed = np.ascontiguousarray(weights[:, 0].transpose(1, 2, 0))
    x_image, x_row, x_pixel = image_strides(x)
    y_image, y_row, y_pixel = image_strides(y)
    emit.step(
        depthwise(*window_form(window, out_width)),
        outputs=[y],
        flops=2 * product(y.shape) * window.kernel[0] * window.kernel[1],
        x=x, w=emit.constant(packed, f"{group.nodes[0].name}.weights"), bias=bias, y=y,
        images=x.shape[0], height=height, width=width, channels=x.shape[1],
        out_height=out_height, out_width=out_width,
        kernel_h=window.kernel[0], kernel_w=window.kernel[1],
        stride_h=window.strides[0], stride_w=window.strides[1],
        dilation_h=window.dilations[0], dilation_w=window.dilations[1],
        pad_top=window.pads[0], pad_left=window.pads[1],
        x_image=x_image, x_row=x_row, x_pixel=x_pixel,
        y_image=y_image, y_row=y_row, y_pixel=y_pixel,
        activation=ending.activation, low=ending.low, high=ending.high, **ends,
    )  # fmt: skip


register(
    "Conv",
    Operator(
        rules=(checks.convolution,), infer=_infer_conv, fused=_lower_conv, layout="channels_last"
    ),
)
