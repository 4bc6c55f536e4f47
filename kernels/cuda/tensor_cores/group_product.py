"""Product of a warp group's tile of one stage by wgmma: PTX ISA 9.0, section 9.7.15, target sm_90a.

A stage (fence, four products of 32 bytes of k, commit) is one block of text: sums must not move
between registers while tensor cores have them, which compilers would do between blocks.
"""

from __future__ import annotations

import functools
from typing import Any

from ..ptx import Instruction, Operand, device
from .swizzle import ROW
from .tiles import Tile

_OPCODES = {
    "bf16": ("k16.f32.bf16.bf16", ", 1, 1, 1, 0, 0"),
    "f16": ("k16.f32.f16.f16", ", 1, 1, 1, 0, 0"),
    "tf32": ("k8.f32.tf32.tf32", ", 1, 1, 1"),
    "s8": ("k32.s32.s8.s8", ", 1"),
    "u8": ("k32.s32.u8.s8", ", 1"),
}
"""Shape and types by element, and the operands behind the descriptors: that sums are added to, and
for floats signs and (of 16 bits) orders of A and B, k being contiguous in both."""
_STEP = 32 >> 4
"""From step to step of k, in the unit of descriptors."""


@functools.cache
def group_stage_product(tile: Tile) -> Instruction:
    """Return the instruction that begins to add the product of a stage to a warp group's sums."""
    sums = Operand("sum", tile.sum_kind, tile.n // 2)
    d = "{" + ", ".join(sums.registers) + "}"
    shape, rest = _OPCODES[tile.element]
    lines = [".reg .b64 %step_a, %step_b;", "wgmma.fence.sync.aligned;"]
    for step in range(4):
        lines += [
            f"add.u64 %step_a, %at_a, {_STEP * step};",
            f"add.u64 %step_b, %at_b, {_STEP * step};",
            f"wgmma.mma_async.sync.aligned.m64n{tile.n}{shape} {d}, %step_a, %step_b{rest};",
        ]
    lines.append("wgmma.commit_group.sync.aligned;")
    inputs = (sums, Operand("at_a", "b64"), Operand("at_b", "b64"))
    name = f"group_stage_product_{tile.element}"
    return Instruction(name, tuple(lines), inputs, sums, threads=128, section="9.7.15")


@functools.cache
def wait_products(tile: Tile, left: int) -> Instruction:
    """Return the wait until ``left`` stages are under way, behind which sums may be read (0)."""
    sums = Operand("sum", tile.sum_kind, tile.n // 2)
    lines = (f"wgmma.wait_group.sync.aligned {left};",)
    return Instruction("wait_products", lines, (sums,), sums, threads=128, section="9.7.15.7.3")


_DISTANCE = 8 * ROW >> 4
_CONSTANT = 1 << 62 | _DISTANCE << 32 | 1 << 16


@device
def descriptor(place: Any) -> Any:
    """Describe a tile in shared memory (section 9.7.15.5.1.2.2): swizzled rows of 128 bytes."""
    return ((place & 0x3FFFF) >> 4) | _CONSTANT


@functools.cache
def keep_registers(more: bool, count: int) -> Instruction:
    """Return the instruction by which a warp group gives registers away or takes more."""
    change = "inc" if more else "dec"
    lines = (f"setmaxnreg.{change}.sync.aligned.u32 {count};",)
    return Instruction(f"{change}_registers", lines, threads=128, section="9.7.19.5")
