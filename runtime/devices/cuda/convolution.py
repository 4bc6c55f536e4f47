"""Conv on a GPU: channels last, the weights tap by tap with the filters side by side."""

from __future__ import annotations

from typing import Any, NamedTuple

from ....kernels.cuda.convolution import convolution
from ....kernels.cuda.depthwise_convolution import depthwise_convolution
from ...emission import Emission
from ...graph import Node
from ...groups import Group
from ...ops.weights import kernel_sizes
from ...ops.windows import (
    Window,
    depth_fields,
    size_fields,
    stride_fields,
    window_fields,
)
from ...strides import channels_last_order
from ...symbolic import Dim, product
from ...tensors import Tensor, short_name
from .tiles import Tiles


def lower_conv(emit: Emission, node: Node, group: Group) -> None:
    """Emit a convolution of any groups over one to three axes."""
    groups = node.attribute("group", 1)
    window = Window.of(node, kernel_sizes(node))
    x, w = emit.channels_last(emit.tensor(node.values[0])), emit.tensor(node.values[1])
    rank = len(w.shape)
    emit.check(x.shape[1], w.shape[1] * groups, f"channels of {x.name!r} and of the weights")
    emit.check(w.shape[0] % groups, 0, f"filters beyond whole groups in {w.name!r}")
    w = emit.ordered(w, (*range(2, rank), 1, 0))
    y = emit.output(node, order=channels_last_order(rank))
    bias = None if node.input(2) is None else emit.ordered(emit.tensor(node.values[2]))
    filters = Filters(w, bias, groups, w.shape[1], w.shape[0] // groups)
    emit_convolution(emit, window, filters, x, y)


class Filters(NamedTuple):
    """Filters of a convolution: ``own`` ones of each group, of so many channels.

    The weights lie tap by tap, channel by channel, the filters of all groups side by side.
    """

    weights: Tensor
    bias: Tensor | None
    groups: int
    channels: Dim
    own: Dim


def emit_convolution(
    emit: Emission, window: Window, filters: Filters, x: Tensor, y: Tensor,
    output: Tensor | None = None,
) -> None:  # fmt: skip
    """Emit a convolution; ``y`` may be some pixels of the ``output``."""
    w, bias, groups, channels, count = filters
    usual, few = Tiles.of(emit)
    tile = few if isinstance(count, int) and count <= few.bn else usual
    kind, fields = short_name(y.dtype), window_over(window, x, y)
    if channels == 1:
        kernel = depthwise_convolution(kind)
    else:
        kernel, fields["channels"] = convolution(kind, *tile), channels
    emit.step(
        kernel,
        outputs=[output or y],
        flops=2 * product(y.shape) * channels * window.taps,
        x=x, w=w, y=y, bias=bias, filters=count, groups=groups, **fields,
    )  # fmt: skip


def window_over(window: Window, x: Tensor, y: Tensor) -> dict[str, Any]:
    """Fields of a window, and of the images or volumes that it moves over."""
    fields = size_fields(x, y) | window_fields(window) | depth_fields(window, x, y)
    fields |= {"dilation_d": window.depth.dilation}
    del fields["r_slice"]
    return fields | stride_fields("x", x) | stride_fields("y", y)
