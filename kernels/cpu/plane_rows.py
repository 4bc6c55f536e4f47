"""Rows of planes under windows, joined element by element, and windows of such rows.

Where windows are two columns apart even and odd elements of a joined row lie apart, so that windows
side by side are, too. NaN stays, and nothing is read beyond the end of a row.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from ..lanes import Lanes
from ..registry import Pointer
from ..shuffle import every_second

_even, _odd = every_second(0), every_second(1)


def rows_joined(lanes: Lanes, join: Any, taps: int) -> Any:
    """Return a function that joins rows of some slices, one below the other."""
    width, store_first, store = lanes.width, lanes.store_first, lanes.store_all
    load_all, load_first = lanes.load_all, lanes.load_first
    size, is_vector = lanes.itemsize, lanes.width > 1

    def column(load: Any) -> tuple[Any, Any]:
        @njit
        def any_joined(
            x: Pointer, c: int, left: int, slices: int, area: int, rows: int, pitch: int
        ) -> Any:
            total = load(x, c, left)
            for r in range(1, rows):
                total = join(total, load(x, r * pitch + c, left))
            for d in range(1, slices):
                for r in range(rows):
                    total = join(total, load(x, d * area + r * pitch + c, left))
            return total

        @njit
        def known_joined(
            x: Pointer, c: int, left: int, slices: int, area: int, rows: int, pitch: int
        ) -> Any:
            total = join(load(x, c, left), load(x, pitch + c, left))
            if taps == 3:
                total = join(total, load(x, 2 * pitch + c, left))
            return total

        return any_joined, known_joined

    @njit
    def load_whole(x: Pointer, index: int, left: int) -> Any:
        return load_all(x, index)

    def row(of_whole: Any, of_first: Any) -> Any:
        @njit
        def joined(
            x: Pointer, y: Pointer, length: int, slices: int, area: int, rows: int, half: int
        ) -> None:
            if not is_vector or half == 0:
                for c in range(0, length - width + 1, width):
                    store(y, c, of_whole(x, c, width, slices, area, rows, length))
                c = length // width * width
                if c < length:
                    left = length - c
                    store_first(y, c, of_first(x, c, left, slices, area, rows, length), left)
                return
            odd = y + half * size
            for c in range(0, length - 2 * width + 1, 2 * width):
                a = of_whole(x, c, width, slices, area, rows, length)
                b = of_whole(x, c + width, width, slices, area, rows, length)
                store(y, c // 2, _even(a, b))
                store(odd, c // 2, _odd(a, b))
            c = length // (2 * width) * 2 * width
            if c < length:
                left = length - c
                a = of_first(x, c, left, slices, area, rows, length)
                b = of_first(x, c + width, left - width, slices, area, rows, length)
                store_first(y, c // 2, _even(a, b), (left + 1) // 2)
                store_first(odd, c // 2, _odd(a, b), left // 2)

        return joined

    any_whole, known_whole = column(load_whole)
    any_first, known_first = column(load_first)
    of_any, of_known = row(any_whole, any_first), row(known_whole, known_first)

    @njit
    def both_joined(
        x: Pointer, y: Pointer, length: int, slices: int, area: int, rows: int, half: int
    ) -> None:
        """Join rows; odd elements lie ``half`` elements behind the even ones, unless that is 0."""
        if taps != 0 and slices == 1 and rows == taps:
            of_known(x, y, length, slices, area, rows, half)
        else:
            of_any(x, y, length, slices, area, rows, half)

    return both_joined


def windows_joined(lanes: Lanes, join: Any, one: Any, scale: Any, known: int) -> Any:
    """Return a function that joins the elements under each window of a row."""
    width, load, store_first = lanes.width, lanes.load_all, lanes.store_first
    load_one, store_one, size, is_vector = lanes.load, lanes.store, lanes.itemsize, width > 1

    @njit
    def tap(x: Pointer, t: int, stride: int, half: int) -> Pointer:
        """Address of what the first window has at a distance from the first element of a row."""
        return x + ((t & 1) * half + (t >> (stride - 1))) * size

    @njit
    def joined(
        x: Pointer, y: Pointer, count: int, taps: int, stride: int, pad: int, half: int,
        inverses: Pointer,
    ) -> None:  # fmt: skip
        if not is_vector or stride > 2:
            for j in range(count):
                total = load_one(x, j * stride - pad)
                for t in range(1, taps):
                    total = one(total, load_one(x, j * stride + t - pad))
                store_one(y, j, scale(total, load_one(inverses, j)))
            return
        for j in range(0, count, width):
            total = load(tap(x, -pad, stride, half), j)
            if known != 0:
                total = join(total, load(tap(x, 1 - pad, stride, half), j))
                if known == 3:
                    total = join(total, load(tap(x, 2 - pad, stride, half), j))
            else:
                for t in range(1 - pad, taps - pad):
                    total = join(total, load(tap(x, t, stride, half), j))
            store_first(y, j, scale(total, load(inverses, j)), count - j)

    return joined
