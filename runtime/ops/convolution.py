"""Convolution as an object: what Conv, ConvTranspose and products hand to its forms."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from ...kernels.arithmetic import ARITHMETIC
from ...kernels.target import LANES
from ..emission import Emission
from ..groups import Group
from ..symbolic import Dim, product
from ..tensors import Tensor
from .epilogue import Epilogue
from .windows import Window, height_width, image_strides

KINDS = {
    "float32": "f32", "float64": "f64", "int32": "i32", "uint32": "i32", "int64": "i64",
    "uint64": "i64",
}  # fmt: skip
"""Kinds of numbers that tiles compute with (``kernels.arithmetic``), by element type."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Convolution:
    """A convolution of channels-last images.

    A matrix product is one, too: of images of one row, by a window of one pixel.

    Attributes
    ----------
    group
        The nodes it computes.
    kind
        One of ``KINDS``, or ``"i16"``.
    x, y
        Images (N, C, W) or (N, C, H, W), with channels of stride 1.
    output
        ``y`` as the model has it.
    weights
        An array (M, C / groups, kh, kw), or a tensor of that shape where they are known only when
        the model runs; one axis more, in front, where each image has its own.
    window, groups
        Those of the node.
    bias
        One element for each output channel.
    residual
        Images like ``y``, added before the activation.
    epilogue
        What follows in the same step.
    is_turned
        Tell whether ``x``, ``y`` and ``residual`` have height and width exchanged.
    """

    group: Group
    kind: str = "f32"
    x: Tensor
    y: Tensor
    output: Tensor
    weights: np.ndarray | Tensor
    window: Window
    groups: int = 1
    bias: Tensor | None = None
    residual: Tensor | None = None
    epilogue: Epilogue = dataclasses.field(default_factory=Epilogue)
    is_turned: bool = False

    @property
    def name(self) -> str:
        """Name of the node, among the choices of forms."""
        return self.group.nodes[0].name

    @property
    def filters(self) -> np.ndarray:
        """Weights that are known before the model runs: all but those of some products."""
        assert isinstance(self.weights, np.ndarray)
        return self.weights

    # --- sizes --------------------------------------------------------------------------------

    @property
    def channels(self) -> Dim:
        """Input channels of a group."""
        return self.weights.shape[-3]

    @property
    def out_channels(self) -> Dim:
        """Output channels of a group."""
        return self.weights.shape[-4] // self.groups

    @property
    def depth(self) -> Dim:
        """Products in a sum."""
        return self.channels * self.window.kernel[0] * self.window.kernel[1]

    @property
    def flops(self) -> Dim:
        """Floating-point operations."""
        return 2 * product(self.output.shape) * self.depth

    @property
    def row_pixels(self) -> Dim:
        """Pixels of a row that is done at a time."""
        out_height, out_width = height_width(self.y.shape)
        return out_height * out_width if self.is_flat else out_width

    @property
    def padded_width(self) -> Dim:
        """Input pixels, padding included, that a row of the output needs."""
        last = (height_width(self.y.shape)[1] - 1) * self.window.strides[1]
        return last + self.window.reach(1)

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return ARITHMETIC[self.kind].itemsize

    @property
    def lanes(self) -> int:
        """Elements of a vector."""
        return LANES * 4 // self.itemsize

    # --- kinds --------------------------------------------------------------------------------

    @property
    def is_flat(self) -> bool:
        """Tell whether all pixels of an image may be taken as one row."""
        images = [image for image in (self.x, self.y, self.residual) if image is not None]
        return (
            self.epilogue.may_flatten
            and self.window.is_one_pixel
            and all(_is_one_row(image) for image in images)
        )

    @property
    def is_depthwise(self) -> bool:
        """Tell whether each channel has one filter of its own."""
        return self.groups > 1 and self.channels == self.out_channels == 1

    @property
    def is_column(self) -> bool:
        """Tell whether images are one pixel wide and stay so."""
        shape, window = self.x.shape, self.window
        narrow = len(shape) == 4 and shape[3] == 1 and shape[2] != 1
        return narrow and window.kernel[1] == 1 and window.pads[1] == window.pads[3] == 0

    # --- the same in other ways ---------------------------------------------------------------

    def turned(self) -> Convolution:
        """Return the convolution of columns as one of rows, which the tile takes pixels of."""
        return dataclasses.replace(
            self,
            x=_turned(self.x),
            y=_turned(self.y),
            weights=self.filters.swapaxes(-1, -2),
            window=self.window.turned(),
            residual=None if self.residual is None else _turned(self.residual),
            is_turned=True,
        )

    def with_kernel_over_rows(self, emit: Emission) -> Convolution:
        """Return the convolution with what the tile cannot do as a kernel over its rows."""
        rank = len(self.output.shape)
        row, pixel = (None if rank == 3 else 2), rank - 1
        axes = [0, pixel, row, 1] if self.is_turned else [0, row, pixel, 1]
        epilogue = self.epilogue.over_rows(emit, self.output, axes)
        return dataclasses.replace(self, epilogue=epilogue)


def _is_one_row(image: Tensor) -> bool:
    _, row, pixel = image_strides(image)
    return row == height_width(image.shape)[1] * pixel


def _turned(tensor: Tensor) -> Tensor:
    """View with height and width exchanged."""
    (n, c, h, w), s = tensor.shape, tensor.strides
    # The distance of rows in a one-pixel-wide image is that of its pixels.
    return tensor.view((n, c, w, h), (s[0], s[1], s[2] * h, s[2]))
