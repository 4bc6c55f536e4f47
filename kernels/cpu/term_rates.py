"""What products of bfloat16 terms cost on this machine, measured once (`bfloat_terms`).

A product splits its rows, then multiplies them with weights that come from a cache, or from memory
where there are few rows for them, and stores its sums. Five products of `term_conv` tell these
costs apart. They take turns with the tile of vectors, so that a busy machine slows down both.
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
from ..target import target
from ..trials import least_times
from .finish import COLUMNS
from .operands import max_rows, operand_form, tile_operations, tile_run
from .term_conv import term_convolve, workspace_bytes
from .term_pack import packed_bytes

_TURNS = 20
_ROWS, _FEW_ROWS = 256, 16
_DEPTH, _SHORT = 16 * BLOCK, BLOCK


class TermCosts(NamedTuple):
    """Costs, in operations of float32 by vectors that take as long.

    Attributes
    ----------
    product
        Of a multiplication and addition of two bfloat16, once both are split; the more terms there
        are, the more of them a tile that is loaded takes part in.
    split
        Of a number, for each of its terms.
    fetch
        Of a byte of weights that no cache holds.
    result
        Of a sum, whose tile is stored, and finished by vectors.
    """

    product: float
    split: float
    fetch: float
    result: float


@functools.cache
def term_costs(terms: int) -> TermCosts:
    """Return the costs with so many terms, which are measured on the first use on a machine."""
    if EMULATED:
        return TermCosts(0.0, 0.0, 0.0, 0.0)
    question = f"costs of {terms} terms\n{environment_key()}"
    return TermCosts(*json.loads(remembered(question, lambda: json.dumps(_measure(terms)))))


def _measure(terms: int) -> TermCosts:
    few, many = COLUMNS, 9 * COLUMNS
    large = 32 * target().l2 // packed_bytes(terms, _DEPTH, COLUMNS) * COLUMNS
    shapes = [
        (_ROWS, _DEPTH, few), (_ROWS, _DEPTH, many), (_FEW_ROWS, _DEPTH, large),
        (_ROWS, _SHORT, few), (_ROWS, _SHORT, many),
    ]  # fmt: skip
    tile = max_rows(2), 2
    runs = [_product(terms, *shape) for shape in shapes]
    *times, by_vectors = least_times([*runs, tile_run(*tile, operand_form())], _TURNS)
    rate = tile_operations(*tile) / by_vectors
    column, short = ((times[i + 1] - times[i]) / (many - few) for i in (0, 3))
    split = max(times[0] - few * column, 0.0) / (_ROWS * _DEPTH * terms)
    product = max(column - short, 0.0) / (_ROWS * (_DEPTH - _SHORT) * PRODUCTS[terms])
    result = max(short / _ROWS - _SHORT * PRODUCTS[terms] * product, 0.0)
    fetch = times[2] / packed_bytes(terms, _DEPTH, large)
    return TermCosts(*(cost * rate for cost in (product, split, fetch, result)))


def _product(terms: int, rows: int, depth: int, columns: int) -> Callable[[], Any]:
    """Return a product of ones with weights of zeros."""
    kernel = term_convolve(terms)
    space = workspace_bytes(terms, rows, depth, 1, 1)
    arrays = {
        "x": np.ones((rows, depth), np.float32),
        "y": np.zeros((rows, columns), np.float32),
        # Written, or all of its pages would be the one page of zeros that a cache holds.
        "w": np.full(packed_bytes(terms, depth, columns) // 8 + 8, 0, np.int64),
        "workspace": np.zeros(space // 8 + 8, np.int64),
    }
    # Tiles are read line by line.
    addresses = {name: -(-array.ctypes.data // 64) * 64 for name, array in arrays.items()}
    addresses |= {name: arrays[name].ctypes.data for name in "xy"}
    ones = ("images", "height", "out_height", "kernel_h", "kernel_w", "stride_h", "stride_w",
            "dilation_h", "dilation_w", "groups", "may_flatten")  # fmt: skip
    values = dict.fromkeys(kernel.fields, 0) | dict.fromkeys(ones, 1) | addresses
    sizes = {"width": rows, "out_width": rows, "channels": depth, "out_channels": columns}
    strides = {"x_pixel": depth, "x_row": rows * depth, "y_pixel": columns,
               "y_row": rows * columns, "workspace_bytes": space}  # fmt: skip
    record, call = kernel.record(**values | sizes | strides), native_function(kernel.address)

    def run(kept: Any = arrays) -> None:
        call(record.ctypes.data)

    return run
