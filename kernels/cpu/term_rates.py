"""What products of bfloat16 terms cost on this machine, measured once (`bfloat_terms`).

A product splits its rows, then multiplies them with weights that come from a cache, or from memory
where there are few rows for them. Three products of `term_conv` tell these three costs apart. They
take turns with the tile of vectors, so that a machine that is busy slows down both.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..amx_permission import EMULATED
from ..bfloat_terms import BLOCK, PRODUCTS
from ..compiler import environment_key, native_function
from ..storage import remembered
from ..target import L2_BYTES
from ..trials import least_times
from .finish import COLUMNS
from .operands import max_rows, operand_form, tile_operations, tile_run
from .term_conv import term_convolve, workspace_bytes
from .term_pack import packed_bytes

_TERMS, _TURNS = 3, 20
_ROWS, _DEPTH, _FEW_ROWS = 256, 16 * BLOCK, 16


class TermCosts(NamedTuple):
    """Costs, in operations of float32 by vectors that take as long.

    Attributes
    ----------
    product
        Of a multiplication and addition of two bfloat16, once both are split.
    split
        Of a number, for each of its terms.
    fetch
        Of a byte of weights that no cache holds.
    """

    product: float
    split: float
    fetch: float


@functools.cache
def term_costs() -> TermCosts:
    """Return the costs, which are measured on the first use on a machine."""
    if EMULATED:
        return TermCosts(0.0, 0.0, 0.0)
    question = f"costs of terms\n{environment_key()}"
    return TermCosts(*json.loads(remembered(question, lambda: json.dumps(_measure()))))


def _measure() -> TermCosts:
    few, many = COLUMNS, 9 * COLUMNS
    large = 32 * L2_BYTES // packed_bytes(_TERMS, _DEPTH, COLUMNS) * COLUMNS
    shapes = [(_ROWS, few), (_ROWS, many), (_FEW_ROWS, large)]
    tile = max_rows(2), 2
    runs = [_product(rows, columns) for rows, columns in shapes]
    *times, by_vectors = least_times([*runs, tile_run(*tile, operand_form())], _TURNS)
    rate = tile_operations(*tile) / by_vectors
    column = (times[1] - times[0]) / (many - few)
    split = max(times[0] - few * column, 0.0) / (_ROWS * _DEPTH * _TERMS)
    product = max(column, 0.0) / (_ROWS * _DEPTH * PRODUCTS[_TERMS])
    fetch = times[2] / packed_bytes(_TERMS, _DEPTH, large)
    return TermCosts(product * rate, split * rate, fetch * rate)


def _product(rows: int, columns: int) -> Callable[[], Any]:
    """Return a product of ones with weights of zeros."""
    kernel = term_convolve(_TERMS)
    space = workspace_bytes(_TERMS, rows, _DEPTH, 1, 1)
    arrays = {
        "x": np.ones((rows, _DEPTH), np.float32),
        "y": np.zeros((rows, columns), np.float32),
        # Written, or all of its pages would be the one page of zeros that a cache holds.
        "w": np.full(packed_bytes(_TERMS, _DEPTH, columns) // 8 + 8, 0, np.int64),
        "workspace": np.zeros(space // 8 + 8, np.int64),
    }
    # Tiles are read line by line.
    addresses = {name: -(-array.ctypes.data // 64) * 64 for name, array in arrays.items()}
    addresses |= {name: arrays[name].ctypes.data for name in "xy"}
    ones = ("images", "height", "out_height", "kernel_h", "kernel_w", "stride_h", "stride_w",
            "dilation_h", "dilation_w", "groups", "may_flatten")  # fmt: skip
    values = dict.fromkeys(kernel.fields, 0) | dict.fromkeys(ones, 1) | addresses
    sizes = {"width": rows, "out_width": rows, "channels": _DEPTH, "out_channels": columns}
    strides = {"x_pixel": _DEPTH, "x_row": rows * _DEPTH, "y_pixel": columns,
               "y_row": rows * columns, "workspace_bytes": space}  # fmt: skip
    record, call = kernel.record(**values | sizes | strides), native_function(kernel.address)

    def run(kept: Any = arrays) -> None:
        call(record.ctypes.data)

    return run
