"""Windows of convolutions and poolings, as two spatial axes, and the images they move over."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from ...kernels.cpu.window import MAX_TAPS, columns_for
from ..graph import Node, OnHost
from ..symbolic import Dim, maximum
from ..tensors import Tensor


def auto_pads(
    node: Node, sizes: Sequence[Dim], kernel: Sequence[int], strides: Sequence[int],
    dilations: Sequence[int],
) -> list[Dim]:  # fmt: skip
    """Padding (begins, then ends) of a window operator, ``auto_pad`` resolved."""
    mode = node.attribute("auto_pad", "NOTSET")
    rank = len(sizes)
    if mode in ("NOTSET", ""):
        return list(node.attribute("pads", [0] * 2 * rank))
    begins: list[Dim] = []
    ends: list[Dim] = []
    if mode == "VALID":
        return [*begins, *[0] * 2 * rank]
    for size, k, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        out = (size + stride - 1) // stride
        total = maximum(0, (out - 1) * stride + (k - 1) * dilation + 1 - size)
        small, large = total // 2, total - total // 2
        begins.append(large if mode == "SAME_LOWER" else small)
        ends.append(small if mode == "SAME_LOWER" else large)
    return begins + ends


class Window:
    """Kernel, strides, dilations and padding of a convolution, as two spatial axes."""

    def __init__(self, node: Node, kernel: Sequence[int]) -> None:
        x = node.required(0).dims
        rank = len(x) - 2
        if rank not in (1, 2):
            raise OnHost(f"{rank} spatial axes")
        self.kernel = [int(k) for k in kernel]
        self.strides = [int(s) for s in node.attribute("strides", [1] * rank)]
        self.dilations = [int(d) for d in node.attribute("dilations", [1] * rank)]
        self.pads = auto_pads(node, x[2:], self.kernel, self.strides, self.dilations)
        if rank == 1:
            self.kernel.insert(0, 1)
            self.strides.insert(0, 1)
            self.dilations.insert(0, 1)
            self.pads = [0, self.pads[0], 0, self.pads[1]]

    def size(self, axis: int, size: Dim) -> Dim:
        """Output size along an axis (0: height, 1: width)."""
        reach = (self.kernel[axis] - 1) * self.dilations[axis] + 1
        total = size + self.pads[axis] + self.pads[axis + 2]
        return (total - reach) // self.strides[axis] + 1

    def turned(self) -> Window:
        """The same with height and width exchanged."""
        made = copy.copy(self)
        made.kernel, made.strides, made.dilations = (
            pair[::-1] for pair in (self.kernel, self.strides, self.dilations)
        )
        made.pads = [self.pads[axis] for axis in (1, 0, 3, 2)]
        return made

    @property
    def is_padded(self) -> bool:
        """Tell whether any padding is (or may be) not zero."""
        return any(pad != 0 for pad in self.pads)


def height_width(shape: Sequence[Dim]) -> tuple[Dim, Dim]:
    """Spatial sizes of a (N, C, W) or (N, C, H, W) shape."""
    return (1, shape[2]) if len(shape) == 3 else (shape[2], shape[3])


def image_strides(tensor: Tensor) -> tuple[Dim, Dim, Dim]:
    """Strides (image, row, pixel) of a channels-last tensor of three or four axes."""
    s = tensor.strides
    return (s[0], s[2] * tensor.shape[2], s[2]) if len(s) == 3 else (s[0], s[2], s[3])


def window_form(window: Window, out_width: Dim) -> tuple[int, int, int]:
    """Parameters of a kernel that walks a window (``kernels.cpu.window``)."""
    # Far apart, windows share nothing, and the source would list all pixels between them.
    shared = window.dilations[1] == 1 and max(window.kernel[1], window.strides[1]) <= MAX_TAPS
    return window.kernel[1] if shared else 0, window.strides[1], columns_for(out_width)
