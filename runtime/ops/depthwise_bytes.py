"""Depthwise convolution of bytes: words of four taps, and results made bytes in registers."""

from __future__ import annotations

import numpy as np

from ...kernels.cpu.depthwise_bytes import (
    MAX_ROWS,
    MAX_WORDS,
    depthwise_bytes,
    row_words,
    workspace_bytes,
)
from ...kernels.target import LANES
from ..emission import Emission
from ..symbolic import not_one
from .convolution import Convolution
from .windows import Window, height_width, size_fields, stride_fields, window_fields

_FLIP = 0x80808080 - (1 << 32)
"""What makes unsigned bytes of signed ones, in each byte of an int32."""


def takes_bytes(weights: np.ndarray, window: Window) -> bool:
    """Tell whether the kernel takes a filter (M, 1, 1, kh, kw) for each channel: of int8."""
    rows, (words, share) = window.rows.taps, _row_words(window)
    if weights.shape[1] != 1 or weights.size == 0:
        return False
    fits = weights.min() >= -128 and weights.max() <= 127
    return fits and rows <= MAX_ROWS and rows * words * share <= MAX_WORDS


def emit_depthwise_bytes(emit: Emission, conv: Convolution) -> None:
    """Emit a convolution that `takes_bytes`, whose epilogue has scales and a zero point."""
    window, scales = conv.window, conv.epilogue.scales
    assert scales is not None
    words, share = _row_words(window)
    space = workspace_bytes(
        height_width(conv.y.shape)[1], conv.x.shape[1], window.rows.reach, words, share
    )
    emit.step(
        depthwise_bytes(window.rows.taps, words, share),
        outputs=[conv.y],
        flops=conv.flops,
        x=conv.x, bias=conv.bias, pad=conv.pad, channels=conv.x.shape[1],
        w=emit.constant(_words(conv, words, share), f"{conv.name}.weights"),
        flip=_FLIP if conv.x.dtype == "int8" else 0, scale_step=not_one(scales.size),
        workspace=emit.workspace(space), workspace_bytes=space,
        **size_fields(conv.x, conv.y), **window_fields(window), **stride_fields("x", conv.x),
        **stride_fields("y", conv.y), **conv.epilogue.scaled_fields(),
    )  # fmt: skip


def _row_words(window: Window) -> tuple[int, int]:
    columns = window.columns
    return row_words(columns.taps, columns.stride, columns.dilation)


def _words(conv: Convolution, words: int, share: int) -> np.ndarray:
    """Weights as int32 (blocks of channels, share, rows, words, LANES): their taps from the first.

    Of those that share the words, each begins a stride later than the one before.
    """
    filters = conv.filters[:, 0, 0].transpose(1, 2, 0)
    rows, taps, channels = filters.shape
    blocks = -(-channels // LANES)
    placed = np.zeros((share, rows, 4 * words, blocks * LANES), np.int8)
    for i in range(share):
        first = i * conv.window.columns.stride
        placed[i, :, first : first + taps, :channels] = filters
    by_word = placed.reshape(share, rows, words, 4, blocks, LANES).transpose(4, 0, 1, 2, 5, 3)
    return np.ascontiguousarray(by_word).view("<i4")[..., 0]
