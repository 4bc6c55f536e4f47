"""Convolutions on a GPU: of channels-last images, the weights tap by tap, filters side by side."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ....kernels.cuda.convolution import convolution
from ....kernels.cuda.depthwise_convolution import depthwise_convolution
from ....kernels.emitter import NONE
from ...emission import Emission
from ...graph import Node
from ...groups import Group
from ...ops.convolution import KINDS, Convolution
from ...ops.weights import conv_weights, kernel_sizes
from ...ops.windows import Window, depth_fields, size_fields, stride_fields, window_fields
from ...strides import channels_last_order
from ...symbolic import product
from ...tensors import Tensor
from .behind import Behind, emit_body
from .product import emit_product
from .tensor_convolution import emit_tensor_convolution
from .tiles import Tiles

_KINDS = ("f32", "f64", "i32")
_ORDER = (3, 4, 5, 2, 0, 1)
"""Axes of weights (groups, filters, channels, kd, kh, kw) as the kernel reads them."""


def lower_conv(emit: Emission, node: Node, group: Group) -> None:
    """Emit a Conv of any groups over one to three axes."""
    groups = node.attribute("group", 1)
    x = emit.channels_last(emit.tensor(node.values[0]))
    message = f"channels of {x.name!r} and of the weights"
    emit.check(x.shape[1], node.required(1).dims[1] * groups, message)
    order = channels_last_order(len(x.shape))
    y = emit.output(group.last, order=order)
    bias = None if node.input(2) is None else emit.ordered(emit.tensor(node.values[2]))
    conv = Convolution(
        group=group,
        kind=KINDS[node.infos[0].dtype],
        x=x,
        y=y,
        output=y,
        weights=conv_weights(emit, node, groups),
        window=Window.of(node, kernel_sizes(node)),
        groups=groups,
        bias=bias,
    )
    if emit_tensor_convolution(emit, conv, Behind.of(emit, group, is_image=True)):
        return
    if group.body:
        own = emit.output(node, order=order)
        conv = dataclasses.replace(conv, y=own, output=own)
    assert emit_convolution(emit, conv)
    emit_body(emit, group, y)


def emit_convolution(emit: Emission, conv: Convolution) -> bool:
    """Emit a convolution or product with nothing but a bias; tells whether there is a kernel."""
    if conv.kind not in _KINDS or conv.has_halves or not _is_alone(conv):
        return False
    if _has_sets(conv):
        return _emit_by_image(emit, conv)
    channels, filters = conv.channels, conv.out_channels
    usual, few = Tiles.of(emit)
    tile = few if isinstance(filters, int) and filters <= few.bn else usual
    fields = window_over(conv.window, conv.x, conv.y)
    if channels == 1:
        kernel = depthwise_convolution(conv.kind)
    else:
        kernel, fields["channels"] = convolution(conv.kind, *tile), channels
    emit.step(
        kernel,
        outputs=[conv.output],
        flops=2 * product(conv.y.shape) * channels * conv.window.taps,
        x=conv.x, w=_weights(emit, conv), y=conv.y, bias=conv.bias,
        filters=filters, groups=conv.groups, **fields,
    )  # fmt: skip
    return True


def _is_alone(conv: Convolution) -> bool:
    """Tell whether a step does nothing but the convolution."""
    after = conv.epilogue
    others = (after.result, after.scales, after.shifts, after.kernel, after.other, conv.residual)
    is_plain = after.activation == NONE and not after.nodes and not after.halves
    return is_plain and conv.pad is None and all(each is None for each in others)


def _has_sets(conv: Convolution) -> bool:
    """Tell whether each image has weights of its own."""
    if isinstance(conv.weights, Tensor):
        return conv.groups == 1 and conv.weights.shape[0] != 1
    return conv.weights.ndim > 5


def _emit_by_image(emit: Emission, conv: Convolution) -> bool:
    """Emit a product of matrices for each image, which is a row of pixels."""
    if not conv.window.is_one_pixel or len(conv.x.shape) != 3 or conv.groups != 1:
        return False
    w = conv.weights
    w = emit.constant(w) if isinstance(w, np.ndarray) else w
    sets, filters, channels = w.shape[:3]
    right = w.view((sets, channels, filters), (w.strides[0], w.strides[2], w.strides[1]))
    left, y = (t.view([t.shape[i] for i in (0, 2, 1)], [t.strides[i] for i in (0, 2, 1)])
               for t in (conv.x, conv.y))  # fmt: skip
    emit_product(emit, left, right, y, conv.bias)
    return True


def _weights(emit: Emission, conv: Convolution) -> Tensor:
    """Weights as the kernel reads them; those that are constant are stored so."""
    w = conv.weights
    if isinstance(w, Tensor):
        return emit.ordered(w, _ORDER)
    per_group = w.reshape(conv.groups, -1, *w.shape[1:])
    return emit.constant(per_group.transpose(_ORDER), f"{conv.name}.weights")


def window_over(window: Window, x: Tensor, y: Tensor) -> dict[str, Any]:
    """Fields of a window, and of the images or volumes that it moves over."""
    fields = size_fields(x, y) | window_fields(window) | depth_fields(window, x, y)
    fields |= {"dilation_d": window.depth.dilation}
    del fields["r_slice"]
    return fields | stride_fields("x", x) | stride_fields("y", y)
