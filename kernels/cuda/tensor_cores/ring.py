"""Ring of stages in shared memory: copies of the next ones run while one is multiplied.

PTX ISA 9.0, section 9.7.9.25.3 (cp.async and its groups). What fills a stage differs: rows of
matrices (`product`), or taps of windows (`convolution`); what multiplies it, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..basic import commit_copies, synchronize, wait_copies, zeros
from ..ptx import DeviceFunction, Instruction, device
from .swizzle import ROW
from .tiles import Tile
from .warp_product import keep_sums, lane_places, stage_product


@dataclass(frozen=True)
class Multiplier:
    """What multiplies stages, and where a thread finds its parts of them.

    Attributes
    ----------
    zero, multiply, keep : Instruction
        Give sums of nothing; add a stage's product to sums, given the thread's places in A and B;
        store sums, given the thread's place among them.
    place_in_a, place_in_b, place_in_sums : DeviceFunction
        These places, of a thread.
    """

    zero: Instruction
    multiply: Instruction
    keep: Instruction
    place_in_a: DeviceFunction
    place_in_b: DeviceFunction
    place_in_sums: DeviceFunction


def ring(
    stages: int, stage_bytes: int, a_bytes: int, multiplier: Multiplier, fill: DeviceFunction
) -> DeviceFunction:
    """Return the function by which a block computes a tile of sums, and leaves it in shared memory.

    Its arguments are the thread, the address of the stages (and then of the sums), the number of
    stages, and a tuple for ``fill``. That begins to copy one stage; its arguments are the thread,
    the stage's place, its number and the tuple.

    Parameters
    ----------
    stages, stage_bytes : int
        Stages in shared memory, and bytes of each.
    a_bytes : int
        Of these, what A has; B is behind.
    """
    ahead = stages - 1
    last = ahead * stage_bytes
    zero, multiply, keep = multiplier.zero, multiplier.multiply, multiplier.keep
    place_in_a, place_in_b = multiplier.place_in_a, multiplier.place_in_b
    place_in_sums = multiplier.place_in_sums
    wait_stage, wait_all = wait_copies(ahead - 1), wait_copies(0)

    @device
    def multiply_stages(thread: Any, start: Any, count: Any, operands: Any) -> None:
        for stage in range(ahead):
            if stage < count:
                fill(thread, start + stage * stage_bytes, stage, operands)
            commit_copies()
        place_a, place_b = start + place_in_a(thread), start + a_bytes + place_in_b(thread)
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
        keep(sums, start + place_in_sums(thread))
        synchronize()

    return multiply_stages


def ring_product(tile: Tile, fill: DeviceFunction) -> DeviceFunction:
    """Return the ring of a tile whose stages tensor cores multiply (`warp_product`)."""
    multiplier = Multiplier(
        zeros(tile.sum_kind, tile.accumulators),
        stage_product(tile),
        keep_sums(tile.sum_kind, tile.warp_m, tile.warp_n, tile.pitch),
        *lane_places(tile),
    )
    return ring(tile.stages, tile.stage_bytes, tile.m * ROW, multiplier, fill)
