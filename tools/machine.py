"""Description of this machine: processor, caches, arithmetic units, bandwidth and roofline."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from ..kernels.amx import PRODUCTS
from ..kernels.cpu.units import TILE_UNITS, UNITS
from ..kernels.machine_costs import measured_costs
from ..kernels.target import VECTOR_BITS, cache_sizes, target
from ..kernels.unit_rates import rates
from ..runtime.processors import available_processors
from . import text
from .cost_fit import Disturbed, Measured, measured
from .progress import status
from .roofline import SIZES, Roofline, roofline
from .width_trials import Widths, widths

if TYPE_CHECKING:
    from rich.table import Table


def print_machine(threads: Sequence[int], console: Console, fresh: bool = False) -> None:
    """Measure this machine where that is not done yet, and print what is known of it.

    Parameters
    ----------
    threads : sequence of int
        Numbers of threads whose rooflines are shown.
    console : Console
    fresh : bool
        Measure again, in about 20 seconds.
    """
    with status("measuring: widths of vectors"):
        width = None if os.environ.get(VECTOR_BITS) else widths(fresh)
    if width is not None and width.bits != 32 * target().lanes:
        _go_on_with(width.bits, threads, fresh)
        return
    with status("measuring: units and bandwidth") as tell:
        ceilings = [roofline(count, fresh) for count in threads]
        units = rates(fresh=fresh)
        try:
            found = measured(fresh, lambda what: tell(f"measuring: {what}"))
        except Disturbed as reason:
            found = None
            problem = f"{reason}; forms of steps are chosen by costs of its processor's family"
    text.show(console, _processor(width), _units(units), _bandwidth(ceilings))
    if found is None:
        console.print(problem, highlight=False, soft_wrap=True)
        return
    text.show(console, *map(_tiles, found.tiles.items()), _vectors(found), *_model(found))
    if measured_costs() != found.costs:
        console.print("not kept: there is no cache folder that can be written", highlight=False)


def _go_on_with(bits: int, threads: Sequence[int], fresh: bool) -> None:
    """Measure all else in a process whose kernels have vectors of other bits."""
    options = [*(f"--threads={count}" for count in threads), *(["--fresh"] if fresh else [])]
    command = [sys.executable, "-m", f"{__package__}.cli", "machine", *options]
    path = os.pathsep.join(filter(None, sys.path))
    subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path, VECTOR_BITS: str(bits)}, check=True
    )


def _processor(width: Widths | None = None) -> Table:
    found = target()
    table = text.table("processor", "", "")
    table.add_row("name", found.cpu)
    table.add_row("vectors", f"{found.lanes} float32, {found.registers} registers")
    if width is not None:
        speeds = f"{width.one:.2f} of 512 bits' speed, {width.every:.2f} with all cores busy"
        table.add_row("256 bits", speeds)
    for level, size in enumerate((found.l1, found.l2, found.l3), start=1):
        note = "" if level in cache_sizes() else ", assumed: the system reports none that can be"
        table.add_row(f"cache L{level}", f"{_bytes(size)}{note}")
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


def _tiles(measured_tiles: tuple[str, dict[str, float]]) -> Table:
    """Share of the peak that tiles reach, by rows; a column for vectors and depth of a sum."""
    form, costs = measured_tiles
    keys = [tuple(map(int, key.split(" x "))) for key in costs]
    columns = sorted({key[1:] for key in keys})
    heads = [f"{vectors} x {depth}:" for vectors, depth in columns]
    table = text.table(f"tiles, operands in {form}, of the peak", "rows", *heads)
    shares = dict(zip(keys, costs.values(), strict=True))
    for rows in sorted({key[0] for key in keys}):
        cells = [shares.get((rows, *column)) for column in columns]
        table.add_row(str(rows), *("" if cost is None else f"{1 / cost:.2f}" for cost in cells))
    return table


def _vectors(found: Measured) -> Table:
    """What accesses of vectors, and of threads, take."""
    table = text.table("in the first cache, a vector", "", "multiply-adds:")
    for name, cost in found.vectors.items():
        table.add_row(name, f"{cost:.2f}")
    if found.sharing is not None:
        table.add_row("sharing a step between two threads", f"{found.sharing.exchange:.0f} ns")
        table.add_row("waking a thread", f"{found.sharing.waking / 1e3:.1f} us")
    elif available_processors() > 1:
        table.add_row("sharing a step between two threads", "disturbed by other work")
    return table


def _model(found: Measured) -> tuple[Table, Table]:
    """Coefficients of the cost model, and how well they fit."""
    table = text.table("cost model, in multiply-adds of vectors", "of", "coefficient", ":")
    for name, part in found.costs._asdict().items():
        for term, number in part._asdict().items() if hasattr(part, "_asdict") else [("", part)]:
            table.add_row(name, term, f"{number:g}")
    fits = text.table("fit of the cost model", "to", "trials:", "mean error:", "largest:")
    for fit in found.fits:
        fits.add_row(fit.name, str(fit.trials), f"{fit.error:.1%}", f"{fit.worst:.1%}")
    return table, fits
