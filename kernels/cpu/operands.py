"""Form of a tile's operand on this machine: in a register or from memory, measured once.

With AVX-512 a multiply-add may fetch a number and spread it over a vector itself. Where a core has
one unit for multiply-adds and a spreading load costs a part of a cycle (AMD Zen 4) that is faster;
where it has two (Zen 5) the loads bound it, since each multiply-add is one. Results are the same
bits: neither form changes the order of sums.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..arithmetic import ARITHMETIC
from ..compiler import environment_key, native_function
from ..cost_tables import family_of
from ..storage import remembered
from ..target import EMBEDDED_BROADCAST, LANES, REGISTERS, target
from ..trials import fastest
from .sum_stores import FIRST, LAST
from .tile import OPERANDS, tile

_SHAPES, LENGTH = ((14, 2), (6, 4)), 128
"""Tiles that both forms can have, and a sum whose weights stay in the first-level cache."""
TILES, _TURNS = 128, 100  # about 50 us each


@functools.cache
def operand_form(kind: str = "f32") -> str:
    """Return the faster of ``tile.OPERANDS``; there is one only where numbers cannot be embedded.

    Where the processor's family does not say so it is measured on the first use on a machine (a
    tenth of a second, and four tiles to compile). Kinds whose products no instruction takes from
    memory (bytes) need a register for what is spread.
    """
    if not EMBEDDED_BROADCAST or not ARITHMETIC[kind].instruction:
        return "register"
    return family_of(target()).operand or remembered(f"operand\n{environment_key()}", _fastest)


def max_rows(nv: int, kind: str = "f32") -> int:
    """Most rows of a tile: accumulators, weights and a number that is spread must fit."""
    return most_rows(nv, operand_form(kind))


def most_rows(nv: int, form: str) -> int:
    """Most rows of a tile whose operands have a form."""
    return min((REGISTERS - nv - (form == "register")) // nv, 14)


def _fastest() -> str:
    """Let the forms take turns at a tall and a wide tile, of which the loads bound the second."""

    def runs_of(form: str) -> Callable[[], Any]:
        calls = [tile_run(*shape, form) for shape in _SHAPES]
        return lambda: [call() for call in calls]

    return OPERANDS[fastest([runs_of(form) for form in OPERANDS], _TURNS)]


def tile_operations(rows: int, vectors: int) -> int:
    """Return the operations of `tile_run` with a sum of the usual length."""
    return 2 * rows * vectors * LANES * LENGTH * TILES


def tile_run(
    rows: int, vectors: int, form: str, length: int = LENGTH, tiles: int = TILES
) -> Callable[[], Any]:
    """Return what runs a tile of so many rows and vectors some times, on numbers in a cache."""
    width = vectors * LANES
    kernel = tile(rows, vectors, "f32", form)
    arrays = {
        "a": np.ones((rows, length), np.float32),
        "b": np.ones((length, width), np.float32),
        "c": np.zeros((rows, width), np.float32),
    }
    sizes = {"lda": length, "ldc": width, "length": length, "n": width, "rows": tiles}
    ones = dict.fromkeys(("s0", "s1", "tiles"), 1)
    values = dict.fromkeys(kernel.fields, 0) | arrays | sizes | ones
    record = kernel.record(**values | {"ahead": arrays["b"], "flags": FIRST | LAST})
    call = native_function(kernel.address)

    def run(kept: Any = arrays) -> None:
        call(record.ctypes.data)

    return run
