"""Groups of fields: parts of argument records that several kernels share, each declared once.

A group is a named tuple. A parameter of a kernel that is annotated with one stands for all its
fields, in order, by their own names; the kernel's body gets the tuple of their values. Compiled
code that fills in a record itself addresses its words by `positions`.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

Pointer: TypeAlias = int
"""Byte address."""


class Sizes(NamedTuple):
    """Sizes of a batch of images and of the result's images."""

    images: int
    height: int
    width: int
    out_height: int
    out_width: int


class Window(NamedTuple):
    """Window that moves over an image: its size, strides, dilations and padding in front."""

    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    dilation_h: int
    dilation_w: int
    pad_top: int
    pad_left: int


class Depth(NamedTuple):
    """Third spatial axis of volumes: slices of them, and the window's place among these.

    Images are volumes of one slice, under windows of one tap. The strides are elements between
    slices of input, output and residual.
    """

    slices: int
    out_slices: int
    kernel_d: int
    stride_d: int
    dilation_d: int
    pad_front: int
    x_slice: int
    y_slice: int
    r_slice: int


class Strides(NamedTuple):
    """Elements between images, rows and pixels of input and output."""

    x_image: int
    x_row: int
    x_pixel: int
    y_image: int
    y_row: int
    y_pixel: int


class ResidualStrides(NamedTuple):
    """Elements between images, rows and pixels of the residual; 0 where there is none."""

    r_image: int
    r_row: int
    r_pixel: int


class Tiles(NamedTuple):
    """Rows and vectors of the tile, and tables of tiles' addresses by their number of rows.

    ``tail_tiles`` are for the last panel of output channels, ``tiles`` for all before it. The tiles
    of a panel take about ``panel_bytes`` of its weights at a time, which a cache holds. ``latency``
    are multiply-adds of vectors in the time of a line from memory, and ``bytes_ahead`` those of a
    stream that are under way from there at a time.
    """

    mr: int
    nv: int
    tiles: Pointer
    tail_tiles: Pointer
    panel_bytes: int
    latency: int
    bytes_ahead: int


class Scaled(NamedTuple):
    """What whole sums become: bytes (`byte_vectors`), which lie as the sums do, or float32.

    ``scales`` has one for each channel (0: sums are stored as they are), ``zero`` is the address of
    the zero point (0: zero), and ``target`` of the bytes, which are from ``least`` to ``most``. A
    tile may add ``other`` bytes, which lie alike, as the words at ``addition`` say (`byte_sums`).
    Without a target results are floats where the sums are, to which ``shifts`` are added, one for
    each channel (0: none). Where ``halves`` is 1, sums are float32, and results and residual lie as
    bfloat16.
    """

    scales: Pointer
    shifts: Pointer
    zero: Pointer
    target: Pointer
    is_signed: int
    least: int
    most: int
    other: Pointer
    addition: Pointer
    halves: int


class Epilogue(NamedTuple):
    """Operations on finished values, beside bias and residual.

    An activation of `emitter` with its bounds, then a pointwise kernel (0: none) run over finished
    rows, with the template of its record and the number of its operands.
    """

    activation: int
    low: float
    high: float
    epilogue: Pointer
    epilogue_record: Pointer
    epilogue_operands: int


def positions(group: Any) -> Any:
    """Return a group of its fields' positions, which numba compiles as constants."""
    return group(*range(len(group._fields)))
