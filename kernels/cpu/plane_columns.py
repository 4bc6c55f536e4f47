"""Columns of a plane's result, pooled by vectors: small windows, one or two columns apart.

A vector of results goes down the plane. The elements of a row that are under its windows are joined
in registers, and what windows one below the other have in common stays there. Rows beyond the plane
are read from a row of elements that change no result; so are columns, by masks, in the first and
last vectors.

Vectors reach beyond the ends of rows: what is read there is masked, what is written is overwritten
by the next row. A maximum loses NaN, so a sum of all that is read is made beside it, which other
units of a processor compute: it is NaN where any element is, or where there are infinities of both
signs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from ..function_sources import define
from ..registry import Pointer
from ..shuffle import every_second_in_pieces, pieces_in_order
from ..simd import between, select, splat, vload, vmax, vstore, vstore_first
from ..target import LANES

MOST = 5
"""Rows and columns of windows at most: so many vectors are in registers."""
BEYOND = 2 * LANES + 8
"""Elements that are read behind the end of a row, and `MOST` at most ahead of it."""


class Windows(NamedTuple):
    """Windows of a pooling along two axes: taps and steps between windows."""

    rows: int
    columns: int
    row_stride: int
    column_stride: int

    @property
    def are_small(self) -> bool:
        """Tell whether `columns_joined` takes them."""
        small = max(self.rows, self.columns, self.row_stride) <= MOST
        return small and min(self) >= 1 and self.column_stride <= 2

    def instructions(self) -> int:
        """Return how many instructions a vector of results takes."""
        new, loads = min(self.rows, self.row_stride), -(-self.columns // self.column_stride)
        joins = new * (self.columns - 1) + self.rows - 1
        shuffles = new * self.columns + 1 if self.column_stride == 2 else 0
        return new * loads * self.column_stride + joins + shuffles + 3


NO_WINDOWS = Windows(0, 0, 0, 0)
"""Stands for any windows."""


class Planes(NamedTuple):
    """Planes, and how windows lie on them.

    Attributes
    ----------
    pad_left, pad_bottom
        Columns and rows that are added at these sides.
    counting
        Index into `pool.COUNTING`.
    border
        Row of elements that change no result, as long as a plane's and what may be read beside it.
    counts
        Numbers of columns that each window of a row has.
    """

    height: int
    width: int
    out_width: int
    pad_left: int
    pad_bottom: int
    counting: int
    border: Pointer
    counts: Pointer


class Band(NamedTuple):
    """Some rows of a plane of the result.

    Attributes
    ----------
    source
        The plane.
    y, room
        First row of the result, and elements that may be written from there on.
    lines
        Rows of the result.
    top
        Row of the plane at which the first window begins, which may lie ahead of it.
    slices
        By which means are divided, beside rows and columns.
    """

    source: Pointer
    y: Pointer
    room: int
    lines: int
    top: int
    slices: int


@njit
def _rows_counted(own: Planes, top: int, rows: int) -> int:
    """Rows of a window that a mean is taken over."""
    if own.counting == 2:
        return 1
    if own.counting == 1:
        return min(rows, own.height + own.pad_bottom - top)
    return min(rows, own.height - top) - max(-top, 0)


@njit
def _sum(a: Any, b: Any) -> Any:
    return a + b


_BODY = """
def column(own: Planes, band: Band, j: int, first: int, last: int, seen):
    line, left = own.width * 4, j * {stride} - own.pad_left
    none, row = splat(float32({neutral})), band.top
    at = band.source + row * line + left * 4
    beside, to, room = own.border + left * 4, band.y + j * 4, band.room - j
    if room < last * own.out_width + {lanes}:
        last = max((room - {lanes}) // own.out_width + 1, first)
{setup}
    k = 0
    while k < band.lines:
        if k == first:
            for _ in range(last - first):
{inside}
                vstore(to, 0, total)
                at, to = at + {row_stride} * line, to + own.out_width * 4
            row, room = row + (last - first) * {row_stride}, room - (last - first) * own.out_width
            k = max(last, first)
        if k < band.lines:
{beside}
            vstore_first(to, 0, total, room)
            at, to = at + {row_stride} * line, to + own.out_width * 4
            row, room, k = row + {row_stride}, room - own.out_width, k + 1
    return seen
"""
_WEIGHTS = """
counts, taken = vload(own.counts, j), 1 if own.counting == 2 else {rows}
weights = splat(float32(1.0)) / (counts * splat(float32(taken * band.slices)))
"""
_WEIGH = """
taken = rows_counted(own, row, {rows}) * band.slices
total = total * (splat(float32(1.0)) / (counts * splat(float32(taken))))
"""
_NAMES: dict[str, Any] = {
    "Band": Band,
    "Planes": Planes,
    "between": between,
    "even": every_second_in_pieces(0),
    "float32": np.float32,
    "inf": np.inf,
    "odd": every_second_in_pieces(1),
    "pieces_in_order": pieces_in_order,
    "rows_counted": _rows_counted,
    "select": select,
    "splat": splat,
    "vload": vload,
    "vstore": vstore,
    "vstore_first": vstore_first,
}


class _Column:
    """Text of a function that pools a column of vectors."""

    def __init__(self, windows: Windows, is_mean: bool, is_edge: bool) -> None:
        self.windows, self.is_mean, self.is_edge = windows, is_mean, is_edge
        self.places = [
            tap + vector * LANES
            for tap in range(0, windows.columns, windows.column_stride)
            for vector in range(windows.column_stride)
        ]
        if windows.columns == 1 and windows.column_stride == 1:
            self.places = [0]

    def text(self) -> str:
        """Return the function's text."""
        windows = self.windows
        setup = self._masks()
        for i in range(self.kept):
            setup += [*self._address(i, False), *self._row(f"h{i}", [i])]
        if self.is_mean:
            setup += _WEIGHTS.format(rows=windows.rows).splitlines()
        weigh = _WEIGH.format(rows=windows.rows).splitlines() if self.is_mean else []
        return _BODY.format(
            stride=windows.column_stride,
            row_stride=windows.row_stride,
            neutral="0.0" if self.is_mean else "-inf",
            lanes=LANES,
            setup=_indented(setup, 4),
            inside=_indented(self._line(True, ["total = total * weights"] * self.is_mean), 16),
            beside=_indented(self._line(False, weigh), 12),
        )

    @property
    def kept(self) -> int:
        """Rows that a window has in common with the one below."""
        return max(self.windows.rows - self.windows.row_stride, 0)

    def _line(self, is_inside: bool, weigh: list[str]) -> list[str]:
        """Statements that compute a vector, from rows of which some may lie beyond the plane."""
        windows, lines = self.windows, []
        for i in range(self.kept, windows.rows):
            lines += self._address(i, is_inside)
            lines += self._row(f"h{i}", [i]) if self.kept else []
        lines += [] if self.kept else self._row("h0", list(range(windows.rows)))
        lines += _chain("total", [f"h{i}" for i in range(windows.rows if self.kept else 1)])
        if windows.column_stride == 2:
            lines.append("total = pieces_in_order(total)")
        return lines + weigh + [f"h{i} = h{i + windows.row_stride}" for i in range(self.kept)]

    def _masks(self) -> list[str]:
        """Statements that say which lanes of each load are columns of the plane."""
        if not self.is_edge:
            return []
        return [f"inside{p} = between(-left - {p}, own.width - left - {p})" for p in self.places]

    def _address(self, i: int, is_inside: bool) -> list[str]:
        address, inside = f"at + {i} * line", f"0 <= row + {i} and row + {i} < own.height"
        return [f"a{i} = {address}" if is_inside else f"a{i} = {address} if {inside} else beside"]

    def _row(self, name: str, rows: list[int]) -> list[str]:
        """Statements that join what some rows have under the windows."""
        lines, watched = [], []
        last = self.windows.column_stride
        for n, p in enumerate(self.places):
            values = []
            for i in rows:
                load = f"vload(a{i}, {p})"
                values.append(f"v{i}_{p}")
                lines.append(
                    f"v{i}_{p} = " + (f"select(inside{p}, {load}, none)" if self.is_edge else load)
                )
            # What the other loads read is under the first ones of the next vectors, too.
            watched += values if n < last or self.is_edge else []
            lines += _chain(f"v{p}", values)
        if not self.is_mean:
            lines += [
                f"own_seen = {' + '.join(watched)}",
                "seen = seen + own_seen",
            ]
        if self.windows.column_stride == 1:
            return lines + _chain(name, [f"v{p}" for p in self.places])
        taps = []
        for tap in range(self.windows.columns):
            first = tap // 2 * 2
            pick = "odd" if tap % 2 else "even"
            lines.append(f"t{tap} = {pick}(v{first}, v{first + LANES})")
            taps.append(f"t{tap}")
        return lines + _chain(name, taps)


def _chain(name: str, values: list[str]) -> list[str]:
    """Statements that join some values."""
    lines = [f"{name} = {values[0]}"]
    return lines + [f"{name} = join({name}, {value})" for value in values[1:]]


def _indented(lines: list[str], by: int) -> str:
    return "\n".join(" " * by + line for line in lines)


def columns_joined(windows: Windows, is_mean: bool) -> Any:
    """Return a function of planes, a band and a vector of zeros, which pools the band.

    It returns a sum of what it has read, if it is of maxima. ``source`` has to have `BEYOND`
    elements behind the band's last row, and `MOST` ahead of the first one, that may be read.

    Parameters
    ----------
    windows
        Which are small.
    is_mean
        Whether means are computed, else maxima.
    """

    def column(is_edge: bool) -> Any:
        scope = _NAMES | {"join": _sum if is_mean else vmax}
        define(_Column(windows, is_mean, is_edge).text(), scope)
        own = scope["column"]
        own.__module__ = __name__
        return njit(own)

    inside, edge = column(False), column(True)
    reach = (LANES - 1) * windows.column_stride + windows.columns
    rows, columns, rows_apart, stride = windows

    @njit
    def joined(own: Planes, band: Band, seen: Any) -> Any:
        # Lines whose windows have all rows inside.
        first = min((max(-band.top, 0) + rows_apart - 1) // rows_apart, band.lines)
        last = max(min((own.height - rows - band.top) // rows_apart + 1, band.lines), first)
        limit = own.width
        if columns <= stride and own.out_width * stride - own.pad_left <= own.width:
            limit += reach  # no window has a column beyond the plane, and none is seen by others
        # The last vector writes beyond the ends of rows, which the first one writes later.
        for v in range((own.out_width - 1) // LANES, -1, -1):
            left = v * LANES * stride - own.pad_left
            if left >= 0 and left + reach <= limit:
                seen = inside(own, band, v * LANES, first, last, seen)
            else:
                seen = edge(own, band, v * LANES, first, last, seen)
        return seen

    return joined
