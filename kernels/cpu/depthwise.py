"""Depthwise convolution, channels last: one filter a channel, vectorized over the channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from ..emitter import CLIP, HARD_SWISH, LEAKY_RELU
from ..fields import Epilogue
from ..registry import kernel_factory
from ..simd import fma, select, splat, vmax, vmin
from ..target import LANES
from .panel import EPILOGUE_WORDS, run_epilogue
from .window import window_kernel

_F = np.float32


@njit
def _activate(value: Any, activation: int, low: Any, high: Any) -> Any:
    if activation == CLIP:
        return vmin(vmax(value, low), high)
    if activation == LEAKY_RELU:
        return select(value < splat(_F(0.0)), value * low, value)
    if activation == HARD_SWISH:
        gate = fma(value, splat(_F(1.0 / 6.0)), splat(_F(0.5)))
        return value * vmin(vmax(gate, splat(_F(0.0))), splat(_F(1.0)))
    return value


_FIELDS = " w: int, bias: int, after: Epilogue"

_SETUP = """low, high = splat(float32(after.low)), splat(float32(after.high))
words = stack_words(epilogue_words)"""

_CHANNEL = """first = splat(float32(0.0))
if bias != 0:
    first = vload(bias, c) if count >= lanes else vload_first(bias, c, count)"""

_AFTER = """if after.epilogue != 0:
    run_epilogue(after, words, image, h, 0, out_width, 0, channels)"""


@kernel_factory
def depthwise(
    taps: int, stride: int, columns: int, kind: str = "f32", forms: str = "all"
) -> Callable[..., int]:
    """Build the convolution of each channel with its own filter.

    ``w`` is (kd, kh, kw, channels) float32; strides in elements; activation and epilogue as in
    ``conv.convolve``. ``taps``, ``stride``, ``columns``, ``kind`` and ``forms``
    as in ``window.window_kernel``. Rows of all slices are split into parts.
    """
    return window_kernel(
        __name__,
        "depthwise",
        taps,
        stride,
        columns,
        fields=_FIELDS,
        neutral="float32(0.0)",
        start="s{j} = first",
        step="s{j} = fma(v, {f}, s{j})",
        finish="activate(s{j}, after.activation, low, high)",
        filters=True,
        kind=kind,
        forms=forms,
        setup=_SETUP,
        channel=_CHANNEL,
        after=_AFTER,
        Epilogue=Epilogue,
        activate=_activate,
        run_epilogue=run_epilogue,
        epilogue_words=EPILOGUE_WORDS,
        lanes=LANES,
    )
