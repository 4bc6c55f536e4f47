"""Convolution as an object: what Conv, ConvTranspose and products hand to its forms."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from ...kernels.arithmetic import ARITHMETIC
from ...kernels.target import LANES
from ..emission import Emission
from ..groups import Group
from ..strides import channels_last_order
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
    """A convolution of channels-last images or volumes.

    A matrix product is one, too: of images of one row, by a window of one pixel.

    Attributes
    ----------
    group
        The nodes it computes.
    kind
        One of ``KINDS``, ``"i16"``, ``"u8"`` or ``"bf16"``.
    x, y
        (N, C, W), (N, C, H, W) or (N, C, D, H, W), with channels of stride 1.
    output
        ``y`` as the model has it.
    weights
        An array (M, C / groups, kd, kh, kw), with one axis more in front where each image has its
        own. Where they are known only when the model runs, a tensor (sets, M / groups, C / groups,
        kd, kh, kw): a set for each group, or where there is one group perhaps for each image.
    window, groups
        Those of the node.
    bias
        One element for each output channel.
    pad
        The word that rows and columns are padded with; zero when not given.
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
    pad: Tensor | None = None
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
        return self.weights.shape[-4]

    @property
    def out_channels(self) -> Dim:
        """Output channels of a group."""
        count = self.weights.shape[-5]
        return count if isinstance(self.weights, Tensor) else count // self.groups

    @property
    def outputs(self) -> list[Tensor]:
        """What the step writes, the result first."""
        result = self.epilogue.result
        return [self.output] if result is None else [result, self.output]

    @property
    def sum_length(self) -> Dim:
        """Products in a sum."""
        return self.channels * self.window.taps

    @property
    def flops(self) -> Dim:
        """Floating-point operations."""
        numbers = ARITHMETIC[self.kind].numbers
        return 2 * product(self.output.shape) * self.sum_length * numbers

    @property
    def row_pixels(self) -> Dim:
        """Pixels of a row that is done at a time."""
        out_height, out_width = height_width(self.y.shape)
        return out_height * out_width if self.is_flat else out_width

    @property
    def padded_width(self) -> Dim:
        """Input pixels, padding included, that a row of the output needs."""
        own = self.window.columns
        return (height_width(self.y.shape)[1] - 1) * own.stride + own.reach

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
        """Tell whether all pixels of a slice may be taken as one row."""
        flat = self.epilogue.may_flatten and self.window.is_one_pixel
        return flat and all(map(_is_one_row, self._images))

    @property
    def has_halves(self) -> bool:
        """Tell whether any image lies as bfloat16, though it is one of float32."""
        return any(image.dtype == "bfloat16" for image in self._images)

    @property
    def _images(self) -> list[Tensor]:
        return [image for image in (self.x, self.y, self.residual) if image is not None]

    @property
    def is_depthwise(self) -> bool:
        """Tell whether each channel has one filter of its own."""
        return self.groups > 1 and self.channels == self.out_channels == 1

    @property
    def is_volume(self) -> bool:
        """Tell whether there are three spatial axes."""
        return len(self.x.shape) == 5

    @property
    def is_column(self) -> bool:
        """Tell whether images are one pixel wide and stay so."""
        shape, window = self.x.shape, self.window
        narrow = len(shape) == 4 and shape[3] == 1 and shape[2] != 1
        return narrow and window.columns.taps == 1 and not window.columns.is_padded

    # --- the same in other ways ---------------------------------------------------------------

    def with_slices_as_rows(self) -> Convolution:
        """Return the convolution of volumes, if its window is one pixel of slices, as of images.

        Their rows are the slices.
        """
        if not self.is_volume or not self.window.is_one_pixel:
            return self
        if not all(map(_is_one_row, self._images)):
            return self
        return dataclasses.replace(
            self,
            x=_with_slices_as_rows(self.x),
            y=_with_slices_as_rows(self.y),
            weights=_with_axes(self.weights, (-2, -3, -1)),
            window=Window(rows=self.window.depth),
            residual=None if self.residual is None else _with_slices_as_rows(self.residual),
        )

    def turned(self) -> Convolution:
        """Return the convolution of columns as one of rows, which the tile takes pixels of."""
        return dataclasses.replace(
            self,
            x=_turned(self.x),
            y=_turned(self.y),
            weights=_with_axes(self.weights, (-3, -1, -2)),
            window=self.window.turned(),
            residual=None if self.residual is None else _turned(self.residual),
            is_turned=True,
        )

    def in_float32(self, emit: Emission) -> Convolution:
        """Return the convolution of images of float32, and of a result that is still to be moved.

        Its epilogue has no kernel yet.
        """
        y, order = self.y, channels_last_order(len(self.y.shape))
        if y.dtype == "bfloat16":
            y = emit.new(y.shape, "float32", order, y.name)
        return dataclasses.replace(
            self,
            x=emit.as_type(self.x, "float32"),
            y=y,
            output=y,
            residual=None if self.residual is None else emit.as_type(self.residual, "float32"),
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


def _with_axes(weights: np.ndarray | Tensor, last: tuple[int, ...]) -> np.ndarray | Tensor:
    """Weights with their last axes in another order."""
    rank = len(weights.shape)
    order = [*range(rank - len(last)), *(rank + axis for axis in last)]
    if isinstance(weights, np.ndarray):
        return weights.transpose(order)
    return weights.view([weights.shape[a] for a in order], [weights.strides[a] for a in order])


def _with_slices_as_rows(tensor: Tensor) -> Tensor:
    """View of volumes with the pixels of a slice as one row."""
    (n, c, d, h, w), s = tensor.shape, tensor.strides
    return tensor.view((n, c, d, h * w), (*s[:3], s[4]))


def _turned(tensor: Tensor) -> Tensor:
    """View with height and width exchanged."""
    (n, c, h, w), s = tensor.shape, tensor.strides
    # The distance of rows in a one-pixel-wide image is that of its pixels.
    return tensor.view((n, c, w, h), (s[0], s[1], s[2] * h, s[2]))
