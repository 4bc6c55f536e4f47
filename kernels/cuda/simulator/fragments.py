"""Fragments: which element of a matrix each register of each lane of a warp holds.

From PTX ISA 9.0, section 9.7.14.5 ("Matrix multiply-accumulate operation using mma instruction"),
whose tables are written here as they stand there: by ``groupID = lane >> 2`` and
``threadID_in_group = lane % 4``, for the element ``i`` of a lane's fragment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Place = Callable[[int, int, int], tuple[int, int]]
"""(group, thread in it, element of the fragment) to (row, column)."""


@dataclass(frozen=True)
class Shape:
    """Shape of a product of fragments, and where their elements are.

    Attributes
    ----------
    m, n, k : int
        A is m x k, B k x n, C and D m x n.
    bits : int
        Of an element of A and B.
    a, b, c : function
        Places of elements.
    """

    m: int
    n: int
    k: int
    bits: int
    a: Place
    b: Place
    c: Place

    def indices(self, which: str) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and columns of a matrix's elements: arrays of [lane, element]."""
        size = {"a": self.m * self.k, "b": self.k * self.n, "c": self.m * self.n}[which]
        place: Place = getattr(self, which)
        table = [[place(lane >> 2, lane % 4, i) for i in range(size // 32)] for lane in range(32)]
        rows, columns = np.moveaxis(np.array(table), 2, 0)
        return rows, columns


def _c(group: int, thread: int, i: int) -> tuple[int, int]:
    """Figures of accumulators: the same for all shapes that are 16 x 8."""
    return group if i < 2 else group + 8, thread * 2 + (i & 1)


def _a16(group: int, thread: int, i: int) -> tuple[int, int]:
    """Section 9.7.14.5.8, m16n8k16, .f16 and .bf16."""
    row = group if i < 2 or 4 <= i < 6 else group + 8
    return row, thread * 2 + (i & 1) + (0 if i < 4 else 8)


def _b16(group: int, thread: int, i: int) -> tuple[int, int]:
    return thread * 2 + (i & 1) + (0 if i < 2 else 8), group


def _a32(group: int, thread: int, i: int) -> tuple[int, int]:
    """Section 9.7.14.5.6, m16n8k8, .tf32."""
    return group if i in (0, 2) else group + 8, thread if i < 2 else thread + 4


def _b32(group: int, thread: int, i: int) -> tuple[int, int]:
    return thread if i == 0 else thread + 4, group


def _a8(group: int, thread: int, i: int) -> tuple[int, int]:
    """Section 9.7.14.5.10, m16n8k32, .s8 and .u8."""
    row = group if i < 4 or 8 <= i < 12 else group + 8
    return row, thread * 4 + (i & 3) + (0 if i < 8 else 16)


def _b8(group: int, thread: int, i: int) -> tuple[int, int]:
    return thread * 4 + (i & 3) + (0 if i < 4 else 16), group


SHAPES = {
    "m16n8k16": Shape(16, 8, 16, 16, _a16, _b16, _c),
    "m16n8k8": Shape(16, 8, 8, 32, _a32, _b32, _c),
    "m16n8k32": Shape(16, 8, 32, 8, _a8, _b8, _c),
}
