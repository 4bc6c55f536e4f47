"""Sliding windows over the spatial axes of a tensor: padding, counts and elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


@dataclass(frozen=True)
class Windows:
    """Windows along each spatial axis.

    ``reach`` is the extent of a window, dilation included; ``counts`` are the numbers of windows,
    ``begins`` and ``ends`` the padding that a node declares.
    """

    kernel: Sequence[int]
    strides: Sequence[int]
    dilations: Sequence[int]
    reach: Sequence[int]
    begins: Sequence[int]
    ends: Sequence[int]
    counts: Sequence[int]

    def padded(self, x: np.ndarray, value: Any) -> np.ndarray:
        """Pad the spatial axes, as far as the last window reaches."""
        widths = [
            (begin, max(end, (count - 1) * stride + reach - size - begin))
            for begin, end, count, stride, reach, size in zip(
                self.begins, self.ends, self.counts, self.strides, self.reach,
                x.shape[x.ndim - len(self.kernel) :], strict=True,
            )
        ]  # fmt: skip
        if not any(map(any, widths)):
            return x
        return np.pad(x, [*[(0, 0)] * (x.ndim - len(widths)), *widths], constant_values=value)

    def view(self, padded: np.ndarray) -> np.ndarray:
        """Elements of the windows of the last axes, along as many new axes at the end."""
        rank = len(self.kernel)
        axes = tuple(range(padded.ndim - rank, padded.ndim))
        view = sliding_window_view(padded, tuple(self.reach), axes)
        outer = [
            slice(0, (count - 1) * stride + 1, stride)
            for count, stride in zip(self.counts, self.strides, strict=True)
        ]
        chosen: tuple[Any, ...] = (..., *outer, *[slice(None, None, d) for d in self.dilations])
        return view[chosen]


def windows_of(
    spatial: Sequence[int], kernel: Sequence[int], *, strides: Any = None, dilations: Any = None,
    pads: Any = None, auto_pad: str | None = None, ceil_mode: int = 0,
) -> Windows:  # fmt: skip
    """Read the attributes of a convolution or pooling.

    Raises
    ------
    ValueError
        The windows are larger than the padded image.
    """
    rank = len(kernel)
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    begins, ends = _padding(auto_pad, pads, spatial, reach, strides)
    counts = []
    for size, begin, end, extent, stride in zip(spatial, begins, ends, reach, strides, strict=True):
        room = size + begin + end - extent
        if room < 0:
            raise ValueError(f"windows of {extent} elements in {size + begin + end}")
        count = (-(-room // stride) if ceil_mode else room // stride) + 1
        # No window begins in the padding behind the image.
        counts.append(min(count, (size + begin - 1) // stride + 1) if ceil_mode else count)
    return Windows(kernel, strides, dilations, reach, begins, ends, counts)


def _padding(
    auto_pad: str | None, pads: Sequence[int] | None, spatial: Sequence[int],
    reach: Sequence[int], strides: Sequence[int],
) -> tuple[Sequence[int], Sequence[int]]:  # fmt: skip
    """Padding before and behind each spatial axis."""
    rank = len(spatial)
    if not (auto_pad or "").startswith("SAME"):
        widths = pads if pads and auto_pad != "VALID" else [0] * 2 * rank
        return widths[:rank], widths[rank:]
    totals = [
        max(0, (-(-size // stride) - 1) * stride + extent - size)
        for size, extent, stride in zip(spatial, reach, strides, strict=True)
    ]
    small, large = [t // 2 for t in totals], [t - t // 2 for t in totals]
    return (large, small) if auto_pad == "SAME_LOWER" else (small, large)
