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
from .windows import (
    Window,
    depth_fields,
    height_width,
    size_fields,
    stride_fields,
    window_fields,
)

_FLIP = 0x80808080 - (1 << 32)
"""What makes unsigned bytes of signed ones, in each byte of an int32."""


def takes_bytes(weights: np.ndarray, window: Window) -> bool:
    """Tell whether the kernel takes a filter (M, 1, kd, kh, kw) for each channel."""
    if weights.shape[1] != 1 or weights.size == 0:
        return False
    slices, (words, share) = window.depth.taps * len(_terms(weights)), _row_words(window)
    rows = slices * window.rows.taps
    return rows <= MAX_ROWS and rows * words * share <= MAX_WORDS


def emit_depthwise_bytes(emit: Emission, conv: Convolution) -> None:
    """Emit a convolution that `takes_bytes`, whose epilogue has scales and a zero point."""
    window, scales = conv.window, conv.epilogue.scales
    assert scales is not None
    words, share = _row_words(window)
    terms = _terms(conv.filters)
    reach = window.rows.reach * window.depth.taps
    space = workspace_bytes(height_width(conv.y.shape)[1], conv.x.shape[1], reach, words, share)
    emit.step(
        depthwise_bytes(window.rows.taps, words, share, len(terms), window.depth.taps),
        outputs=[conv.y],
        flops=conv.flops,
        x=conv.x, bias=conv.bias, pad=conv.pad, channels=conv.x.shape[1],
        w=emit.constant(_words(conv, terms, words, share), f"{conv.name}.weights"),
        flip=_FLIP if conv.x.dtype == "int8" else 0, scale_step=not_one(scales.size),
        workspace=emit.workspace(space), workspace_bytes=space,
        **size_fields(conv.x, conv.y), **window_fields(window),
        **depth_fields(window, conv.x, conv.y), **stride_fields("x", conv.x),
        **stride_fields("y", conv.y), **conv.epilogue.scaled_fields(),
    )  # fmt: skip


def _row_words(window: Window) -> tuple[int, int]:
    columns = window.columns
    return row_words(columns.taps, columns.stride, columns.dilation)


def _terms(weights: np.ndarray) -> list[np.ndarray]:
    """Return int8 whose sums are weights of 9 bits: one array, two, or for 255 three."""
    terms: list[np.ndarray] = []
    rest = weights.astype(np.int16)
    while not terms or rest.any():
        terms.append(np.clip(rest, -128, 127).astype(np.int8))
        rest = rest - terms[-1]
    return terms


def _words(conv: Convolution, terms: list[np.ndarray], words: int, share: int) -> np.ndarray:
    """Weights as int32 (blocks of channels, share, rows, words, LANES): their taps from the first.

    There are rows of each term, of one slice after the other. Of those that share the words, each
    begins a stride later than the one before.
    """
    by_row = (term.reshape(term.shape[0], -1, term.shape[-1]) for term in terms)
    filters = np.concatenate([each.transpose(1, 2, 0) for each in by_row])
    rows, taps, channels = filters.shape
    blocks = -(-channels // LANES)
    placed = np.zeros((share, rows, 4 * words, blocks * LANES), np.int8)
    for i in range(share):
        first = i * conv.window.columns.stride
        placed[i, :, first : first + taps, :channels] = filters
    by_word = placed.reshape(share, rows, words, 4, blocks, LANES).transpose(4, 0, 1, 2, 5, 3)
    return np.ascontiguousarray(by_word).view("<i4")[..., 0]
