"""Products of matrices by wgmma and bulk copies: compute capability 9.0 (target sm_90a).

A block has one warp group that lets the copy unit fill a ring of stages, and others that multiply,
64 rows each. Barriers in shared memory say that a stage is full (bytes have come) and empty (all
warps have multiplied). Sums take most registers, so the group that copies gives its own away.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..basic import (
    barrier_of,
    block_x,
    block_y,
    shared_start,
    synchronize,
    thread_index,
    zeros,
)
from ..ptx import device
from .bulk_copies import (
    arrive,
    arrive_and_expect,
    begin_barrier,
    copy_box,
    is_over,
    show_barriers,
)
from .epilogue import Epilogue, operand_places, store_tile
from .group_product import descriptor, group_stage_product, keep_registers, wait_products
from .matrices import matrix_of
from .swizzle import ROW
from .tiles import GroupTile
from .warp_product import keep_sums

_REGISTERS = {2: (40, 232), 1: (56, 256)}
"""Registers of a thread that copies and of one that multiplies, by groups that multiply: together
no more than the 65,536 that a block of three groups begins with (168 each)."""


@device
def _wait(barrier: Any, parity: Any) -> None:
    while is_over(barrier, parity) == 0:
        pass


@functools.cache
def bulk_product(tile: GroupTile, epilogue: Epilogue) -> Callable[..., None]:
    """Return the kernel of a tile, see `matrices.PARAMETERS`.

    ``a`` and ``b`` are addresses of tensor maps, in which matrices are numbered along both axes.
    """
    rows, columns, stages, stage_bytes = tile.m, tile.n, tile.stages, tile.stage_bytes
    k_columns, a_bytes, pitch, consumers = tile.k, tile.m * ROW, tile.pitch, tile.consumers
    multiply, zero = group_stage_product(tile), zeros(tile.sum_kind, tile.accumulators)
    wait_one, wait_all = wait_products(tile, 1), wait_products(tile, 0)
    keep, warps = keep_sums(tile.sum_kind, 16, columns, pitch), consumers // 32
    begin = operand_places(epilogue)
    few, many = _REGISTERS[consumers // 128]
    give, take = keep_registers(False, few), keep_registers(True, many)
    together = barrier_of(1, consumers)
    finish = store_tile(
        rows,
        columns,
        consumers,
        pitch,
        tile.result,
        tile.is_aligned,
        epilogue,
        tile.sum_kind,
    )

    def kernel(  # type: ignore[no-untyped-def]
        a, b, c, bias, operands, m, n, k, outer, inner, a_row, b_row, c_row, a_outer, a_inner,
        b_outer, b_inner, c_outer, c_inner, status,
    ):  # fmt: skip
        thread, start = thread_index(), shared_start()
        place = matrix_of(block_x(), (m + (rows - 1)) // rows, inner)
        row, column, batch = place[0] * rows, block_y() * columns, place[1] * inner + place[2]
        count = (k + k_columns - 1) // k_columns
        full = start + stages * stage_bytes
        empty = full + 8 * stages
        if thread == 0:
            for i in range(stages):
                begin_barrier(full + 8 * i, 1)
                begin_barrier(empty + 8 * i, warps)
            show_barriers()
        synchronize()
        slot, parity = 0, 0
        if thread < 128:
            give()
            if thread == 0:
                for stage in range(count):
                    _wait(empty + 8 * slot, parity ^ 1)
                    to, barrier = start + slot * stage_bytes, full + 8 * slot
                    arrive_and_expect(barrier, stage_bytes)
                    copy_box(to, a, stage * k_columns, row, batch, barrier)
                    copy_box(to + a_bytes, b, stage * k_columns, column, batch, barrier)
                    slot += 1
                    if slot == stages:
                        slot, parity = 0, parity ^ 1
        else:
            take()
            mine = thread - 128
            place_a = start + (mine >> 7) * 8192
            sums, before = zero(), 0
            for stage in range(count):
                _wait(full + 8 * slot, parity)
                used = slot * stage_bytes
                sums = multiply(
                    sums, descriptor(place_a + used), descriptor(start + a_bytes + used)
                )
                sums = wait_one(sums)
                if stage > 0 and (mine & 31) == 0:
                    arrive(empty + 8 * before)
                before = slot
                slot += 1
                if slot == stages:
                    slot, parity = 0, parity ^ 1
            sums = wait_all(sums)
            together()
            lane = mine & 31
            keep(sums, start + ((mine >> 5) * 16 + (lane >> 2)) * pitch + 8 * (lane & 3))
            together()
            to = c + place[1] * c_outer + place[2] * c_inner
            own = begin(operands, place[1], place[2])
            finish(mine, start, to, row, column, m, n, c_row, bias, own)

    return kernel
