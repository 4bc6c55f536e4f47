"""Cost models of processors by family, for machines that have not been measured.

Coefficients are those of `costs.Costs`. Where a family says so they were measured, by ``sardonyx
machine``, on a processor of it. Those of others are of code that resembles theirs, on AMD's Zen 4:
with two units for multiply-adds and 32 registers, vectors of 256 bits in AVX-512's encoding.
"""

from __future__ import annotations

from typing import NamedTuple

from .costs import Costs, SharingCosts, StreamCosts, TileCosts, VectorCosts, WinogradCosts
from .target import Target


class Family(NamedTuple):
    """Processors that have the same costs.

    Attributes
    ----------
    name
        What it is called in texts.
    processors
        LLVM's names of them, or what these begin with.
    lanes
        float32 numbers of a vector.
    is_measured
        Whether its costs were measured on one of these processors.
    costs
        Its cost model.
    registers
        Of vectors that are half of the widest, which have more than others of their width; else 0.
    operand
        Where tiles take numbers from (``tile.OPERANDS``) the fastest; to be measured if empty.
    lines
        Cache lines of a stream of which it is fastest to ask for the first; to be measured if 0.
    """

    name: str
    processors: tuple[str, ...]
    lanes: int
    is_measured: bool
    costs: Costs
    registers: int = 0
    operand: str = ""
    lines: int = 0


_SHARING = SharingCosts(32, 32, 1000)
_ONE_UNIT = Costs(
    tile=TileCosts(0.987, 0.0, 0.0, 0.055, 1.149, 1.371, 0.0, 4.928, 0.0, 12.0),
    floats=WinogradCosts(1.004, 1.022, 0.815, 1.069, 62.5, 258.0),
    byte_words=WinogradCosts(1.0, 1.025, 0.599, 1.117, 0.0, 0.0),
    streams=StreamCosts(0.032, 0.04, 0.12, 245.0, 0.06),
    vectors=VectorCosts(0.98, 3.0, 2.1, 26.0),
    reload=0.0,
    step=80.0,
    tile_stores=3.0,
    sharing=_SHARING,
)
_TWO_UNITS = Costs(
    tile=TileCosts(0.934, 0.24, 0.17, 0.81, 3.55, 0.0, 6.49, 0.0, 0.0, 8.0),
    floats=WinogradCosts(1.046, 1.05, 1.073, 1.077, 0.0, 776.0),
    byte_words=WinogradCosts(1.202, 1.025, 0.288, 1.261, 0.0, 815.0),
    streams=StreamCosts(0.064, 0.08, 0.22, 490.0, 0.15),
    vectors=VectorCosts(0.94, 4.3, 1.8, 43.0),
    reload=0.0,
    step=80.0,
    tile_stores=3.0,
    sharing=_SHARING,
)
_AVX2 = Costs(
    tile=TileCosts(0.689, 0.448, 0.537, 0.686, 4.72, 0.0, 4.82, 0.0, 0.247, 8.0),
    floats=WinogradCosts(1.01, 1.033, 1.094, 2.765, 0.0, 415.0),
    byte_words=WinogradCosts(1.189, 1.058, 0.99, 3.029, 0.0, 411.0),
    streams=StreamCosts(0.064, 0.08, 0.22, 490.0, 0.15),
    vectors=VectorCosts(0.95, 6.1, 2.8, 53.0),
    reload=0.15,
    step=80.0,
    tile_stores=3.0,
    sharing=_SHARING,
)

_RAPIDS = _TWO_UNITS._replace(
    floats=WinogradCosts(1.046, 1.4, 1.431, 1.436, 0.0, 1035.0), tile_stores=3.0
)
"""Of two numbers that were measured on Emerald Rapids: Winograd's forms gain 0.5 to 0.75 of what
the costs of others say, and storing a tile of bytes takes as long as three of AMX's steps (3136
pixels of 16, 32 and 64 bytes 58, 61 and 32 us; by vectors 36, 49 and 50)."""

FAMILIES = (
    Family("AMD Zen 4", ("znver4",), 16, True, _ONE_UNIT, operand="memory", lines=4),
    Family("AVX2 on AMD Zen 4", ("znver4",), 8, True, _AVX2),
    Family("AVX-512 of 256 bits on AMD Zen 4", ("znver4",), 8, False, _TWO_UNITS, registers=32),
    Family("AMD Zen 2 and 3", ("znver2", "znver3"), 8, False, _AVX2),
    Family("AMD Zen 5", ("znver5",), 16, False, _TWO_UNITS, operand="register", lines=1),
    Family(
        "Intel Skylake to Ice Lake", ("skylake-avx512", "cascadelake", "icelake"),
        16, False, _TWO_UNITS,
    ),
    Family(
        "Intel Sapphire and Emerald Rapids", ("sapphirerapids", "emeraldrapids"),
        16, False, _RAPIDS,
    ),
    Family("AVX-512", (), 16, False, _TWO_UNITS),
    Family("AVX-512 of 256 bits", (), 8, False, _TWO_UNITS, registers=32),
    Family("AVX2 and narrower vectors", (), 8, False, _AVX2),
)  # fmt: skip
"""Families, those with names of processors first."""


def family_of(target: Target) -> Family:
    """Return the family of a processor: the one that names it, or that of its vectors."""
    lanes = 16 if target.lanes == 16 else 8
    registers = 32 if (target.lanes, target.registers) == (8, 32) else 0
    for family in FAMILIES:
        is_named = not family.processors or target.cpu.startswith(family.processors)
        if is_named and (family.lanes, family.registers) == (lanes, registers):
            return family
    raise AssertionError("the last families name no processor")
