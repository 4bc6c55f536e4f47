"""Source of kernels that walk a window over each channel: depthwise convolution and pooling.

Channels last, a block of neighbouring output columns, and in it one vector of channels at a time
in registers: an input pixel is loaded once for all the columns that need it. All channels of a
block come before the next block, so that memory is read in order. Of a block there are three
forms: inside the image, at its border (what lies outside reads a neutral value), and for fewer
channels than a vector has. With more channels the last vector overlaps the one before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from ..simd import fma, select, splat, stack_words, vload, vload_first, vmax, vstore, vstore_first
from ..target import LANES, REGISTERS

MAX_TAPS = 9


@njit
def taps_inside(at: int, size: int, dilation: int, limit: int) -> Any:
    """First and last (exclusive) tap of a window that begins at ``at`` which lie inside."""
    first = (-at + dilation - 1) // dilation if at < 0 else 0
    last = min(size, max(0, (limit - at + dilation - 1) // dilation))
    return first, last


_NAMES: dict[str, Any] = {
    "float32": np.float32,
    "fma": fma,
    "select": select,
    "splat": splat,
    "stack_words": stack_words,
    "taps_inside": taps_inside,
    "vload": vload,
    "vload_first": vload_first,
    "vmax": vmax,
    "vstore": vstore,
    "vstore_first": vstore_first,
}

FIELDS = """x: int, y: int, images: int, height: int, width: int, channels: int,
    out_height: int, out_width: int, kernel_h: int, kernel_w: int, stride_h: int, stride_w: int,
    dilation_h: int, dilation_w: int, pad_top: int, pad_left: int,
    x_image: int, x_row: int, x_pixel: int, y_image: int, y_row: int, y_pixel: int,"""

_BODY = """
def body(thread: int, threads: int, {fields}) -> int:
    border = stack_words({words})
    vstore(border, 0, splat({neutral}))
{setup}
    rows = images * out_height
    pixel = x_pixel * 4
    blocks = (channels + {lanes} - 1) // {lanes}
    reach = {stride} * {last_column} + (kernel_w - 1) * dilation_w + 1
    for row in range(rows * thread // threads, rows * (thread + 1) // threads):
        image, h = row // out_height, row % out_height
        top = h * stride_h - pad_top
        kh_first, kh_last = taps_inside(top, kernel_h, dilation_h, height)
{row}
        column = 0
        while column < out_width:
            if out_width >= {columns}:
                column = min(column, out_width - {columns})
            left = column * {stride} - pad_left
            within = channels >= {lanes} and left >= 0 and left + reach <= width
            for block in range(blocks):
                c = block * {lanes}
                if channels >= {lanes}:
                    c = min(c, channels - {lanes})
                count = channels - c
                source = x + (image * x_image + c) * 4
                target = y + (image * y_image + h * y_row + c) * 4
{channel}
                if within:
{inside}
                elif count >= {lanes}:
{edge}
                else:
{narrow}
            column += {columns}
{after}
    return 0
"""


def columns_for(width: object, taps: int, registers: int = 1) -> int:
    """Columns of a block: divides an image of a known width evenly, where it can.

    Parameters
    ----------
    width : int or any
        Columns of the output; no integer when unknown.
    taps : int
        Of a window's row: a long chain of additions is best split over many columns.
    registers : int
        That a column keeps.
    """
    most = 8 if REGISTERS >= 32 or (taps > 4 and registers == 1) else 4
    if not isinstance(width, int):
        return most
    pieces = max(1, -(-width // most))
    return max(1, -(-width // pieces))


def window_kernel(
    module: str,
    name: str,
    taps: int,
    stride: int,
    columns: int,
    *,
    fields: str,
    neutral: str,
    start: str,
    step: str,
    finish: str,
    filters: bool = False,
    setup: str = "",
    row: str = "",
    channel: str = "",
    after: str = "",
    **names: Any,
) -> Callable[..., int]:
    """Make the body of a kernel.

    Parameters
    ----------
    module, name : str
        Of the kernel factory.
    taps : int
        Width of the window when it is known and not dilated, so that neighbouring columns share
        their pixels; 0 for any.
    stride, columns : int
        Step between output columns, and how many are in registers.
    fields : str
        Parameters after the common ones.
    neutral : str
        What pixels outside the image read as.
    start, step, finish : str
        For column ``{j}``: first value of the sum ``s{j}``; taking in a pixel ``v`` under the
        filter ``f``; and the result. ``{edge}`` in ``finish`` is 1 at the border.
    filters : bool
        Whether there are filters, at ``w``, as (kh, kw, channels).
    setup, row, channel, after : str
        Statements before all rows, before a row, before a vector of channels, after a row.
    **names
        What else the statements use.
    """
    block = _Block(taps, stride, columns, start, step, finish, filters)
    source = _BODY.format(
        fields=FIELDS + fields,
        words=LANES // 2,
        neutral=neutral,
        lanes=LANES,
        stride=stride,
        columns=columns,
        last_column=columns - 1,
        inside=block.source(edge=False, masked=False),
        edge=block.source(edge=True, masked=False),
        narrow=block.source(edge=True, masked=True),
        setup=_indent(setup, 4),
        row=_indent(row, 8),
        channel=_indent(channel, 16),
        after=_indent(after, 8),
    )
    scope: dict[str, Any] = {**_NAMES, **names}
    exec(source, scope)
    body: Callable[..., int] = scope["body"]
    body.__module__, body.__qualname__ = module, name
    return body


def _indent(text: str, by: int) -> str:
    return "\n".join(" " * by + line for line in text.splitlines())


class _Block:
    """Statements that compute one block of columns."""

    def __init__(
        self,
        taps: int,
        stride: int,
        columns: int,
        start: str,
        step: str,
        finish: str,
        filters: bool,
    ) -> None:
        self.taps, self.stride, self.columns = taps, stride, columns
        self.start, self.step, self.finish, self.filters = start, step, finish, filters

    def source(self, edge: bool, masked: bool) -> str:
        load = "vload_first({}, 0, count)" if masked else "vload({}, 0)"
        lines = [self.start.format(j=j) for j in range(self.columns)]
        lines.append("for kh in range(kh_first, kh_last):")
        walk = self._shared(edge, load) if self.taps else self._separate(edge, load)
        lines += [f"    {line}" for line in walk]
        for j in range(self.columns):
            value = self.finish.format(j=j, edge=int(edge))
            at = f"target + (column + {j}) * y_pixel * 4"
            store = f"vstore({at}, 0, {value})"
            if masked:
                store = f"vstore_first({at}, 0, {value}, count)"
            lines.append(f"if column + {j} < out_width: {store}" if edge else store)
        return _indent("\n".join("\n".join(lines).splitlines()), 20)

    def _pixel(self, edge: bool, load: str, at: str, position: str) -> str:
        if edge:
            at = f"({at} if 0 <= {position} and {position} < width else border)"
        return "v = " + load.format(at)

    def _take(self, j: int, tap: str) -> list[str]:
        return self.step.format(j=j, f=f"f{tap}").splitlines()

    def _row(self) -> list[str]:
        lines = ["at = source + ((top + kh * dilation_h) * x_row + left * x_pixel) * 4"]
        if self.filters:
            lines.append("weights = w + (kh * kernel_w * channels + c) * 4")
        return lines

    def _shared(self, edge: bool, load: str) -> list[str]:
        lines = self._row()
        if self.filters:
            for k in range(self.taps):
                lines += [f"f{k} = {load.format('weights')}", "weights += channels * 4"]
        for i in range((self.columns - 1) * self.stride + self.taps):
            users = [
                (j, i - j * self.stride)
                for j in range(self.columns)
                if 0 <= i - j * self.stride < self.taps
            ]
            if users:
                lines.append(self._pixel(edge, load, "at", f"left + {i}"))
                for j, k in users:
                    lines += self._take(j, str(k))
            lines.append("at += pixel")
        return lines

    def _separate(self, edge: bool, load: str) -> list[str]:
        lines = [*self._row(), "for k in range(kernel_w):"]
        inner = []
        if self.filters:
            inner += [f"f = {load.format('weights')}", "weights += channels * 4"]
        for j in range(self.columns):
            shift = j * self.stride
            position = f"left + {shift} + k * dilation_w"
            inner.append(self._pixel(edge, load, f"at + {shift} * pixel", position))
            inner += self._take(j, "")
        inner.append("at += dilation_w * pixel")
        return lines + [f"    {line}" for line in inner]
