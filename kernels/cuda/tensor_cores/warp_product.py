"""Product of a warp's tile of one stage by tensor cores: `ldmatrix` and `mma.sync`.

PTX ISA 9.0, sections 9.7.14.5.15 and 9.7.14.5.14; compute capability 8.0 and up. The text is made
for a tile: four steps of 32 bytes of k, whose fragments are loaded while the products of the step
before run. Elements of all sizes lie in fragments as bytes do, so that only the opcode of the
products differs: the fragment of A is four matrices of 8 rows of 16 bytes, B's two.
"""

from __future__ import annotations

import functools

from ..ptx import DeviceFunction, Instruction, Kind, Operand, device
from .swizzle import PIECE, ROW
from .tiles import Tile

_MMA = {
    "bf16": "m16n8k16.row.col.f32.bf16.bf16.f32",
    "f16": "m16n8k16.row.col.f32.f16.f16.f32",
    "tf32": "m16n8k8.row.col.f32.tf32.tf32.f32",
    "s8": "m16n8k32.row.col.s32.s8.s8.s32",
    "u8": "m16n8k32.row.col.s32.u8.s8.s32",
}
_STEPS = 4
"""Steps of 32 bytes in a row of a stage."""
_STEP_BYTES = 2 * PIECE


def _braced(names: list[str]) -> str:
    return "{" + ", ".join(names) + "}"


def _loads_of_a(rows: int, step: int, bank: int) -> list[str]:
    """Load fragments of 16 rows each; pieces of a row are exclusive-or-ed, see `swizzle`."""
    lines = [f"xor.b32 %place_a, %at_a, {step * _STEP_BYTES};"]
    for i in range(rows // 16):
        names = [f"%a{(bank * rows // 16 + i) * 4 + j}" for j in range(4)]
        lines.append(
            f"ldmatrix.sync.aligned.m8n8.x4.shared.b16 {_braced(names)}, "
            f"[%place_a + {i * 16 * ROW}];"
        )
    return lines


def _loads_of_b(tile: Tile, step: int, bank: int) -> list[str]:
    """Load fragments of 16 columns at a time: two neighbouring ones of 8."""
    is_transposed = tile.b_order == "kn"
    lines = [] if is_transposed else [f"xor.b32 %place_b, %at_b, {step * _STEP_BYTES};"]
    for i in range(tile.warp_n // 16):
        names = [f"%b{(bank * tile.warp_n // 16 + i) * 4 + j}" for j in range(4)]
        if is_transposed:
            # Rows of k are those of the tile, which has panels of 64 columns.
            panel, column = divmod(i * 16, ROW // tile.size)
            lines.append(f"xor.b32 %place_b, %at_b, {column * tile.size};")
            offset = panel * ROW * tile.k + step * (_STEP_BYTES // tile.size) * ROW
            load = "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16"
        else:
            offset = i * 16 * ROW
            load = "ldmatrix.sync.aligned.m8n8.x4.shared.b16"
        lines.append(f"{load} {_braced(names)}, [%place_b + {offset}];")
    return lines


@functools.cache
def stage_product(tile: Tile) -> Instruction:
    """Return the instruction that adds the product of a stage to a warp's sums.

    Its arguments are the sums, and this lane's places in the tiles of A and B (`lane_places`).
    """
    rows, columns = tile.warp_m // 16, tile.warp_n // 8
    sums = Operand("sum", tile.sum_kind, tile.accumulators)
    lines = [
        f".reg .b32 %a<{8 * rows}>;",
        f".reg .b32 %b<{4 * columns}>;",
        ".reg .b32 %place_a, %place_b;",
        *_loads_of_a(tile.warp_m, 0, 0),
        *_loads_of_b(tile, 0, 0),
    ]
    for step in range(_STEPS):
        bank = step % 2
        if step + 1 < _STEPS:
            lines += _loads_of_a(tile.warp_m, step + 1, 1 - bank)
            lines += _loads_of_b(tile, step + 1, 1 - bank)
        for i in range(rows):
            for j in range(columns):
                first = (i * columns + j) * 4
                c = _braced(sums.registers[first : first + 4])
                a = _braced([f"%a{(bank * rows + i) * 4 + r}" for r in range(4)])
                b = _braced([f"%b{(bank * columns + j) * 2 + r}" for r in range(2)])
                lines.append(f"mma.sync.aligned.{_MMA[tile.element]} {c}, {a}, {b}, {c};")
    inputs = (sums, Operand("at_a", "b32"), Operand("at_b", "b32"))
    return Instruction(
        f"stage_product_{tile.element}", tuple(lines), inputs, sums, threads=32, section="9.7.14.5"
    )


@functools.cache
def keep_sums(kind: Kind, rows: int, columns: int, pitch: int) -> Instruction:
    """Return the instruction that stores a lane's sums of a warp's rows and columns.

    It is given the place of the first one; those of wgmma lie in lanes as those of `mma.sync` do.
    """
    sums = Operand("sum", kind, rows * columns // 32)
    lines = []
    for i in range(rows // 16):
        for j in range(columns // 8):
            for half in range(2):
                first = (i * (columns // 8) + j) * 4 + 2 * half
                pair = _braced(sums.registers[first : first + 2])
                offset = (16 * i + 8 * half) * pitch + 32 * j
                lines.append(f"st.shared.v2.b32 [%to + {offset}], {pair};")
    inputs = (sums, Operand("to", "b32"))
    return Instruction("keep_sums", tuple(lines), inputs, section="9.7.9.11")


def lane_places(tile: Tile) -> tuple[DeviceFunction, DeviceFunction, DeviceFunction]:
    """Return functions of a thread: its places in the tiles of A and B, and in that of the sums.

    Those in A and B are the rows that a lane names to `ldmatrix`, of four matrices: for A rows 0 to
    7 and 8 to 15 of the first piece, then of the second; for B both pieces of columns 0 to 7, then
    of 8 to 15 (transposed: rows 0 to 7 and 8 to 15 of the first eight columns, then of the next).
    """
    warps_n, warp_m, warp_n, pitch = tile.n // tile.warp_n, tile.warp_m, tile.warp_n, tile.pitch
    panel_columns, panel_bytes = ROW // tile.size, tile.k * ROW
    is_transposed = tile.b_order == "kn"

    @device
    def place_in_a(thread):  # type: ignore[no-untyped-def]
        lane, warp = thread & 31, thread >> 5
        row = (warp // warps_n) * warp_m + (lane & 15)
        return row * 128 + (((lane >> 4) ^ (row & 7)) << 4)

    @device
    def place_in_b(thread):  # type: ignore[no-untyped-def]
        lane, warp = thread & 31, thread >> 5
        column = (warp % warps_n) * warp_n
        if is_transposed:
            row = lane & 15
            piece = ((column % panel_columns) >> 3) + (lane >> 4)
            return (column // panel_columns) * panel_bytes + row * 128 + ((piece ^ (row & 7)) << 4)
        row = column + (lane & 7) + ((lane >> 4) << 3)
        return row * 128 + ((((lane >> 3) & 1) ^ (row & 7)) << 4)

    @device
    def place_in_sums(thread):  # type: ignore[no-untyped-def]
        lane, warp = thread & 31, thread >> 5
        row = (warp // warps_n) * warp_m + (lane >> 2)
        column = (warp % warps_n) * warp_n + 2 * (lane & 3)
        return row * pitch + column * 4

    return place_in_a, place_in_b, place_in_sums
