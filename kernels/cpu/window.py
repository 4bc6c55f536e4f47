"""Source of kernels that walk a window over each channel: depthwise convolution and pooling.

Images are volumes of one slice.

Channels last, a block of neighbouring output columns, and in it one vector of channels at a time
in registers: an input pixel is loaded once for all the columns that need it. All channels of a
block come before the next block, so that memory is read in order: taking so few channels at a time
that the rows under a window stay in L1 was tried, and lost more by it than it gained.
Of a block there are four forms: inside the image, with a few of its first and last pixels outside,
with any outside (they read a neutral value), and for fewer channels than a vector has. With more
channels the last vector overlaps the one before. A kernel has those forms only that its images may
need (`FORMS`): each is hundreds of statements to compile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numba import njit

from ..fields import Depth, Sizes, Strides, Window
from ..function_sources import define
from ..simd import fma, select, splat, stack_words, vload, vload_first, vmax
from ..target import LANES
from ..vector_memory import ITEM_BYTES, VECTOR_MEMORY

MAX_TAPS = 9


@njit
def taps_inside(at: int, size: int, dilation: int, limit: int) -> Any:
    """First and last (exclusive) tap of a window that begins at ``at`` which lie inside."""
    first = (-at + dilation - 1) // dilation if at < 0 else 0
    last = min(size, max(0, (limit - at + dilation - 1) // dilation))
    return first, last


_NAMES: dict[str, Any] = {
    "Depth": Depth,
    "Sizes": Sizes,
    "Strides": Strides,
    "Window": Window,
    "float32": np.float32,
    "fma": fma,
    "select": select,
    "splat": splat,
    "stack_words": stack_words,
    "taps_inside": taps_inside,
    "vload": vload,
    "vload_first": vload_first,
    "vmax": vmax,
}

_MEMORY = ("load", "store", "load_first", "store_first")
"""What images are read and written by."""

FIELDS = """x: int, y: int, channels: int, sizes: Sizes, window: Window, depth: Depth,
    strides: Strides,"""
_GROUPS: dict[str, Any] = {
    "sizes": Sizes, "window": Window, "depth": Depth, "strides": Strides,
}  # fmt: skip

_BODY = """
def body(thread: int, part: int, until: int, parts: int, {fields}) -> int:
{groups}
    border = stack_words({words})
    store(border, 0, splat({neutral}))
{setup}
    rows = images * out_slices * out_height
    pixel, line = x_pixel * {size}, x_row * dilation_h * {size}
    reach = {stride} * {last_column} + (kernel_w - 1) * dilation_w + 1
    blocks = (channels + {lanes} - 1) // {lanes}
    for row in range(rows * part // parts, rows * until // parts):
        h, d, image = row % out_height, row // out_height, row // out_height // out_slices
        d -= image * out_slices
        front = d * stride_d - pad_front
        kd_first, kd_last = taps_inside(front, kernel_d, dilation_d, slices)
        top = h * stride_h - pad_top
        kh_first, kh_last = taps_inside(top, kernel_h, dilation_h, height)
{row}
        column = 0
        while column < out_width:
            if out_width >= {columns}:
                column = min(column, out_width - {columns})
            left = column * {stride} - pad_left
            over = left + reach - width
            within = channels >= {lanes} and left >= 0 and over <= 0
            near = channels >= {lanes} and out_width >= {columns}
            near = near and left >= -{margin} and over <= {margin}
{sides}
            if not within:
{column}
            for block in range(blocks):
                c = block * {lanes}
                if channels >= {lanes}:
                    c = min(c, channels - {lanes})
                count = channels - c
                source = x + (image * x_image + front * x_slice + top * x_row + c) * {size}
                source += left * pixel + kh_first * line
                target = y + (image * y_image + d * y_slice + h * y_row + c) * {size}
{channel}
{forms}
            column += {columns}
{after}
    return 0
"""


# Sums that are independent: two units that take four cycles each want eight.
_COLUMNS = 8

FORMS = {
    "all": ("inside", "beside", "edge", "narrow"),
    "vectors": ("inside", "beside", "edge"),
    "near": ("inside", "beside"),
    "few": ("narrow",),
}
"""Forms of blocks that a kernel has: for any images; for those of at least a vector of channels; if
also no block has more pixels outside than `margin_of` says; for those of fewer channels."""
_CONDITIONS = {"inside": "within", "beside": "near", "edge": f"count >= {LANES}"}


def margin_of(taps: int, stride: int, columns: int) -> int:
    """Pixels at either end of a block that the form beside an image's edge has outside it."""
    return min(taps // 2, ((columns - 1) * stride + taps) // 2)


def columns_for(width: object, most: int = _COLUMNS) -> int:
    """Columns of a block: divides an image of a known width evenly, where it can.

    Parameters
    ----------
    width : int or any
        Columns of the output; no integer when unknown.
    most : int
        That are worth having at a time.
    """
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
    kind: str = "f32",
    taken: str = "",
    together: str = "",
    forms: str = "all",
    setup: str = "",
    row: str = "",
    column: str = "",
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
    kind : str
        What images have in memory, of `VECTOR_MEMORY`; all else is float32. Results do, too, unless
        ``names`` have other stores, ``put`` and ``put_first``, for as many bytes.
    taken : str
        Statement behind the load of a pixel ``v``.
    together : str
        Statement that stores all results of a block, the first at ``{at}``, of sums in the tuple
        ``{sums}``; where there is none, and at the border, they are stored one by one.
    forms : str
        Which blocks there are, of `FORMS`.
    setup, row, column, channel, after : str
        Statements before all rows, before a row, for column ``{j}`` of a block that is not
        inside, before a vector of channels, after a row.
    **names
        What else the statements use.
    """
    size = ITEM_BYTES[kind]
    block = _Block(taps, stride, columns, start, step, finish, filters, size, taken, together)
    source = _BODY.format(
        fields=FIELDS + fields,
        groups=_indent("\n".join(f"{', '.join(g._fields)} = {n}" for n, g in _GROUPS.items()), 4),
        words=LANES // 2,
        neutral=neutral,
        lanes=LANES,
        size=size,
        stride=stride,
        columns=columns,
        last_column=columns - 1,
        margin=block.margin,
        forms=_indent("\n".join(_choice(block, FORMS[forms])), 16),
        sides=_indent("\n".join([*block.sides(), "pass"]), 12),
        column=_indent("\n".join([*(column.format(j=j) for j in range(columns)), "pass"]), 16),
        setup=_indent(setup, 4),
        row=_indent(row, 8),
        channel=_indent(channel, 16),
        after=_indent(after, 8),
    )
    memory = zip(_MEMORY, VECTOR_MEMORY[kind], strict=True)
    scope: dict[str, Any] = {**_NAMES, **dict(memory)}
    scope |= {"put": scope["store"], "put_first": scope["store_first"], **names}
    define(source, scope)
    body: Callable[..., int] = scope["body"]
    body.__module__, body.__qualname__ = module, name
    return body


def _choice(block: _Block, forms: Sequence[str]) -> Iterator[str]:
    """Statements that compute a block in the first form whose condition holds, or in the last."""
    for form in forms[:-1]:
        yield f"{'if' if form == forms[0] else 'elif'} {_CONDITIONS[form]}:"
        yield block.source(form)
    yield "else:" if len(forms) > 1 else "if True:"
    yield block.source(forms[-1])


def _filter(load: str) -> str:
    """Load of a filter, which is float32 whatever the images are."""
    return f"v{load.format('weights')}"


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
        size: int,
        taken: str,
        together: str,
    ) -> None:
        self.size, self.taken, self.together = size, taken.splitlines(), together
        self.taps, self.stride, self.columns = taps, stride, columns
        self.start, self.step, self.finish, self.filters = start, step, finish, filters

        # Pixels at both ends that may lie outside in the form "beside".
        self.pixels = (columns - 1) * stride + taps
        self.margin = margin_of(taps, stride, columns)
        border_pixels = {*range(self.margin), *range(self.pixels - self.margin, self.pixels)}
        self.border_pixels = sorted(i for i in border_pixels if self._users(i))

    def sides(self) -> list[str]:
        """Statements before a block's channels: how far apart the border pixels of rows are."""
        return [f"line{i} = line if 0 <= left + {i} < width else 0" for i in self.border_pixels]

    def source(self, form: str) -> str:
        """Statements for one vector of channels; ``form`` is one of `FORMS`."""
        if form == "beside" and not self.border_pixels:
            return _indent("pass", 4)
        masked, edge = form == "narrow", form in ("edge", "narrow")
        load = "load_first({}, 0, count)" if masked else "load({}, 0)"
        lines = [self.start.format(j=j) for j in range(self.columns)]
        lines.append("for kd in range(kd_first, kd_last):")
        lines.append(f"    at = source + kd * dilation_d * x_slice * {self.size}")
        if form == "beside":
            lines += [
                f"    at{i} = at + {i} * pixel if line{i} != 0 else border"
                for i in self.border_pixels
            ]
        lines.append("    for kh in range(kh_first, kh_last):")
        if self.filters:
            tap = "(kd * kernel_h + kh) * kernel_w"
            lines.append(f"        weights = w + ({tap} * channels + c) * 4")
        walk = self._shared(form, load) if self.taps else self._separate(edge, load)
        lines += [f"        {line}" for line in [*walk, "at += line"]]
        lines += self._stores(form)
        return _indent("\n".join("\n".join(lines).splitlines()), 4)

    def _stores(self, form: str) -> list[str]:
        """Statements that store the results of a block."""
        masked, edge = form == "narrow", form in ("edge", "narrow")
        at = "target + (column + {j}) * y_pixel * {size}"
        if self.together and not edge:
            sums = "".join(f"s{j}, " for j in range(self.columns))
            return [self.together.format(at=at.format(j=0, size=self.size), sums=f"({sums})")]
        lines = []
        for j in range(self.columns):
            value = self.finish.format(j=j, edge=int(form != "inside"))
            place = at.format(j=j, size=self.size)
            store = f"put({place}, 0, {value})"
            if masked:
                store = f"put_first({place}, 0, {value}, count)"
            lines.append(f"if column + {j} < out_width: {store}" if edge else store)
        return lines

    def _users(self, i: int) -> list[tuple[int, int]]:
        """Columns that read pixel i, each with the tap that it has there."""
        taps = ((j, i - j * self.stride) for j in range(self.columns))
        return [(j, k) for j, k in taps if 0 <= k < self.taps]

    def _pixel(self, edge: bool, load: str, at: str, position: str) -> list[str]:
        if edge:
            at = f"({at} if 0 <= {position} and {position} < width else border)"
        return ["v = " + load.format(at), *self.taken]

    def _take(self, j: int, tap: str) -> list[str]:
        return self.step.format(j=j, f=f"f{tap}").splitlines()

    def _shared(self, form: str, load: str) -> list[str]:
        edge = form in ("edge", "narrow")
        lines = []
        if self.filters:
            for k in range(self.taps):
                lines += [f"f{k} = {_filter(load)}", "weights += channels * 4"]
        for i in range(self.pixels):
            users = self._users(i)
            if not users:
                continue
            if form == "beside" and i in self.border_pixels:
                lines += [*self._pixel(False, load, f"at{i}", ""), f"at{i} += line{i}"]
            else:
                lines += self._pixel(edge, load, f"at + {i} * pixel", f"left + {i}")
            for j, k in users:
                lines += self._take(j, str(k))
        return lines

    def _separate(self, edge: bool, load: str) -> list[str]:
        # Of a window much wider than the image, only the taps that meet it for some column.
        last = f"left + {(self.columns - 1) * self.stride}"
        lines = [
            f"kw_first = taps_inside({last}, kernel_w, dilation_w, width)[0]",
            "kw_last = taps_inside(left, kernel_w, dilation_w, width)[1]",
            "tap = at + kw_first * dilation_w * pixel",
        ]
        if self.filters:
            lines.append("weights += kw_first * channels * 4")
        lines.append("for k in range(kw_first, kw_last):")
        inner = []
        if self.filters:
            inner += [f"f = {_filter(load)}", "weights += channels * 4"]
        for j in range(self.columns):
            shift = j * self.stride
            position = f"left + {shift} + k * dilation_w"
            inner += self._pixel(edge, load, f"tap + {shift} * pixel", position)
            inner += self._take(j, "")
        inner.append("tap += dilation_w * pixel")
        return lines + [f"    {line}" for line in inner]
