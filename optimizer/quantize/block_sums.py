"""Products with blocks of weights that have an offset: it multiplies the sum of a block of a row.

``x @ ((q - z) * s + d)``, with an offset ``d`` for each block of a column, is one product of
``[x, sums of blocks of x]`` with the offsets as further rows of weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir

from ..edits import insert, new_constant
from .half_quadratic import any_zeros
from .scales import LEVELS
from .spaced import Spaced
from .weights import Blocks, in_blocks, widened


def with_offsets(weights: Spaced, block: int) -> Blocks:
    """Weights (summed, outputs) in 4 bits, and behind them, where they have any, the offsets."""
    whole = Blocks(
        weights.integers.T.astype(ml_dtypes.uint4),
        np.ascontiguousarray(weights.scales.T),
        weights.zeros.T.astype(ml_dtypes.uint4),
    )
    if not weights.has_offsets:
        return whole
    rows = in_blocks(np.ascontiguousarray(weights.offsets.T), 0, block)
    pairs = (
        (whole.integers, rows.integers),
        (whole.scales, rows.scales),
        (whole.zeros, rows.zeros),
    )
    return Blocks(*(np.concatenate(pair) for pair in pairs))


def moved(weights: np.ndarray, block: int) -> Spaced | None:
    """Round weights to 4 bits with zero points between whole numbers, by half-quadratic splitting.

    Parameters
    ----------
    weights : ndarray of float32, shape (outputs, summed)
    block : int

    Returns
    -------
    Spaced or None
        None where whole zero points lose less, as where offsets are too large for 4 bits (blocks of
        numbers of one sign), or no block divides the weights.
    """
    if weights.shape[1] % block:
        return None
    blocks = weights.reshape(len(weights), -1, block).astype(np.float32)
    scales, zeros = any_zeros(blocks)
    integers = np.clip(np.rint(blocks / scales + zeros), 0, LEVELS)
    whole = np.clip(np.rint(zeros), 0, LEVELS)
    found = Spaced(
        integers.astype(np.uint8).reshape(weights.shape), scales[..., 0],
        whole.astype(np.uint8)[..., 0], ((whole - zeros) * scales)[..., 0],
    )  # fmt: skip
    kept = widened(in_blocks(found.offsets, 1, block), block)[..., np.newaxis]
    own = np.square((integers - whole) * scales + kept - blocks).sum()
    other = np.square(widened(in_blocks(weights, 1, block, "mse"), block) - weights).sum()
    return found if own < other else None


def with_sums(node: ir.Node, depth: int, block: int, made: dict[ir.Value, ir.Value]) -> ir.Value:
    """Insert what joins the rows that a node multiplies with sums of their blocks.

    Parameters
    ----------
    node : ir.Node
        Its first input is (..., depth), of a known rank.
    depth, block : int
    made : dict of ir.Value to ir.Value
        What was inserted for other nodes, by their inputs; completed.

    Returns
    -------
    ir.Value
        (..., depth + depth / block)
    """
    x, graph = node.inputs[0], node.graph
    assert x is not None and x.shape is not None and isinstance(graph, ir.Graph)
    if x in made:
        return made[x]
    shape = np.array([0] * (len(x.shape) - 1) + [depth // block, block], np.int64)
    sizes = list(x.shape)[:-1]
    cut = _node("Reshape", [x, new_constant(graph, shape, f"{x.name}.blocks.shape")],
                f"{x.name}.blocks", x, [*sizes, depth // block, block])  # fmt: skip
    axis = new_constant(graph, np.array([-1], np.int64), f"{x.name}.blocks.axis")
    sums = _node("ReduceSum", [cut.outputs[0], axis], f"{x.name}.sums", x,
                 [*sizes, depth // block], keepdims=0)  # fmt: skip
    joined = _node("Concat", [x, sums.outputs[0]], f"{x.name}.with_sums", x,
                   [*sizes, depth + depth // block], axis=-1)  # fmt: skip
    insert(node, [cut, sums, joined])
    made[x] = joined.outputs[0]
    return made[x]


def _node(
    op_type: str, inputs: list[ir.Value], name: str, like: ir.Value, sizes: Sequence[Any],
    **attributes: int,
) -> ir.Node:  # fmt: skip
    node = ir.node(op_type, inputs, attributes, name=name)
    result = node.outputs[0]
    result.name, result.type, result.shape = name, like.type, ir.Shape(sizes)
    return node
