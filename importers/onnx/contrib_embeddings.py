"""Embeddings of com.microsoft: sums of rows of tables, normalized; and biases by distance."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from .contrib_heads import numbers_below, size_of
from .contrib_rewrite import adapts, become, give, needed, optional, summed
from .node_rewrite import NodeRewrite, NotExpressible

_INT32 = int(ir.DataType.INT32)
Row = Callable[[int, ir.Value], ir.Value]
"""Rows of the table that is a certain input, by their numbers."""


@adapts("EmbedLayerNormalization")
def _embed_layer_normalization(r: NodeRewrite) -> None:
    def row(table: int, numbers: ir.Value) -> ir.Value:
        return r.emit("Gather", needed(r, table), numbers)

    gamma, beta = needed(r, 5), needed(r, 6)
    total = _rows(r, optional(r, 8), row)
    give(r, 2, total)
    r.take("mask_index_type")
    _normalized(r, total, gamma, beta)


@adapts("QEmbedLayerNormalization")
def _quantized_embed_layer_normalization(r: NodeRewrite) -> None:
    """Rows become float32 after they are taken, so that tables stay small."""

    def wide(index: int, x: ir.Value) -> ir.Value:
        return r.emit("DequantizeLinear", x, needed(r, index + 6), optional(r, index + 11))

    def row(table: int, numbers: ir.Value) -> ir.Value:
        return wide(table, r.emit("Gather", needed(r, table), numbers))

    gamma, beta = (wide(index, needed(r, index)) for index in (5, 6))
    _normalized(r, _rows(r, None, row), gamma, beta)


def _rows(r: NodeRewrite, places: ir.Value | None, row: Row) -> ir.Value:
    """Sum of the rows of words, places and segments."""
    ids, segments = needed(r, 0), optional(r, 1)
    words = row(2, ids)
    if places is None:
        places = numbers_below(r, size_of(r, ids, 1))
    parts = [words, row(3, places)]
    if segments is not None and optional(r, 4) is not None:
        parts.append(row(4, segments))
    return summed(r, *parts)


def _normalized(r: NodeRewrite, total: ir.Value, gamma: ir.Value, beta: ir.Value) -> None:
    """Let the node normalize; its second output counts the words of each sequence, if told."""
    ids, mask = needed(r, 0), optional(r, 7)
    one, zero = r.constant([1]), r.constant([0])
    if len(r.node.outputs) > 1:
        if mask is not None:
            count = r.emit("ReduceSum", mask, one, keepdims=0)
        else:
            count = r.emit("Expand", r.emit("Cast", zero, to=_INT32), size_of(r, ids, 0))
        give(r, 1, count)
    epsilon = r.take("epsilon", 1e-12)
    r.outputs = 1
    become(r, "LayerNormalization", total, gamma, beta)
    r.put(axis=-1, epsilon=epsilon)


@adapts("RelativePositionBias")
def _relative_position_bias(r: NodeRewrite) -> None:
    """T5's bias by distance: near ones have a bucket each, far ones share theirs by logarithm."""
    table = needed(r, 0)
    farthest, both = r.take("max_distance"), r.take("is_bidirectional", 0)
    queries, keys = (r.emit("Reshape", needed(r, i), r.constant([1])) for i in (1, 2))
    buckets = _count_of_rows(table)
    sided = buckets // 2 if both else buckets
    exact = sided // 2
    rows = r.emit("Unsqueeze", numbers_below(r, queries), r.constant([1]))
    offset = r.emit("Sub", numbers_below(r, keys), rows)
    distance = r.emit("Abs", offset) if both else r.emit(
        "Max", r.emit("Neg", offset), r.constant(0)
    )  # fmt: skip
    ratio = r.emit(
        "Div", r.emit("Cast", distance, to=int(ir.DataType.FLOAT)), r.constant(exact, np.float32)
    )
    step = (sided - exact) / math.log(farthest / exact)
    far = r.emit("Mul", r.emit("Log", ratio), r.constant(step, np.float32))
    far = r.emit("Cast", r.emit("Max", far, r.constant(0, np.float32)), to=int(ir.DataType.INT64))
    far = r.emit("Min", r.emit("Add", far, r.constant(exact)), r.constant(sided - 1))
    number = r.emit("Where", r.emit("Less", distance, r.constant(exact)), distance, far)
    if both:
        ahead = r.emit("Greater", offset, r.constant(0))
        number = r.emit("Add", number, r.emit("Where", ahead, r.constant(sided), r.constant(0)))
    bias = r.emit("Transpose", r.emit("Gather", table, number), perm=[2, 0, 1])
    become(r, "Unsqueeze", bias, r.constant([0]))


def _count_of_rows(table: ir.Value) -> int:
    count = None if table.shape is None else table.shape[0]
    if not isinstance(count, int):
        raise NotExpressible("the number of its buckets is not known")
    return count
