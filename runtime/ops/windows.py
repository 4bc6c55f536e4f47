"""Windows of convolutions and poolings, as two spatial axes, and the images they move over."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...kernels.cpu.window import MAX_TAPS, columns_for
from ..graph import Node, OnHost
from ..symbolic import Dim, maximum
from ..tensors import Tensor


def auto_pads(
    node: Node, sizes: Sequence[Dim], kernel: Sequence[int], strides: Sequence[int],
    dilations: Sequence[int],
) -> list[Dim]:  # fmt: skip
    """Padding (before the axes, then after them) of a window operator, ``auto_pad`` resolved."""
    mode = node.attribute("auto_pad", "NOTSET")
    rank = len(sizes)
    if mode in ("NOTSET", ""):
        return list(node.attribute("pads", [0] * 2 * rank))
    before: list[Dim] = []
    after: list[Dim] = []
    if mode == "VALID":
        return [*before, *[0] * 2 * rank]
    for size, k, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        out = (size + stride - 1) // stride
        total = maximum(0, (out - 1) * stride + (k - 1) * dilation + 1 - size)
        small, large = total // 2, total - total // 2
        before.append(large if mode == "SAME_LOWER" else small)
        after.append(small if mode == "SAME_LOWER" else large)
    return before + after


@dataclass(frozen=True)
class Window:
    """Window of a convolution or pooling over two spatial axes, rows and columns.

    Attributes
    ----------
    kernel, strides, dilations
        For rows and columns.
    pads
        Padding before rows and columns, then after them.
    """

    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[Dim, Dim, Dim, Dim] = (0, 0, 0, 0)

    @classmethod
    def of(cls, node: Node, kernel: Sequence[Dim]) -> Window:
        """Window of a node; ``kernel`` are its sizes along the spatial axes.

        Raises
        ------
        OnHost
            There are more than two spatial axes.
        """
        sizes = node.required(0).dims[2:]
        rank = len(sizes)
        if rank not in (1, 2):
            raise OnHost(f"{rank} spatial axes")
        taps = [int(k) for k in kernel]  # type: ignore[arg-type]
        strides = [int(s) for s in node.attribute("strides", [1] * rank)]
        dilations = [int(d) for d in node.attribute("dilations", [1] * rank)]
        return cls.over(taps, strides, dilations, auto_pads(node, sizes, taps, strides, dilations))

    @classmethod
    def over(
        cls,
        kernel: Sequence[int],
        strides: Sequence[int],
        dilations: Sequence[int],
        pads: Sequence[Dim],
    ) -> Window:
        """Window over one or two axes; a single one is that of the columns."""
        if len(kernel) == 1:
            return cls((1, kernel[0]), (1, strides[0]), (1, dilations[0]), (0, pads[0], 0, pads[1]))
        (kh, kw), (sh, sw), (dh, dw) = kernel, strides, dilations
        top, left, bottom, right = pads
        return cls((kh, kw), (sh, sw), (dh, dw), (top, left, bottom, right))

    def reach(self, axis: int) -> int:
        """Elements from the first tap to the last along an axis (0: height, 1: width)."""
        return (self.kernel[axis] - 1) * self.dilations[axis] + 1

    def size(self, axis: int, size: Dim) -> Dim:
        """Output size along an axis (0: height, 1: width)."""
        total = size + self.pads[axis] + self.pads[axis + 2]
        return (total - self.reach(axis)) // self.strides[axis] + 1

    def turned(self) -> Window:
        """Return the window with height and width exchanged."""
        top, left, bottom, right = self.pads
        return dataclasses.replace(
            self,
            kernel=self.kernel[::-1],
            strides=self.strides[::-1],
            dilations=self.dilations[::-1],
            pads=(left, top, right, bottom),
        )

    @property
    def is_padded(self) -> bool:
        """Tell whether any padding is (or may be) not zero."""
        return any(pad != 0 for pad in self.pads)

    @property
    def is_one_pixel(self) -> bool:
        """Tell whether each output pixel is made of the input pixel at the same place."""
        return self.kernel == self.strides == (1, 1) and not self.is_padded


def height_width(shape: Sequence[Dim]) -> tuple[Dim, Dim]:
    """Spatial sizes of a (N, C, W) or (N, C, H, W) shape."""
    return (1, shape[2]) if len(shape) == 3 else (shape[2], shape[3])


def image_strides(tensor: Tensor) -> tuple[Dim, Dim, Dim]:
    """Strides (image, row, pixel) of a channels-last tensor of three or four axes."""
    s = tensor.strides
    return (s[0], s[2] * tensor.shape[2], s[2]) if len(s) == 3 else (s[0], s[2], s[3])


def window_parameters(window: Window, out_width: Dim) -> tuple[int, int, int]:
    """Parameters of a kernel that walks a window (``kernels.cpu.window``)."""
    # Far apart, windows share nothing, and the source would list all pixels between them.
    shared = window.dilations[1] == 1 and max(window.kernel[1], window.strides[1]) <= MAX_TAPS
    return window.kernel[1] if shared else 0, window.strides[1], columns_for(out_width)


# --- fields of records ------------------------------------------------------------------------


def size_fields(x: Tensor, y: Tensor) -> dict[str, Any]:
    """Fields ``images``, ``height``, ``width``, ``out_height``, ``out_width``."""
    (height, width), (out_height, out_width) = height_width(x.shape), height_width(y.shape)
    return {
        "images": x.shape[0], "height": height, "width": width,
        "out_height": out_height, "out_width": out_width,
    }  # fmt: skip


def stride_fields(name: str, tensor: Tensor | None) -> dict[str, Any]:
    """Fields ``name_image``, ``name_row``, ``name_pixel``: strides, 0 where there is no tensor."""
    image, row, pixel = (0, 0, 0) if tensor is None else image_strides(tensor)
    return {f"{name}_image": image, f"{name}_row": row, f"{name}_pixel": pixel}


def pair_fields(name: str, pair: tuple[int, int]) -> dict[str, Any]:
    """Fields ``name_h`` and ``name_w``."""
    return {f"{name}_h": pair[0], f"{name}_w": pair[1]}


def window_fields(window: Window) -> dict[str, Any]:
    """Fields of kernel, strides, dilations, and padding before rows and columns."""
    return {
        **pair_fields("kernel", window.kernel),
        **pair_fields("stride", window.strides),
        **pair_fields("dilation", window.dilations),
        "pad_top": window.pads[0],
        "pad_left": window.pads[1],
    }
