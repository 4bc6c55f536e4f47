"""Max pooling over small windows without dilation, channels last, of floats or words of bytes.

An element taken twice does not change a maximum: where a window reaches beyond the image it reads
the image's nearest row or column again, which it has anyway, so nothing is ever compared with a
border. Maxima of the columns of a window are taken first and shared by the windows side by side;
a column of a volume's window has rows of several slices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from ..byte_vectors import vmax_i8, vmax_u8
from ..fields import Depth, Sizes, Strides
from ..function_sources import define
from ..registry import kernel_factory
from ..simd import (
    load_i64,
    ordered,
    select,
    splat,
    stack_words,
    store_i64,
    vload,
    vload_first,
    vload_i32,
    vload_i32_first,
    vmax,
    vstore,
    vstore_first,
    vstore_i32,
    vstore_i32_first,
)
from ..target import LANES
from ..vector_memory import VECTOR_MEMORY
from .window import columns_for


@njit
def _inside(at: int, size: int) -> int:
    return min(max(at, 0), size - 1)


def columns_of(out_width: object, width: int) -> int:
    """Columns to compute at a time: few, so that memory is read nearly in order."""
    return columns_for(out_width, 2 if width < 3 else 4 if width < 6 else 8)


_NAMES: dict[str, Any] = {
    "Depth": Depth,
    "Sizes": Sizes,
    "Strides": Strides,
    "float32": np.float32,
    "inf": np.inf,
    "inside": _inside,
    "load_i64": load_i64,
    "ordered": ordered,
    "select": select,
    "splat": splat,
    "stack_words": stack_words,
    "store_i64": store_i64,
}
_FLOATS: dict[str, Any] = {
    "vload": vload,
    "vload_first": vload_first,
    "vmax": vmax,
    "vstore": vstore,
    "vstore_first": vstore_first,
}
_WORDS: dict[str, Any] = {
    "vload": vload_i32,
    "vload_first": vload_i32_first,
    "vstore": vstore_i32,
    "vstore_first": vstore_i32_first,
}
_NAMES_OF_MEMORY = ("vload", "vstore", "vload_first", "vstore_first")
_KINDS = {
    "f32": _FLOATS,
    "bf16": _FLOATS | dict(zip(_NAMES_OF_MEMORY, VECTOR_MEMORY["bf16"], strict=True)),
    "i8": _WORDS | {"vmax": vmax_i8},
    "u8": _WORDS | {"vmax": vmax_u8},
}

_BODY = """
def body(
    thread: int, part: int, until: int, parts: int,
    x: int, y: int, channels: int, sizes: Sizes, stride_h: int, pad_top: int, pad_left: int,
    depth: Depth, strides: Strides,
) -> int:
    nan = splat(float32(inf) - float32(inf))
    offsets = stack_words({pixels})
    rows = sizes.images * depth.out_slices * sizes.out_height
    pixel = strides.x_pixel * {size}
    blocks = (channels + {lanes} - 1) // {lanes}
    for row in range(rows * part // parts, rows * until // parts):
        h, d = row % sizes.out_height, row // sizes.out_height % depth.out_slices
        image = row // sizes.out_height // depth.out_slices
        front, top = d * depth.stride_d - depth.pad_front, h * stride_h - pad_top
        source = x + image * strides.x_image * {size}
{rows}
        column = 0
        while column < sizes.out_width:
            if sizes.out_width >= {columns}:
                column = min(column, sizes.out_width - {columns})
            left = column * {stride} - pad_left
            full = channels >= {lanes} and sizes.out_width >= {columns}
            within = full and left >= 0 and left + {pixels} <= sizes.width
            if not within:
                for i in range({pixels}):
                    store_i64(offsets, i, inside(left + i, sizes.width) * pixel)
            for block in range(blocks):
                c = block * {lanes}
                if channels >= {lanes}:
                    c = min(c, channels - {lanes})
                count = channels - c
                target = image * strides.y_image + d * depth.y_slice + h * strides.y_row + c
                target = y + target * {size}
                target += column * strides.y_pixel * {size}
                if within:
                    at = left * pixel
{within}
                elif full:
{full}
                else:
{narrow}
            column += {columns}
    return 0
"""


@kernel_factory
def max_pool(
    depth: int, height: int, width: int, stride: int, columns: int, kind: str = "f32"
) -> Callable[..., int]:
    """Build the maximum over ``depth`` x ``height`` x ``width`` windows; NaN where one has a NaN.

    Windows are ``stride`` columns apart, and every one has an element inside the image.
    ``columns`` of the output are computed at a time. An element is a float32, a bfloat16, or a word
    of the bytes ``"i8"`` or ``"u8"`` of four channels. Strides in elements; output rows of all
    slices are split into parts.
    """
    pixels, has_nan = (columns - 1) * stride + width, kind in ("f32", "bf16")
    size, rows = 2 if kind == "bf16" else 4, depth * height
    # A NaN of a maximum's first operand stays in it, and need not be looked for.
    stays = _pairs(rows - 1) * stride + _pairs(width - 1) < _pairs(rows) * stride

    def form(load: str, store: str, offset: str) -> str:
        lines = []
        for i in range(pixels):
            users = [(j, i - j * stride) for j in range(columns) if 0 <= i - j * stride < width]
            if users:
                first = 0 if has_nan and not stays else 1 if has_nan else None
                lines += _column(depth * height, load, offset.format(i=i), i, first)
            for j, k in users:
                new = k == 0
                lines.append(f"s{j} = m{i}" if new else f"s{j} = vmax(s{j}, m{i})")
                if k == width - 1:
                    value = f"s{j}"
                    window = range(j * stride, j * stride + width)
                    known = _known(window, stays, rows) if has_nan else []
                    if known:
                        lines.append(f"o{j} = {' & '.join(known)}")
                        value = f"select(o{j}, s{j}, nan)"
                    lines += store.format(j=j, v=value).splitlines()
        return "\n".join(" " * 20 + line for line in lines)

    lines = []
    for k in range(depth):
        lines.append(f"slice = source + inside(front + {k}, depth.slices) * depth.x_slice * {size}")
        lines += [
            f"r{k * height + i} = slice + inside(top + {i}, sizes.height) * strides.x_row * {size}"
            for i in range(height)
        ]
    plain = "vstore(target, {j} * strides.y_pixel, {v})"
    masked = "if column + {j} < sizes.out_width:\n"
    masked += "    vstore_first(target, {j} * strides.y_pixel, {v}, count)"
    source = _BODY.format(
        pixels=pixels,
        columns=columns,
        stride=stride,
        lanes=LANES,
        size=size,
        rows="\n".join(" " * 8 + line for line in lines),
        within=form("vload({}, c)", plain, "at + {i} * pixel"),
        full=form("vload({}, c)", plain, "load_i64(offsets, {i})"),
        narrow=form("vload_first({}, c, count)", masked, "load_i64(offsets, {i})"),
    )
    scope = _NAMES | _KINDS[kind]
    define(source, scope)
    body: Callable[..., int] = scope["body"]
    body.__module__, body.__qualname__ = __name__, "max_pool"
    return body


def _pairs(count: int) -> int:
    return -(-count // 2)


def _are_numbers(names: list[str]) -> list[str]:
    """Expressions that are true where no vector has a NaN: one for each two of them."""
    pairs = [(i, min(i + 1, len(names) - 1)) for i in range(0, len(names), 2)]
    return [f"ordered({names[i]}, {names[j]})" for i, j in pairs]


def _column(height: int, load: str, offset: str, i: int, first: int | None) -> list[str]:
    """Statements that give the maximum ``m{i}`` of a window's column.

    With ``first``, ``c{i}`` says where no row from that one on has a NaN.
    """
    lines = [f"at_i = {offset}"]
    lines += [f"v{row} = " + load.format(f"r{row} + at_i") for row in range(height)]
    lines.append(f"m{i} = v0")
    lines += [f"m{i} = vmax(m{i}, v{row})" for row in range(1, height)]
    tests = [] if first is None else _are_numbers([f"v{row}" for row in range(first, height)])
    return lines + ([f"c{i} = {' & '.join(tests)}"] if tests else [])


def _known(columns: range, stays: bool, rows: int) -> list[str]:
    """Masks that together say where a window has no NaN but those that are its maximum already.

    Comparisons come last: an instruction compares and joins what is known.
    """
    if not stays:
        return [f"c{i}" for i in columns]
    own = [f"c{i}" for i in columns] if rows > 1 else []
    return own + _are_numbers([f"m{i}" for i in columns[1:]])
