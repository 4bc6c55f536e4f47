"""Tiles of products: what a block, a warp and a thread compute, and what that takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ..ptx import Kind
from .swizzle import ROW

Element = Literal["bf16", "f16", "tf32", "s8", "u8"]
"""What products are made of: ``tf32`` is float32 in memory; with ``u8`` B is ``s8``."""
Result = Literal["f32", "bf16", "f16", "i32"]

ELEMENT_BYTES = {"bf16": 2, "f16": 2, "tf32": 4, "s8": 1, "u8": 1}


@dataclass(frozen=True)
class Tile:
    """How a product is cut: C (m x n) = A (m x k) B.

    Attributes
    ----------
    element, result : str
        Types in memory of A and B, and of C.
    m, n : int
        Rows and columns of C that a block computes.
    warp_m, warp_n : int
        Those of a warp (by wgmma of a warp group, 64 x n).
    stages : int
        Tiles of A and B that are in shared memory: one is used while the others are on their way.
    b_order : str
        ``nk``: B's columns are contiguous, as weights are packed; ``kn``: its rows are (elements of
        16 bits only, which `ldmatrix` can transpose).
    is_aligned : bool
        Whether rows of A, B and C begin at multiples of 16 bytes.
    """

    element: Element
    result: Result
    m: int
    n: int
    warp_m: int
    warp_n: int
    stages: int
    b_order: Literal["nk", "kn"] = "nk"
    is_aligned: bool = True

    @property
    def size(self) -> int:
        """Bytes of an element of A and B."""
        return ELEMENT_BYTES[self.element]

    @property
    def k(self) -> int:
        """Columns of A in a stage: rows of 128 bytes."""
        return ROW // self.size

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return 32 * (self.m // self.warp_m) * (self.n // self.warp_n)

    @property
    def accumulators(self) -> int:
        """Sums that a thread holds."""
        return self.warp_m * self.warp_n // 32

    @property
    def sum_kind(self) -> Kind:
        """Register of a sum."""
        return "s32" if self.size == 1 else "f32"

    @property
    def stage_bytes(self) -> int:
        """Shared memory of a stage."""
        return (self.m + self.n) * ROW

    @property
    def pitch(self) -> int:
        """Bytes from row to row of the sums in shared memory: 8 banks off, so rows do not meet."""
        return (self.n + 8) * 4

    @property
    def shared_bytes(self) -> int:
        """Shared memory of a block; the sums lie where the stages were."""
        return max(self.stages * self.stage_bytes, self.m * self.pitch)


@dataclass(frozen=True)
class GroupTile(Tile):
    """A tile whose rows are cut to warp groups of 64 (``warp_m``); one more copies for them.

    Behind the stages there are two barriers of 8 bytes for each: that it is full, and empty.
    """

    @property
    def consumers(self) -> int:
        """Threads that multiply."""
        return 2 * self.m

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.consumers + 128

    @property
    def accumulators(self) -> int:
        """Sums that a thread holds."""
        return self.n // 2

    @property
    def shared_bytes(self) -> int:
        """Shared memory of a block."""
        return max(self.stages * self.stage_bytes + 16 * self.stages, self.m * self.pitch)


@dataclass(frozen=True)
class FloatTile:
    """How a product of float32 is cut; C is (m x n).

    Attributes
    ----------
    m, n : int
        Rows and columns of C that a block computes.
    stages : int
        Tiles of A and B in shared memory.
    b_order : str
        Whether columns of B are contiguous (``nk``) or its rows (``kn``).
    is_aligned : bool
        Whether rows of B (``kn``) and C begin at multiples of 16 bytes.
    """

    m: int = 128
    n: int = 128
    stages: int = 4
    b_order: Literal["nk", "kn"] = "nk"
    is_aligned: bool = True

    element: ClassVar = "f32"
    sum_kind: ClassVar[Kind] = "f32"
    result: ClassVar[Result] = "f32"
    size: ClassVar = 4
    k: ClassVar = 8
    """Columns of A in a stage: a warp copies 4 rows of 32 bytes, to 32 banks (`row_a`)."""

    @property
    def threads(self) -> int:
        """Threads of a block; a warp computes 32 x 64 elements."""
        return self.m * self.n // 64

    @property
    def row_a(self) -> int:
        """Bytes from column to column of A: four banks off, so that 8 x 4 elements meet all."""
        return 4 * (self.m + 4)

    @property
    def row_b(self) -> int:
        """Bytes from row to row of B."""
        return 4 * (self.n + 4)

    @property
    def stage_bytes(self) -> int:
        """Shared memory of a stage."""
        return self.k * (self.row_a + self.row_b)

    @property
    def pitch(self) -> int:
        """Bytes from row to row of sums in shared memory."""
        return (self.n + 8) * 4

    @property
    def shared_bytes(self) -> int:
        """Shared memory of a block."""
        return max(self.stages * self.stage_bytes, self.m * self.pitch)
