"""Records of the two transforms of Winograd's convolution, and the positions of their words."""

from __future__ import annotations

from typing import NamedTuple

from ..fields import positions
from ..registry import Pointer


class InputRecord(NamedTuple):
    """Argument record of the input transform; strides in elements.

    ``x`` is the first pixel of the first of ``tiles`` tiles, whose pixels must all exist; point k
    of a tile goes to ``v + k * point``, the next tile's ``tile`` further.
    """

    x: Pointer
    v: Pointer
    channels: int
    row: int
    pixel: int
    point: int
    tile: int
    tiles: int


class OutputRecord(NamedTuple):
    """Argument record of the output transform; strides in elements.

    It reads the points of ``tiles`` tiles at ``p`` and writes ``valid_h`` x ``valid_w`` pixels (at
    most a tile) of each to ``y``, after bias, residual and activation (0: none). What follows
    ``high`` is for whole sums (`sum_stores`), which have no residual.
    """

    p: Pointer
    y: Pointer
    bias: Pointer
    residual: Pointer
    channels: int
    point: int
    tile: int
    row: int
    pixel: int
    r_row: int
    r_pixel: int
    tiles: int
    valid_h: int
    valid_w: int
    activation: int
    low: float
    high: float
    flags: int
    scales: Pointer
    shifts: Pointer
    zero: int
    target: Pointer
    other: Pointer
    addition: Pointer


INPUT, OUTPUT = positions(InputRecord), positions(OutputRecord)
"""Positions of the words of the two records."""
INPUT_WORDS, OUTPUT_WORDS = len(INPUT), len(OUTPUT)
