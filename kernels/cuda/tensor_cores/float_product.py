"""Products of float32 by multiply-adds, rounded as on the CPU: any compute capability from 8.0.

A block of 256 threads computes 128 x 128 elements, a thread 8 x 8 of them: rows and columns in two
runs of four, so that each operand comes in two loads of 128 bits for 64 multiply-adds. Tiles of A
and B lie in shared memory with k outermost, and come by asynchronous copies of one element, which
transpose them; rows of B that are contiguous come 16 bytes at a time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ..basic import (
    block_x,
    block_y,
    block_z,
    commit_copies,
    copy_element,
    copy_piece,
    shared_start,
    synchronize,
    thread_index,
    wait_copies,
    zeros,
)
from ..ptx import DeviceFunction, Instruction, Operand, device
from .epilogue import Epilogue, store_tile
from .tiles import Result

_K = 8
"""Columns of A in a stage: a warp copies 4 rows of 32 bytes, to 32 banks (`FloatTile.row`)."""
_SIDE = 8


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
    result: ClassVar[Result] = "f32"
    size: ClassVar = 4
    k: ClassVar = _K

    @property
    def threads(self) -> int:
        """Threads of a block; a warp computes 32 x 64 elements."""
        return self.m * self.n // (_SIDE * _SIDE)

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
        return _K * (self.row_a + self.row_b)

    @property
    def pitch(self) -> int:
        """Bytes from row to row of sums in shared memory."""
        return (self.n + 8) * 4

    @property
    def shared_bytes(self) -> int:
        """Shared memory of a block."""
        return max(self.stages * self.stage_bytes, self.m * self.pitch)


@functools.cache
def stage_sums(tile: FloatTile) -> Instruction:
    """Return the instruction that adds the product of a stage to a thread's sums.

    Operands of the next column are loaded while those of one are multiplied. All that a warp does
    alike is one instruction to the simulator (``threads``), which then is as many times faster.
    """
    sums = Operand("sum", "f32", _SIDE * _SIDE)
    lines = [f".reg .f32 %fa<{2 * _SIDE}>;", f".reg .f32 %fb<{2 * _SIDE}>;"]

    def loads(k: int) -> list[str]:
        bank = k % 2 * _SIDE
        return [
            f"ld.shared.v4.f32 {{{', '.join(f'%{name}{bank + half * 4 + i}' for i in range(4))}}}, "
            f"[%at_{name[1]} + {k * row + half * ahead}];"
            for name, row, ahead in (("fa", tile.row_a, 64), ("fb", tile.row_b, 128))
            for half in range(2)
        ]

    lines += loads(0)
    for k in range(_K):
        lines += loads(k + 1) if k + 1 < _K else []
        bank = k % 2 * _SIDE
        for i in range(_SIDE):
            for j in range(_SIDE):
                to = sums.registers[i * _SIDE + j]
                lines.append(f"fma.rn.f32 {to}, %fa{bank + i}, %fb{bank + j}, {to};")
    inputs = (sums, Operand("at_a", "b32"), Operand("at_b", "b32"))
    return Instruction("stage_sums", tuple(lines), inputs, sums, threads=32, section="9.7.3.6")


@functools.cache
def _keep(pitch: int) -> Instruction:
    """Return the instruction that stores a thread's sums, from the place that it is given on."""
    sums = Operand("sum", "f32", _SIDE * _SIDE)
    lines = []
    for i in range(_SIDE):
        for half in range(2):
            first = i * _SIDE + half * 4
            four = ", ".join(sums.registers[first : first + 4])
            offset = (i % 4 + i // 4 * 16) * pitch + half * 128
            lines.append(f"st.shared.v4.f32 [%to + {offset}], {{{four}}};")
    return Instruction("keep_sums", tuple(lines), (sums, Operand("to", "b32")), section="9.7.9.11")


def _transposed(rows: int, threads: int, row_bytes: int) -> DeviceFunction:
    """Return the function that copies a tile of rows along k, to a row for each k."""
    step = threads // _K
    count = rows // step

    @device
    def copy(thread: Any, to: Any, matrix: Any, first: Any, rows: Any, pitch: Any, k0: Any, k: Any) -> None:  # fmt: skip  # noqa: E501
        row, column = thread >> 3, thread & 7
        place = to + column * row_bytes + row * 4
        row = row + first
        source = matrix + row * pitch + (k0 + column) * 4
        for i in range(count):
            if row + i * step < rows and k0 + column < k:
                copy_element(place + i * step * 4, source + i * step * pitch, 4)
            else:
                copy_element(place + i * step * 4, matrix, 0)

    return copy


def _straight(tile: FloatTile) -> DeviceFunction:
    """Return the function that copies a tile of B whose rows are contiguous."""
    unit = 4 if tile.is_aligned else 1
    pieces, row_bytes = tile.n // unit, tile.row_b
    count = _K * pieces // tile.threads
    threads, piece = tile.threads, copy_piece if tile.is_aligned else copy_element

    @device
    def copy(thread: Any, to: Any, matrix: Any, first: Any, n: Any, pitch: Any, k0: Any, k: Any) -> None:  # fmt: skip  # noqa: E501
        for i in range(count):
            at = thread + i * threads
            row, column = at // pieces, at % pieces * unit
            place = to + row * row_bytes + column * 4
            inside = min(max(n - first - column, 0), unit) * 4
            if k0 + row < k and inside > 0:
                piece(place, matrix + (k0 + row) * pitch + (first + column) * 4, inside)
            else:
                piece(place, matrix, 0)

    return copy


@functools.cache
def float_product(tile: FloatTile, epilogue: Epilogue) -> Callable[..., None]:
    """Return the kernel of a tile: a grid of blocks along m, n and the batch.

    It takes what `product` takes (``product.PARAMETERS``).
    """
    rows, columns, stage_bytes, pitch = tile.m, tile.n, tile.stage_bytes, tile.pitch
    ahead, a_bytes, warps_n = tile.stages - 1, _K * tile.row_a, tile.n // 64
    last = ahead * stage_bytes
    copy_a = _transposed(rows, tile.threads, tile.row_a)
    is_nk = tile.b_order == "nk"
    copy_b = _transposed(columns, tile.threads, tile.row_b) if is_nk else _straight(tile)
    multiply, keep, zero = stage_sums(tile), _keep(pitch), zeros("f32", _SIDE * _SIDE)
    wait_stage, wait_all = wait_copies(ahead - 1), wait_copies(0)
    finish = store_tile(rows, columns, tile.threads, pitch, "f32", tile.is_aligned, epilogue)

    @device
    def fill(thread: Any, to: Any, stage: Any, operands: Any) -> None:
        a, b, row, column, m, n, k, a_pitch, b_pitch = operands
        copy_a(thread, to, a, row, m, a_pitch, stage * _K, k)
        copy_b(thread, to + a_bytes, b, column, n, b_pitch, stage * _K, k)

    def kernel(a, b, c, bias, m, n, k, a_pitch, b_pitch, c_pitch, a_batch, b_batch, c_batch):  # type: ignore[no-untyped-def]
        thread, start = thread_index(), shared_start()
        row, column, batch = block_x() * rows, block_y() * columns, block_z()
        matrix_a, matrix_b = a + batch * a_batch, b + batch * b_batch
        operands = (matrix_a, matrix_b, row, column, m, n, k, a_pitch, b_pitch)
        count = (k + _K - 1) // _K
        for stage in range(ahead):
            if stage < count:
                fill(thread, start + stage * stage_bytes, stage, operands)
            commit_copies()
        lane, warp = thread & 31, thread >> 5
        my_row = warp // warps_n * 32 + (lane >> 3) * 4
        my_column = warp % warps_n * 64 + (lane & 7) * 4
        place_a, place_b = start + my_row * 4, start + a_bytes + my_column * 4
        sums = zero()
        used, filled = 0, last
        for stage in range(count):
            wait_stage()
            synchronize()
            if stage + ahead < count:
                fill(thread, start + filled, stage + ahead, operands)
            commit_copies()
            sums = multiply(sums, place_a + used, place_b + used)
            used = 0 if used == last else used + stage_bytes
            filled = 0 if filled == last else filled + stage_bytes
        wait_all()
        synchronize()
        keep(sums, start + my_row * pitch + my_column * 4)
        synchronize()
        finish(thread, start, c + batch * c_batch, row, column, m, n, c_pitch, bias)

    return kernel
