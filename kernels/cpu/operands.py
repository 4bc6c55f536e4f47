"""Form of a tile's operand on this machine: in a register or from memory, measured once.

With AVX-512 a multiply-add may fetch a number and spread it over a vector itself. Where a core has
one unit for multiply-adds and a spreading load costs a part of a cycle (AMD Zen 4) that is faster;
where it has two (Zen 5) the loads bound it, since each multiply-add is one. Results are the same
bits: neither form changes the order of sums.
"""

from __future__ import annotations

import functools
import time

import numpy as np

from ..compiler import environment_key, native_function
from ..storage import remembered
from ..target import LANES, REGISTERS
from .tile import FIRST, LAST, OPERANDS, tile

_ROWS, _VECTORS, _LENGTH = 14, 2, 128
"""A tile that both forms can have, and a sum whose weights stay in the first-level cache."""
_TILES, _TURNS = 128, 100  # about 50 us each


@functools.cache
def operand_form() -> str:
    """Return the faster of ``tile.OPERANDS``; there is one only where numbers cannot be embedded.

    Measured on the first use on a machine (a tenth of a second, and two tiles to compile).
    """
    if LANES != 16:
        return "register"
    return remembered(f"operand\n{environment_key()}", _fastest)


def max_rows(nv: int) -> int:
    """Most rows of a tile: accumulators, weights and a number that is spread must fit."""
    spread = operand_form() == "register"
    return min((REGISTERS - nv - spread) // nv, 14)


def _fastest() -> str:
    """Let the forms take turns; what else the machine does only adds to a time."""
    kernels = [tile(_ROWS, _VECTORS, "f32", form) for form in OPERANDS]
    width = _VECTORS * LANES
    arrays = {
        "a": np.ones((_ROWS, _LENGTH), np.float32),
        "b": np.ones((_LENGTH, width), np.float32),
        "c": np.zeros((_ROWS, width), np.float32),
    }
    sizes = {"lda": _LENGTH, "ldc": width, "length": _LENGTH, "n": width, "rows": _TILES}
    ones = dict.fromkeys(("s0", "s1", "tiles"), 1)
    values = dict.fromkeys(kernels[0].fields, 0) | arrays | sizes | ones
    record = kernels[0].record(**values | {"ahead": arrays["b"], "flags": FIRST | LAST})
    calls = [native_function(kernel.address) for kernel in kernels]
    times: list[list[int]] = [[] for _ in calls]
    for _ in range(_TURNS):
        for call, own in zip(calls, times, strict=True):
            start = time.perf_counter_ns()
            call(record.ctypes.data)
            own.append(time.perf_counter_ns() - start)
    return OPERANDS[int(np.argmin([np.quantile(own, 0.1) for own in times]))]
