"""Products of warp groups: wgmma, PTX ISA 9.0, section 9.7.15.

Sums belong to the tensor cores from a product on until its group is waited for: until then their
registers hold a token in place of numbers, so that what reads them too early computes NaN.
"""

from __future__ import annotations

import itertools
import re

import numpy as np

from .matrices import floats
from .program import U32, U64, Line, PtxError, State, operation

_TOKEN = 0x7FC10000
"""A float32 that is none; the number of the token is in its lower bits."""
_UNSIGNED = {"bf16": np.uint16, "f16": np.uint16, "tf32": U32, "s8": np.uint8, "u8": np.uint8}
_numbers = itertools.count()


class Group:
    """What a warp group has under way.

    Attributes
    ----------
    is_fenced : bool
        Whether registers were handed to the tensor cores (wgmma.fence).
    open, closed : list
        Tokens of products behind the last commit, and of the committed groups.
    sums : dict of int to ndarray
        Sums by token: [thread, register].
    reads : dict of int to list of (int, int)
        Shared memory that a product reads, by token.
    """

    def __init__(self) -> None:
        self.is_fenced = False
        self.open: list[int] = []
        self.closed: list[list[int]] = []
        self.sums: dict[int, np.ndarray] = {}
        self.reads: dict[int, list[tuple[int, int]]] = {}


def _group(state: State) -> Group:
    if state.count != 128:
        raise PtxError("wgmma takes a warp group")
    group: Group = state.block.warp_groups.setdefault(state.threads[0].index // 128, Group())
    return group


@operation("wgmma.fence.sync.aligned")
def _fence(state: State, line: Line) -> None:
    _group(state).is_fenced = True


@operation("wgmma.commit_group.sync.aligned")
def _commit(state: State, line: Line) -> None:
    group = _group(state)
    group.closed.append(group.open)
    group.open, group.is_fenced = [], False


@operation("wgmma.wait_group.sync.aligned")
def _wait(state: State, line: Line) -> None:
    group = _group(state)
    while len(group.closed) > line.operands[0]:
        for token in group.closed.pop(0):
            group.reads.pop(token)
    under_way = {*group.open, *itertools.chain(*group.closed)}
    registers = [name for name in state.registers if name.startswith("%sum_")]
    token = int(state.registers[registers[0]][0]) if registers else 0
    if token in group.sums and token not in under_way:
        sums = group.sums.pop(token)
        for i, name in enumerate(registers):
            state.registers[name] = sums[:, i].copy()


def matrix(state: State, descriptor: int, rows: int, reads: list[tuple[int, int]]) -> np.ndarray:
    """Read 32 bytes of each row by a descriptor (9.7.15.5.1.2.2): swizzled rows along k.

    Bits 0 to 13 are the address, 32 to 45 the distance of groups of eight rows, both in units of 16
    bytes; bits 62 and 63 are 1 for the swizzle; bits 49 to 51 a base offset, which is 0.
    """
    if descriptor >> 62 != 1 or descriptor >> 49 & 7:
        raise PtxError(f"descriptor {descriptor:#x}: only the swizzle of 128 bytes is known")
    start, distance = (descriptor & 0x3FFF) << 4, (descriptor >> 32 & 0x3FFF) << 4
    row, piece = np.ogrid[:rows, :2]
    places = start + row // 8 * distance + row % 8 * 128 + piece * 16
    places ^= (places >> 7 & 7) << 4
    if places.max() + 16 > state.block.shared.size:
        raise IndexError(f"rows at {start} end at {places.max() + 16}, beyond shared memory")
    reads.append((start // 1024 * 1024, start // 1024 * 1024 + rows // 8 * distance))
    content: np.ndarray = state.block.shared[places[:, :, None] + np.arange(16)]
    return np.ascontiguousarray(content).reshape(rows, 32)


@operation("wgmma.mma_async.sync.aligned")
def _mma(state: State, line: Line) -> None:
    """Add a product to sums: warp w of the group has rows 16 w to 16 w + 15 (9.7.15.5.1.1)."""
    shape, d_kind, a_kind, b_kind = line.opcode[4:8]
    match = re.fullmatch(r"m64n(\d+)k(\d+)", shape)
    group = _group(state)
    names, a, b, scale = line.operands[:4]
    if match is None or scale != 1 or not group.is_fenced:
        raise PtxError(f"no fence before {line.text}")
    columns = int(match[1])
    if 32 // np.dtype(_UNSIGNED[a_kind]).itemsize != int(match[2]) or len(names) != columns // 2:
        raise PtxError(f"shape or registers of {line.text}")
    registers = np.stack([state.registers[name] for name in names], 1)
    before = group.sums.pop(int(registers[0, 0]), registers)
    reads: list[tuple[int, int]] = []
    operands = []
    for operand, kind, rows in ((a, a_kind, 64), (b, b_kind, columns)):
        descriptors = state.get(operand, U64)
        if (descriptors != descriptors[0]).any():
            raise PtxError("threads of a warp group have different descriptors")
        content = matrix(state, int(descriptors[0]), rows, reads)
        operands.append(floats(content.view(_UNSIGNED[kind]), kind))
    with np.errstate(invalid="ignore", over="ignore"):
        product = operands[0] @ operands[1].T
        thread, i = np.ogrid[:128, : columns // 2]
        row = thread // 32 * 16 + thread % 32 // 4 + (i // 2 & 1) * 8
        column = i // 4 * 8 + thread % 4 * 2 + (i & 1)
        d_type = np.float32 if d_kind == "f32" else np.int32
        total = (before.view(d_type) + product[row, column]).astype(d_type)
    token = _TOKEN + next(_numbers) % 0x8000
    group.sums[token], group.reads[token] = total.view(U32), reads
    group.open.append(token)
    for name in names:
        state.registers[name] = np.full(state.count, token, U32)


@operation("setmaxnreg")
def _registers(state: State, line: Line) -> None:
    if state.count != 128 or line.operands[0] % 8:
        raise PtxError("setmaxnreg takes a warp group, and multiples of 8")
