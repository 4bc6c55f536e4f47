"""Windows of convolutions and poolings, and the images and volumes they move over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ...kernels.cpu.window import MAX_TAPS, columns_for, margin_of
from ...kernels.target import LANES
from ..graph import NeedsNumbers, Node, OnHost
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


class Along(NamedTuple):
    """Window along one axis: its taps, and the padding before and after the axis."""

    taps: int = 1
    stride: int = 1
    dilation: int = 1
    before: Dim = 0
    after: Dim = 0

    @property
    def reach(self) -> int:
        """Elements from the first tap to the last."""
        return (self.taps - 1) * self.dilation + 1

    @property
    def is_padded(self) -> bool:
        """Tell whether any padding is (or may be) not zero."""
        return self.before != 0 or self.after != 0

    def size(self, size: Dim) -> Dim:
        """Output size along an axis."""
        return (size + self.before + self.after - self.reach) // self.stride + 1


class Window(NamedTuple):
    """Window of a convolution or pooling over slices, rows and columns.

    Attributes
    ----------
    depth, rows, columns
        Images have one slice; signals have one row, too.
    """

    depth: Along = Along()
    rows: Along = Along()
    columns: Along = Along()

    @classmethod
    def of(cls, node: Node, kernel: Sequence[Dim]) -> Window:
        """Window of a node; ``kernel`` are its sizes along the spatial axes.

        Raises
        ------
        OnHost
            There are more than three spatial axes, or the sizes are not numbers.
        """
        sizes = node.required(0).dims[2:]
        rank = len(sizes)
        taps = spatial_numbers(kernel)
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
        """Window over one to three axes; a single one is that of the columns."""
        rank = len(kernel)
        # A single tap has no distance to others.
        apart = [1 if k == 1 else d for k, d in zip(kernel, dilations, strict=True)]
        own = map(Along, kernel, strides, apart, pads[:rank], pads[rank:])
        return cls(*[Along()] * (3 - rank), *own)

    @property
    def kernel(self) -> tuple[int, int]:
        """Taps over rows and columns."""
        return self.rows.taps, self.columns.taps

    @property
    def strides(self) -> tuple[int, int]:
        """Steps over rows and columns."""
        return self.rows.stride, self.columns.stride

    @property
    def dilations(self) -> tuple[int, int]:
        """Distances of taps over rows and columns."""
        return self.rows.dilation, self.columns.dilation

    @property
    def taps(self) -> int:
        """Number of taps."""
        return self.depth.taps * self.rows.taps * self.columns.taps

    def sizes(self, sizes: Sequence[Dim]) -> list[Dim]:
        """Output sizes along the spatial axes."""
        return [own.size(size) for own, size in self.by_axis(sizes)]

    def by_axis(self, sizes: Sequence[Dim]) -> Iterable[tuple[Along, Dim]]:
        """Pairs of the window along a spatial axis and the size of the axis."""
        return zip(self[-len(sizes) :], sizes, strict=True)

    def turned(self) -> Window:
        """Return the window with height and width exchanged."""
        return Window(self.depth, self.columns, self.rows)

    @property
    def is_padded(self) -> bool:
        """Tell whether any padding of rows or columns is (or may be) not zero."""
        return self.rows.is_padded or self.columns.is_padded

    @property
    def is_one_pixel(self) -> bool:
        """Tell whether each pixel of a slice is made of pixels at the same place."""
        return self.rows == self.columns == Along()


def spatial_numbers(kernel: Sequence[Dim]) -> list[int]:
    """Sizes of a window over spatial axes, of which there may be three."""
    if not 1 <= len(kernel) <= 3:
        raise OnHost(f"{len(kernel)} spatial axes")
    if not all(isinstance(taps, int) for taps in kernel):
        raise NeedsNumbers("the size of the window is not known", kernel)
    return [int(taps) for taps in kernel]  # type: ignore[arg-type]


def height_width(shape: Sequence[Dim]) -> tuple[Dim, Dim]:
    """Rows and columns of a (N, C, W), (N, C, H, W) or (N, C, D, H, W) shape."""
    return (1, shape[2]) if len(shape) == 3 else (shape[-2], shape[-1])


def slices_of(shape: Sequence[Dim]) -> Dim:
    """Slices of a volume; an image has one."""
    return shape[2] if len(shape) == 5 else 1


def image_strides(tensor: Tensor) -> tuple[Dim, Dim, Dim]:
    """Strides (image or volume, row, pixel) of a channels-last tensor of three to five axes."""
    s = tensor.strides
    return (s[0], s[2] * tensor.shape[2], s[2]) if len(s) == 3 else (s[0], s[-2], s[-1])


def window_parameters(window: Window, out_width: Dim) -> tuple[int, int, int]:
    """Parameters of a kernel that walks a window (``kernels.cpu.window``)."""
    # Far apart, windows share nothing, and the source would list all pixels between them.
    columns = window.columns
    shared = columns.dilation == 1 and max(columns.taps, columns.stride) <= MAX_TAPS
    return columns.taps if shared else 0, columns.stride, columns_for(out_width)


def window_forms(window: Window, x: Tensor, y: Tensor) -> str:
    """Forms of blocks (``window.FORMS``) that a window over channels-last images needs."""
    channels, width, out_width = x.shape[1], height_width(x.shape)[1], height_width(y.shape)[1]
    if not isinstance(channels, int):
        return "all"
    if channels < LANES:
        return "few"
    if not isinstance(width, int) or not isinstance(out_width, int):
        return "vectors"
    taps, stride, columns = window_parameters(window, out_width)
    own, margin = window.columns, margin_of(taps, stride, columns)
    before = own.before
    over = (out_width - 1) * stride - before + (own.taps - 1) * own.dilation + 1 - width
    if not isinstance(before, int) or not isinstance(over, int) or out_width < columns:
        return "vectors"
    return "near" if max(before, over) <= margin else "vectors"


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
        "pad_top": window.rows.before,
        "pad_left": window.columns.before,
    }


def depth_fields(
    window: Window, x: Tensor, y: Tensor, residual: Tensor | None = None
) -> dict[str, Any]:
    """Fields of the third axis: of slices, and of the window over them."""
    own = window.depth
    named = (("x", x), ("y", y), ("r", residual))
    strides = {
        f"{name}_slice": t.strides[2] if t is not None and len(t.shape) == 5 else 0
        for name, t in named
    }
    return {
        "slices": slices_of(x.shape), "out_slices": slices_of(y.shape), "kernel_d": own.taps,
        "stride_d": own.stride, "dilation_d": own.dilation, "pad_front": own.before, **strides,
    }  # fmt: skip
