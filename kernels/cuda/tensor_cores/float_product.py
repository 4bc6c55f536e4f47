"""Products of float32 by multiply-adds, rounded as on the CPU: any compute capability from 8.0.

A block of 256 threads computes 128 x 128 elements, a thread 8 x 8 of them: rows and columns in two
runs of four, so that each operand comes in two loads of 128 bits for 64 multiply-adds. Tiles of A
and B lie in shared memory with k outermost, and come by asynchronous copies of one element, which
transpose them; rows of B that are contiguous come 16 bytes at a time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..basic import copy_element, copy_piece, zeros
from ..ptx import DeviceFunction, Instruction, Operand, device
from .epilogue import Epilogue, operand_places, store_tile
from .matrices import matrix_kernel
from .ring import Multiplier, ring
from .tiles import FloatTile

_K = FloatTile.k
_SIDE = 8


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


def copy_transposed(rows: int, threads: int, row_bytes: int) -> DeviceFunction:
    """Return the function that copies a tile of rows along k, to a row for each k.

    Its arguments are those of `tile_copies.copy_rows`, but for columns in place of bytes.
    """
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


def float_ring(tile: FloatTile, fill: DeviceFunction) -> DeviceFunction:
    """Return the ring of a tile whose stages are multiplied by multiply-adds."""
    warps_n, pitch = tile.n // 64, tile.pitch

    @device
    def row_of(thread: Any) -> Any:
        return (thread >> 5) // warps_n * 32 + ((thread & 31) >> 3) * 4

    @device
    def column_of(thread: Any) -> Any:
        return (thread >> 5) % warps_n * 64 + (thread & 7) * 4

    @device
    def place_in_a(thread: Any) -> Any:
        return row_of(thread) * 4

    @device
    def place_in_b(thread: Any) -> Any:
        return column_of(thread) * 4

    @device
    def place_in_sums(thread: Any) -> Any:
        return row_of(thread) * pitch + column_of(thread) * 4

    multiplier = Multiplier(
        zeros("f32", _SIDE * _SIDE),
        stage_sums(tile),
        _keep(pitch),
        place_in_a,
        place_in_b,
        place_in_sums,
    )
    return ring(tile.stages, tile.stage_bytes, _K * tile.row_a, multiplier, fill)


@functools.cache
def float_product(tile: FloatTile, epilogue: Epilogue) -> Callable[..., None]:
    """Return the kernel of a tile; it takes ``product.PARAMETERS``."""
    a_bytes = _K * tile.row_a
    copy_a = copy_transposed(tile.m, tile.threads, tile.row_a)
    is_nk = tile.b_order == "nk"
    copy_b = copy_transposed(tile.n, tile.threads, tile.row_b) if is_nk else _straight(tile)

    @device
    def fill(thread: Any, to: Any, stage: Any, operands: Any) -> None:
        a, b, row, column, m, n, k, a_pitch, b_pitch = operands
        copy_a(thread, to, a, row, m, a_pitch, stage * _K, k)
        copy_b(thread, to + a_bytes, b, column, n, b_pitch, stage * _K, k)

    finish = store_tile(tile.m, tile.n, tile.threads, tile.pitch, "f32", tile.is_aligned, epilogue)
    return matrix_kernel(tile, float_ring(tile, fill), finish, operand_places(epilogue))
