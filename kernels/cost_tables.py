"""Cost models of processors by family, for machines that have not been measured.

Coefficients are those of `costs.Costs`. Where a family says so they were measured, by ``sardonyx
machine``, on a processor of it. Those of others are of code that resembles theirs, on AMD's Zen 4:
with two units for multiply-adds and 32 registers, vectors of 256 bits in AVX-512's encoding.
"""

from __future__ import annotations

from typing import NamedTuple

from .costs import Costs, SharingCosts, TileCosts, WinogradCosts
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
    operand: str = ""
    lines: int = 0


_SHARING = SharingCosts(32, 32, 1000)
_ONE_UNIT = Costs(
    tile=TileCosts(0.992, 0.0, 0.001, 0.233, 1.154, 0.3, 0.0, 28.0, 10.0),
    floats=WinogradCosts(1.006, 1.092, 0.776, 1.042, 320.0),
    byte_words=WinogradCosts(1.007, 1.026, 0.531, 1.275, 0.0),
    fetch=0.11,
    sharing=_SHARING,
)
_TWO_UNITS = Costs(
    tile=TileCosts(0.934, 0.24, 0.17, 0.81, 3.55, 0.0, 6.49, 0.0, 8.0),
    floats=WinogradCosts(1.046, 1.05, 1.073, 1.077, 776.0),
    byte_words=WinogradCosts(1.202, 1.025, 0.288, 1.261, 815.0),
    fetch=0.21,
    sharing=_SHARING,
)
_AVX2 = Costs(
    tile=TileCosts(0.735, 0.395, 0.497, 0.914, 4.68, 0.0, 5.87, 0.0, 8.0),
    floats=WinogradCosts(1.065, 1.076, 0.997, 1.377, 800.0),
    byte_words=WinogradCosts(1.242, 0.953, 3.145, 0.0, 5773.0),
    fetch=0.21,
    sharing=_SHARING,
)

FAMILIES = (
    Family("AMD Zen 4", ("znver4",), 16, True, _ONE_UNIT, "memory", 4),
    Family("AVX2 on AMD Zen 4", ("znver4",), 8, True, _AVX2),
    Family("AMD Zen 2 and 3", ("znver2", "znver3"), 8, False, _AVX2),
    Family("AMD Zen 5", ("znver5",), 16, False, _TWO_UNITS, "register", 1),
    Family(
        "Intel Skylake to Emerald Rapids",
        ("skylake-avx512", "cascadelake", "icelake", "sapphirerapids", "emeraldrapids"),
        16, False, _TWO_UNITS,
    ),
    Family("AVX-512", (), 16, False, _TWO_UNITS),
    Family("AVX2 and narrower vectors", (), 8, False, _AVX2),
)  # fmt: skip
"""Families, those with names of processors first."""


def family_of(target: Target) -> Family:
    """Return the family of a processor: the one that names it, or that of its vectors."""
    lanes = 16 if target.lanes == 16 else 8
    for family in FAMILIES:
        is_named = not family.processors or target.cpu.startswith(family.processors)
        if is_named and family.lanes == lanes:
            return family
    raise AssertionError("the last families name no processor")
