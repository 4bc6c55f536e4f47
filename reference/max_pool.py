"""MaxPool with the right indices in volumes, and for int8: onnx's own lacks both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from onnx.reference.op_run import OpRun


class MaxPool(OpRun):
    """MaxPool of the standard."""

    def _run(
        self, x: np.ndarray, auto_pad: Any = None, ceil_mode: Any = None, dilations: Any = None,
        kernel_shape: Any = None, pads: Any = None, storage_order: Any = None, strides: Any = None,
    ) -> tuple[np.ndarray, ...]:  # fmt: skip
        rank, spatial = x.ndim - 2, x.shape[2:]
        strides, dilations = strides or [1] * rank, dilations or [1] * rank
        reach = [(k - 1) * d + 1 for k, d in zip(kernel_shape, dilations, strict=True)]
        begins, ends = _pads(auto_pad, pads, spatial, reach, strides)
        sizes = [
            _count(size + begin, end, r, stride, bool(ceil_mode))
            for size, r, stride, begin, end in zip(
                spatial, reach, strides, begins, ends, strict=True
            )
        ]
        flat = np.arange(np.prod(spatial, dtype=np.int64))
        positions = flat.reshape(spatial[::-1]).T if storage_order else flat.reshape(spatial)
        widths = [
            (begin, max(end, (count - 1) * stride + r - size - begin))
            for begin, end, count, stride, r, size in zip(
                begins, ends, sizes, strides, reach, spatial, strict=True
            )
        ]
        lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
        padded = np.pad(x, [(0, 0), (0, 0), *widths], constant_values=lowest)
        taken = _windows(padded, sizes, reach, strides, dilations)
        positions = np.pad(positions, widths, constant_values=-1)
        where = _windows(positions, sizes, reach, strides, dilations)
        best = taken.argmax(-1)
        # Nothing above the padding's value: the first that is none.
        best = np.where(_at(where, best) < 0, (where >= 0).argmax(-1), best)
        maxima, index = _at(taken, best), _at(where, best)
        planes = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *[1] * rank)
        indices = (index + planes * np.prod(spatial, dtype=np.int64)).astype(np.int64)
        return (maxima, indices) if len(self.onnx_node.output) > 1 else (maxima,)


def _count(size: int, end: int, reach: int, stride: int, up: bool) -> int:
    """Windows along an axis of ``size`` elements, padding before them included."""
    room = size + end - reach
    count = (-(-room // stride) if up else room // stride) + 1
    # No window begins in the padding behind the image.
    return min(count, (size - 1) // stride + 1) if up else count


def _at(windows: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Elements of windows at one position in each."""
    windows = np.broadcast_to(windows, (*best.shape, windows.shape[-1]))
    return np.take_along_axis(windows, best[..., None], -1)[..., 0]


def _pads(
    auto_pad: str | None, pads: Sequence[int] | None, spatial: Sequence[int],
    reach: Sequence[int], strides: Sequence[int],
) -> tuple[Sequence[int], Sequence[int]]:  # fmt: skip
    """Padding before and behind each spatial axis."""
    rank = len(spatial)
    if not (auto_pad or "").startswith("SAME"):
        widths = pads if pads and auto_pad != "VALID" else [0] * 2 * rank
        return widths[:rank], widths[rank:]
    totals = [
        max(0, (-(-size // stride) - 1) * stride + r - size)
        for size, r, stride in zip(spatial, reach, strides, strict=True)
    ]
    small, large = [t // 2 for t in totals], [t - t // 2 for t in totals]
    return (large, small) if auto_pad == "SAME_LOWER" else (small, large)


def _windows(
    array: np.ndarray, sizes: Sequence[int], reach: Sequence[int], strides: Sequence[int],
    dilations: Sequence[int],
) -> np.ndarray:  # fmt: skip
    """Elements of each window of the last axes, along one axis at the end."""
    rank = len(sizes)
    axes = tuple(range(array.ndim - rank, array.ndim))
    view = sliding_window_view(array, tuple(reach), axes)
    outer = [
        slice(0, (count - 1) * stride + 1, stride)
        for count, stride in zip(sizes, strides, strict=True)
    ]
    inner = [slice(None, None, dilation) for dilation in dilations]
    axes_of_all: tuple[Any, ...] = (..., *outer, *inner)
    chosen = view[axes_of_all]
    return chosen.reshape(*chosen.shape[:-rank], -1)
