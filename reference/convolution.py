"""Convolutions of numbers and of quantized integers, by products over windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .operator import Operator
from .windows import Windows, windows_of

_AT_ONCE = 1 << 22
"""Elements of windows that may be copied for one product."""


def convolve(x: np.ndarray, w: np.ndarray, group: int = 1, **window: Any) -> np.ndarray:
    """Convolve.

    Parameters
    ----------
    x : ndarray
        Batch, channels, spatial axes.
    w : ndarray
        Output channels, input channels of a group, kernel; the type of ``x``.
    group : int
    **window
        Strides, dilations, pads and auto_pad, as attributes have them.

    Raises
    ------
    ValueError
        Sizes do not fit.
    """
    if x.shape[1] != w.shape[1] * group or w.shape[0] % group:
        raise ValueError(f"{x.shape[1]} channels, weights {w.shape}, {group} groups")
    windows = windows_of(x.shape[2:], w.shape[2:], **window)
    padded = windows.padded(x, 0)
    count, elements = math.prod(windows.counts), math.prod(w.shape[2:])
    if x.shape[0] * x.shape[1] * elements * count <= _AT_ONCE:
        y = _at_once(windows, padded, w, group)
    else:
        y = _by_element(windows, padded, w, group)
    return y.reshape(len(x), w.shape[0], *windows.counts)


def _at_once(windows: Windows, padded: np.ndarray, w: np.ndarray, group: int) -> np.ndarray:
    """Convolve by one product, with a copy of all windows."""
    rank = len(windows.kernel)
    view = windows.view(padded)
    kernel_first = np.moveaxis(view, range(2, 2 + rank), range(-rank, 0))
    inner = math.prod(w.shape[1:])
    columns = kernel_first.reshape(len(padded), group, inner, math.prod(windows.counts))
    return np.matmul(w.reshape(group, w.shape[0] // group, inner), columns)


def _by_element(windows: Windows, padded: np.ndarray, w: np.ndarray, group: int) -> np.ndarray:
    """Convolve by a product for each element of the kernel, without a copy of all windows."""
    batch, positions = len(padded), math.prod(windows.counts)
    weights = w.reshape(group, w.shape[0] // group, *w.shape[1:])
    y = np.zeros((batch, group, weights.shape[1], positions), padded.dtype)
    for at in np.ndindex(*w.shape[2:]):
        places = [
            slice(i * d, i * d + (count - 1) * s + 1, s)
            for i, d, count, s in zip(
                at, windows.dilations, windows.counts, windows.strides, strict=True
            )
        ]
        part = padded[(slice(None), slice(None), *places)]
        part = part.reshape(batch, group, w.shape[1], positions)
        y += np.matmul(weights[(slice(None), slice(None), slice(None), *at)], part)
    return y


def _per_channel(values: np.ndarray, rank: int, axis: int) -> np.ndarray:
    return values.reshape([-1 if i == axis else 1 for i in range(rank)])


def _window(auto_pad: Any, dilations: Any, pads: Any, strides: Any) -> dict[str, Any]:
    return {"auto_pad": auto_pad, "dilations": dilations, "pads": pads, "strides": strides}


class Conv(Operator):
    """Conv."""

    def _run(
        self, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None = None, *, group: int,
        auto_pad: Any, dilations: Any, kernel_shape: Any, pads: Any, strides: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        y = convolve(x, w, group, **_window(auto_pad, dilations, pads, strides))
        return (y if bias is None else y + _per_channel(bias, y.ndim, 1),)


def _less(x: np.ndarray, zero: np.ndarray | None, axis: int | None = None) -> np.ndarray:
    """Integers without their zero point, exact in double."""
    wide = x.astype(np.float64)
    if zero is None:
        return wide
    per = zero.size > 1 and axis is not None
    return np.asarray(
        wide - (_per_channel(zero, x.ndim, axis or 0) if per else zero.reshape(-1)[0])
    )


class ConvInteger(Operator):
    """ConvInteger."""

    def _run(
        self, x: np.ndarray, w: np.ndarray, x_zero: np.ndarray | None = None,
        w_zero: np.ndarray | None = None, *, group: int, auto_pad: Any, dilations: Any,
        kernel_shape: Any, pads: Any, strides: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        window = _window(auto_pad, dilations, pads, strides)
        sums = convolve(_less(x, x_zero), _less(w, w_zero, 0), group, **window)
        return (sums.astype(np.int64).astype(np.int32),)


class QLinearConv(Operator):
    """QLinearConv; scale and zero point of the weights may be those of each output channel."""

    def _run(
        self, x: np.ndarray, x_scale: np.ndarray, x_zero: np.ndarray, w: np.ndarray,
        w_scale: np.ndarray, w_zero: np.ndarray, y_scale: np.ndarray, y_zero: np.ndarray,
        bias: np.ndarray | None = None, *, group: int, auto_pad: Any, dilations: Any,
        kernel_shape: Any, pads: Any, strides: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        window = _window(auto_pad, dilations, pads, strides)
        y = convolve(_less(x, x_zero), _less(w, w_zero, 0), group, **window)
        if bias is not None:
            y = y + _per_channel(bias, y.ndim, 1)
        factor = (x_scale.reshape(-1) * w_scale.reshape(-1) / y_scale.reshape(-1)).astype(
            np.float32
        )
        limits = np.iinfo(y_zero.dtype)
        rounded = np.rint(y.astype(np.float32) * _per_channel(factor, y.ndim, 1))
        return (
            np.clip(rounded + y_zero.reshape(-1)[0], limits.min, limits.max).astype(y_zero.dtype),
        )


class ConvTranspose(Operator):
    """ConvTranspose: each input element adds the kernel, weighted, to its window of the output."""

    def _run(
        self, x: np.ndarray, w: np.ndarray, bias: np.ndarray | None = None, *, group: int,
        auto_pad: Any, dilations: Any, kernel_shape: Any, pads: Any, strides: Any,
        output_padding: Any, output_shape: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        rank = x.ndim - 2
        if x.shape[1] != w.shape[0] or w.shape[0] % group:
            raise ValueError(f"{x.shape[1]} channels, weights {w.shape}, {group} groups")
        strides, dilations = strides or [1] * rank, dilations or [1] * rank
        full = _spread(x, w, group, strides, dilations)
        extra = output_padding or [0] * rank
        sizes = [n + e for n, e in zip(full.shape[2:], extra, strict=True)]
        begins, wanted = _cut(sizes, x.shape[2:], strides, auto_pad, pads, output_shape)
        y = np.zeros((*full.shape[:2], *wanted), x.dtype)
        kept = [
            slice(begin, max(begin, min(begin + size, n)))
            for begin, size, n in zip(begins, wanted, full.shape[2:], strict=True)
        ]
        part = full[(slice(None), slice(None), *kept)]
        y[(slice(None), slice(None), *[slice(0, n) for n in part.shape[2:]])] = part
        return (y if bias is None else y + _per_channel(bias, y.ndim, 1),)


def _spread(
    x: np.ndarray, w: np.ndarray, group: int, strides: Sequence[int], dilations: Sequence[int]
) -> np.ndarray:
    """All windows of the output, added up, without padding taken off."""
    batch, spatial, kernel = x.shape[0], x.shape[2:], w.shape[2:]
    each = w.shape[0] // group
    grouped = x.reshape(batch, group, each, math.prod(spatial))
    weights = w.reshape(group, each, w.shape[1], *kernel)
    sizes = [
        (n - 1) * s + (k - 1) * d + 1
        for n, s, k, d in zip(spatial, strides, kernel, dilations, strict=True)
    ]
    y = np.zeros((batch, group * w.shape[1], *sizes), x.dtype)
    for at in np.ndindex(*kernel):
        taken = weights[(slice(None), slice(None), slice(None), *at)]
        part = np.matmul(np.swapaxes(taken, 1, 2), grouped)
        places = [
            slice(i * d, i * d + (n - 1) * s + 1, s)
            for i, d, n, s in zip(at, dilations, spatial, strides, strict=True)
        ]
        y[(slice(None), slice(None), *places)] += part.reshape(batch, group * w.shape[1], *spatial)
    return y


def _cut(
    sizes: Sequence[int], spatial: Sequence[int], strides: Sequence[int], auto_pad: Any,
    pads: Any, output_shape: Any,
) -> tuple[list[int], list[int]]:  # fmt: skip
    """Where the output begins in the sum of all windows, and its size."""
    rank = len(sizes)
    same = str(auto_pad).startswith("SAME")
    if not output_shape and not same:
        pads = pads if pads and auto_pad != "VALID" else [0] * 2 * rank
        return list(pads[:rank]), [n - pads[i] - pads[i + rank] for i, n in enumerate(sizes)]
    wanted = list(output_shape or [n * s for n, s in zip(spatial, strides, strict=True)])[-rank:]
    totals = [max(0, size - n) for size, n in zip(sizes, wanted, strict=True)]
    begins = [t // 2 if auto_pad == "SAME_UPPER" else t - t // 2 for t in totals]
    return begins, wanted
