"""Barriers in shared memory and bulk copies: PTX ISA 9.0, 9.7.13.15 (mbarrier) and 9.7.9.27 (TMA).

A bulk copy is carried out when somebody looks at its barrier, as late as the hardware may; that it
overwrites what products still read is told when it is issued, as early as it may be.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..tensor_cores.tensor_map import TensorMap
from .loads import shared_bytes
from .program import U64, Line, PtxError, State, operation


@dataclass
class MemoryBarrier:
    """An mbarrier: a phase is over when all have arrived and all bytes are there."""

    count: int
    left: int
    parity: int = 0
    bytes_left: int = 0
    copies: list[Any] = field(default_factory=list)

    def advance(self) -> None:
        """Begin the next phase if this one is over."""
        if self.left == 0 and self.bytes_left == 0:
            self.left, self.parity = self.count, self.parity ^ 1

    def look(self) -> None:
        """Let copies arrive."""
        for copy in self.copies:
            self.bytes_left -= copy()
        self.copies.clear()
        self.advance()


def _barrier(state: State, operand: Any) -> MemoryBarrier:
    if state.count != 1:
        raise PtxError("barriers of shared memory are used by single threads")
    address = int(state.addresses(operand)[0])
    try:
        barrier: MemoryBarrier = state.block.barriers[address]
    except KeyError:
        raise PtxError(f"no mbarrier at {address}") from None
    state.block.progress()
    return barrier


@operation("mbarrier.init.shared:cta.b64")
def _init(state: State, line: Line) -> None:
    address = int(state.addresses(line.operands[0])[0])
    shared_bytes(state, address, 8)
    count = int(state.get(line.operands[1])[0])
    state.block.barriers[address] = MemoryBarrier(count, count)


@operation("mbarrier.arrive.shared:cta.b64")
def _arrive(state: State, line: Line) -> None:
    barrier = _barrier(state, line.operands[1])
    barrier.left -= 1
    if barrier.left < 0:
        raise PtxError("more arrivals at an mbarrier than it counts")
    barrier.advance()


@operation("mbarrier.arrive.expect_tx.shared:cta.b64")
def _expect(state: State, line: Line) -> None:
    barrier = _barrier(state, line.operands[1])
    barrier.bytes_left += int(state.get(line.operands[2])[0])
    _arrive(state, line)


@operation("mbarrier.try_wait.parity.shared:cta.b64")
def _try_wait(state: State, line: Line) -> None:
    to, place, parity = line.operands
    address = int(state.addresses(place)[0])
    barrier = state.block.barriers.get(address)
    if barrier is None:
        raise PtxError(f"no mbarrier at {address}")
    if barrier.copies:
        barrier.look()
        state.block.progress()
    is_over = barrier.parity != int(state.get(parity)[0])
    state.set(to, np.array([is_over]))
    if not is_over:
        state.block.pause(state.threads[0])


@operation("fence.proxy.async", "fence.mbarrier_init")
def _fence(state: State, line: Line) -> None:
    pass


@operation("cp.async.bulk.tensor.3d.shared:cluster.global.tile.mbarrier:complete_tx:bytes")
def _copy_box(state: State, line: Line) -> None:
    to, source, signal = line.operands
    barrier = _barrier(state, signal)
    address = int(state.addresses(to)[0])
    block = state.block
    words = block.memory.view(int(state.addresses(source, U64)[0]), 128).view(np.int64)
    tensor = TensorMap.of_words(words)
    corner = [int(state.get(each, np.int32)[0]) for each in source.parts[0]]
    size = tensor.box_bytes
    if address % 1024 or not 0 <= address <= block.shared.size - size:
        raise PtxError(f"bulk copy of {size} bytes to {address} of {block.shared.size}")
    block.refuse_reads(address, address + size)

    def copy() -> int:
        rows = _box(block, tensor, corner)
        for row, pieces in enumerate(rows.reshape(len(rows), -1, 16)):
            for piece, content in enumerate(pieces):
                there = address + row * 128 + 16 * piece
                there ^= (there >> 7 & 7) << 4
                block.shared[there : there + 16] = content
        return size

    barrier.copies.append(copy)


def _box(block: Any, tensor: TensorMap, corner: list[int]) -> np.ndarray:
    """Read a box, with zeros beyond the tensor; an array of bytes, a row of the box a row."""
    x, y, z = corner
    size, (width, height, depth) = tensor.size, tensor.sizes
    rows = np.zeros((tensor.box[1], tensor.box[0] * size), np.uint8)
    count = max(0, min(width - x, tensor.box[0])) * size
    for i in range(tensor.box[1]):
        if 0 <= y + i < height and 0 <= z < depth and x >= 0 and count:
            start = tensor.address + x * size + (y + i) * tensor.row_bytes + z * tensor.matrix_bytes
            rows[i, :count] = block.memory.part(start, count)
    return rows
