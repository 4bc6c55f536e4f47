"""What products of bfloat16 terms cost on this machine, measured once (`bfloat_terms`).

A product splits its rows, then multiplies them with weights that come from a cache, or from memory
where there are few rows for them, and stores its sums. Five products of `term_conv` tell these
costs apart. Those of all numbers of terms take turns with the tile of vectors, so that a busy
machine slows down all of them, and work on the same memory, which a cache holds.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
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

_TURNS, _BURSTS = 4, 10
_ROWS, _FEW_ROWS = 128, 16
_DEPTH, _SHORT = 16 * BLOCK, BLOCK
_FEW, _MANY = COLUMNS, 6 * COLUMNS


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
    question = f"costs of terms\n{environment_key()}"
    return TermCosts(*json.loads(remembered(question, lambda: json.dumps(_measure())))[terms - 1])


def _measure() -> list[TermCosts]:
    """Return the costs with one term and more."""
    most = max(PRODUCTS)
    shapes = [(_DEPTH, _FEW), (_DEPTH, _MANY), (_SHORT, _FEW), (_SHORT, _MANY)]
    arrays = _arrays(most, _ROWS, _DEPTH, _MANY)
    runs = [_product(terms, _ROWS, *shape, arrays) for terms in PRODUCTS for shape in shapes]
    tile = max_rows(2), 2
    vectors = tile_run(*tile, operand_form())
    *times, by_vectors = least_times([*runs, vectors], _TURNS, _BURSTS)
    rate = tile_operations(*tile) / by_vectors
    # Weights that no cache holds would take the others' place.
    large = 32 * target().l2 // packed_bytes(most, _DEPTH, COLUMNS) * COLUMNS
    weights = packed_bytes(most, _DEPTH, large)
    run = _product(most, _FEW_ROWS, _DEPTH, large, _arrays(most, _FEW_ROWS, _DEPTH, large))
    fetching, by_vectors = least_times([run, vectors], _TURNS)
    fetch = fetching / weights * tile_operations(*tile) / by_vectors
    count = len(shapes)
    return [
        _costs(terms, times[i * count : (i + 1) * count], rate, fetch)
        for i, terms in enumerate(PRODUCTS)
    ]


def _costs(terms: int, times: Sequence[float], rate: float, fetch: float) -> TermCosts:
    """Return the costs with so many terms, by the times of products and the rate of vectors."""
    column, short = ((times[i + 1] - times[i]) / (_MANY - _FEW) for i in (0, 2))
    split = max(times[0] - _FEW * column, 0.0) / (_ROWS * _DEPTH * terms)
    product = max(column - short, 0.0) / (_ROWS * (_DEPTH - _SHORT) * PRODUCTS[terms])
    result = max(short / _ROWS - _SHORT * PRODUCTS[terms] * product, 0.0)
    return TermCosts(product * rate, split * rate, fetch, result * rate)


def _arrays(terms: int, rows: int, depth: int, columns: int) -> dict[str, np.ndarray]:
    """Return ones, and weights of zeros, for a product of at most so many of each."""
    return {
        "x": np.ones((rows, depth), np.float32),
        "y": np.zeros((rows, columns), np.float32),
        # Written, or all of its pages would be the one page of zeros that a cache holds.
        "w": np.full(packed_bytes(terms, depth, columns) // 8 + 8, 0, np.int64),
        "workspace": np.zeros(workspace_bytes(terms, rows, depth, 1, 1) // 8 + 8, np.int64),
    }


def _product(
    terms: int, rows: int, depth: int, columns: int, arrays: dict[str, np.ndarray]
) -> Callable[[], Any]:
    """Return a product of matrices in the memory of some arrays, dense."""
    kernel = term_convolve(terms)
    space = workspace_bytes(terms, rows, depth, 1, 1)
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
