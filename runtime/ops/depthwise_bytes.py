"""Depthwise convolution of bytes, whose results are made bytes in registers.

By words of four taps where the processor multiplies these, else by floats.
"""

from __future__ import annotations

import numpy as np

from ...kernels.cpu.depthwise_bytes import (
    MAX_ROWS,
    MAX_WORDS,
    depthwise_bytes,
    row_words,
    workspace_bytes,
)
from ...kernels.cpu.depthwise_widened import depthwise_widened
from ...kernels.target import LANES
from ..emission import Emission
from ..graph import Node
from ..symbolic import not_one
from ..tensors import Tensor, short_name
from .convolution import Convolution
from .depthwise import filters_of_channels
from .windows import (
    Window,
    depth_fields,
    height_width,
    size_fields,
    stride_fields,
    window_fields,
    window_parameters,
)

_FLIP = 0x80808080 - (1 << 32)
"""What makes unsigned bytes of signed ones, in each byte of an int32."""


_LARGEST, _EXACT = 255, 1 << 24
"""Size of a byte without its zero point, and of the whole numbers that float32 has all of."""


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


def emit_depthwise_widened(
    emit: Emission, node: Node, conv: Convolution, zero: int, bias: int
) -> None:
    """Emit a convolution by floats, whose epilogue has scales and a zero point.

    ``zero`` and ``bias`` are the inputs that are the zero point of its image and what is added.
    """
    scales = conv.epilogue.scales
    assert scales is not None
    parameters = window_parameters(conv.window, height_width(conv.y.shape)[1])
    start, numbers = _start(emit, node, conv, zero, bias, is_shared=parameters[0] != 0)
    emit.step(
        depthwise_widened(*parameters, short_name(conv.x.dtype), start),
        outputs=[conv.y],
        flops=conv.flops,
        x=conv.x, y=conv.y, bias=numbers, w=filters_of_channels(emit, conv),
        x_zero=None if node.input(zero) is None else emit.tensor(node.values[zero]),
        scale_step=not_one(scales.size), channels=conv.x.shape[1],
        **size_fields(conv.x, conv.y), **stride_fields("x", conv.x), **stride_fields("y", conv.y),
        **window_fields(conv.window), **depth_fields(conv.window, conv.x, conv.y),
        **conv.epilogue.scaled_fields(),
    )  # fmt: skip


def _start(
    emit: Emission, node: Node, conv: Convolution, zero: int, bias: int, *, is_shared: bool
) -> tuple[str, Tensor | None]:
    """Return what sums begin with, as `STARTS` has it; they are exact with that or it is int32.

    ``is_shared`` tells whether neighbouring results share pixels, so that none are left out.
    """
    own, point, weights = node.input(bias), node.input(zero), conv.weights
    assert isinstance(weights, np.ndarray)
    channels = weights.shape[0]
    if own is not None and not own.is_constant:
        return "i32", emit.ordered(emit.tensor(node.values[bias]))
    rows = weights[:, 0].sum(axis=(1, 3)).T.astype(np.int64)  # by row and channel
    reach = np.abs(weights).reshape(channels, -1).sum(1, dtype=np.int64) * _LARGEST
    numbers = np.zeros(channels, np.int64) if own is None else own.array().reshape(-1)
    if (np.abs(numbers.astype(np.int64)) + 2 * reach > _EXACT).any():
        return "i32", None if own is None else emit.constant(numbers.astype(np.int32))
    is_given = point is None or point.is_constant
    depth = conv.window.depth
    if not is_given or not is_shared or depth.taps != 1 or depth.is_padded:
        return "f32", emit.constant(numbers.astype(np.float32))
    number = 0 if point is None else int(point.array().reshape(-1)[0])
    before = np.concatenate([np.zeros((1, channels), np.int64), np.cumsum(rows, 0)]) * number
    return "rows", emit.constant(np.concatenate([numbers[None], before]).astype(np.float32))


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
