"""Description of this machine: processor, caches, arithmetic units, bandwidth and roofline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from ..kernels.amx import PRODUCTS
from ..kernels.cpu.units import TILE_UNITS, UNITS
from ..kernels.target import target
from ..kernels.unit_rates import rates
from . import text
from .roofline import SIZES, Roofline, roofline

if TYPE_CHECKING:
    from rich.table import Table


def print_machine(threads: Sequence[int], console: Console, fresh: bool = False) -> None:
    """Print what is known and was measured of this machine.

    Parameters
    ----------
    threads : sequence of int
        Numbers of threads whose rooflines are shown.
    console : Console
    fresh : bool
        Measure again (about a second for each number of threads).
    """
    ceilings = [roofline(count, fresh) for count in threads]
    text.show(console, _processor(), _units(rates(fresh=fresh)), _bandwidth(ceilings))


def _processor() -> Table:
    found = target()
    table = text.table("processor", "", "")
    table.add_row("name", found.cpu)
    table.add_row("vectors", f"{found.lanes} float32, {found.registers} registers")
    for level, size in enumerate((found.l1, found.l2, found.l3), start=1):
        table.add_row(f"cache L{level}", _bytes(size))
    return table


def _units(found: dict[str, float]) -> Table:
    """Operations of each unit on one core."""
    columns = ("multiplies", "instruction", "1e9 operations/s:", "of float32:")
    table = text.table("arithmetic units, one core", *columns)
    names = {
        name: unit.name.removeprefix("llvm.").removeprefix("x86.") for name, unit in UNITS.items()
    }
    names |= {name: PRODUCTS[kind] for name, kind in TILE_UNITS.items()}
    for name, instruction in names.items():
        rate, share = "-", "-"
        if name in found:
            rate, share = f"{found[name]:.0f}", f"{found[name] / found['float32']:.2f}"
        table.add_row(name, instruction, rate, share)
    return table


def _bandwidth(ceilings: Sequence[Roofline]) -> Table:
    """Bandwidth by working set, and how many operations a byte takes before arithmetic bounds."""
    columns = [
        f"{each.threads} thread{'s'[: each.threads > 1]}, {each.gflops:.0f} GFLOP/s:"
        for each in ceilings
    ]
    table = text.table("1e9 bytes/s (float32 operations for each)", "working set", *columns)
    for i, size in enumerate(SIZES):
        cells = [f"{each.gbps[i]:.1f} ({each.gflops / each.gbps[i]:.1f})" for each in ceilings]
        table.add_row(_bytes(size), *cells)
    return table


def _bytes(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count >> 10} KiB"
