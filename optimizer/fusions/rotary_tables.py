"""Tables of cosines and sines: the angle of each pair once, made where the table is made."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from ..rewrite import Match
from ..values import Size, attribute, constant, dims, integers, rank, scalar
from .rows import trace

_UNARY = ("Cos", "Sin", "Cast", "Identity")
_DEPTH = 16
_DIFFER = "angles of the elements of a pair differ"


def angles(
    m: Match, table: ir.Value, x: ir.Value, pair: tuple[np.ndarray, np.ndarray], half: int
) -> tuple[ir.Value, int]:
    """Cosines or sines of each position of a batch, once: (batch, rows, half).

    Parameters
    ----------
    m : Match
    table : ir.Value
        Broadcast to the rows.
    x : ir.Value
        The rows: (batch, heads, rows, size) or (batch, rows, heads, size).
    pair : (np.ndarray, np.ndarray)
        Places in the table of the angle of each pair, for its first and its second element.
    half : int
        Number of pairs.

    Returns
    -------
    (ir.Value, int)
        The table and the axis of heads.
    """
    sizes, own = m.sizes(x), m.sizes(table)
    missing = 4 - len(own)
    m.require(missing >= 0, "angles have more axes than rows")
    padded = [1] * missing + own
    fits = [
        axis
        for axis in (1, 2)
        if padded[axis] == 1
        and all(padded[i] in (1, sizes[i]) and sizes[i] is not None for i in (0, 3 - axis))
    ]
    m.require(bool(fits), "angles are not for all heads, or for other rows")
    heads = next((axis for axis in fits if padded[3 - axis] != 1), fits[0])
    rows = 3 - heads
    width = int(max(places.max() for places in pair)) + 1
    m.require(own[-1] == width, "angles are not one for each element")
    selected = _with_front(m, _selected(m, table, *pair), [padded[0], padded[rows]])
    if [padded[0], padded[rows]] == [sizes[0], sizes[rows]]:
        return selected, heads
    batch, count = (m.op.Shape(x, start=axis, end=axis + 1) for axis in (0, rows))
    target = m.op.Concat(batch, count, np.array([half]), axis=0)
    for value in (batch, count, target):
        value.type = ir.TensorType(ir.DataType.INT64)
    return m.op.Expand(selected, target), heads


def _selected(
    m: Match, value: ir.Value, keep: np.ndarray, same: np.ndarray, depth: int = _DEPTH
) -> ir.Value:
    """Elements of rows, which have to equal others of the same row.

    They are selected where rows are made, so that nothing is computed twice; axes of size 1 in
    front of the row may be other ones.
    """
    array = constant(value)
    if array is not None:
        m.require(np.array_equal(array[..., keep], array[..., same]), _DIFFER)
        return _result(m, "Identity", value, keep.size, array[..., keep])
    sizes = m.sizes(value)
    row, node = trace(value, len(sizes) - 1), value.producer()
    if row is not None and row.source is not value:
        m.require((row.signs == 1).all(), "angles have signs")
        m.require(rank(row.source) == row.leading + 1, _DIFFER)
        return _selected(m, row.source, row.places[keep], row.places[same], depth)
    if np.array_equal(keep, np.arange(keep.size)) and keep.size == sizes[-1]:
        m.require(np.array_equal(keep, same), _DIFFER)
        return value
    is_here = node is not None and node.graph is m.root.graph  # no loop does again what is outside
    operand = _row_by_row(node) if is_here and node is not None and depth else None
    if operand is not None and node is not None:
        inner = _selected(m, node.inputs[operand], keep, same, depth - 1)  # type: ignore[arg-type]
        inputs = [inner if i == operand else x for i, x in enumerate(node.inputs)]
        return _result(m, node.op_type, value, keep.size, *inputs, **dict(node.attributes))
    m.require(np.array_equal(keep, same), _DIFFER)
    return _result(m, "Gather", value, keep.size, value, keep, axis=-1)


def _row_by_row(node: ir.Node) -> int | None:
    """Operand whose rows make the rows of the only result, element by element."""
    if node.domain:
        return None
    if node.op_type in _UNARY:
        return 0
    if node.op_type == "Mul":
        own = rank(node.outputs[0])
        rows = [i for i, x in enumerate(node.inputs) if scalar(x) is None and rank(x) == own]
        return rows[0] if len(rows) == 1 and scalar(node.inputs[1 - rows[0]]) is not None else None
    table, axes = node.inputs[0], rank(node.inputs[0])
    if constant(table) is None or axes is None or axes < 2:
        return None
    if node.op_type == "Gather":
        return 0 if attribute(node, "axis", 0) % axes < axes - 1 else None
    if node.op_type == "GatherND":
        last = (dims(node.inputs[1]) or [None])[-1]  # type: ignore[arg-type]
        fits = isinstance(last, int) and last < axes and not attribute(node, "batch_dims", 0)
        return 0 if fits else None
    if node.op_type == "Slice" and len(node.inputs) > 3:
        own_axes = integers(node.inputs[3])
        behind = own_axes is None or any(axis % axes == axes - 1 for axis in own_axes)
        return None if behind else 0
    return None


def _result(
    m: Match, op_type: str, like: ir.Value, size: int, *inputs: Any, **attributes: Any
) -> ir.Value:
    """Make a node whose result is like a value, but for the size of its rows."""
    result: ir.Value = getattr(m.op, op_type)(*inputs, **attributes)
    result.type, result.shape = like.type, ir.Shape([*m.sizes(like)[:-1], size])
    return result


def _with_front(m: Match, value: ir.Value, front: list[Size]) -> ir.Value:
    """Give the axes in front of rows other ones of size 1."""
    own, row = m.sizes(value)[:-1], m.sizes(value)[-1]
    if own == front:
        return value
    others = [size for size in own if size != 1]
    m.require(others == [size for size in front if size != 1], "angles are for other rows")
    if len(others) < len(own):
        value = m.op.Squeeze(value, np.array([i for i, size in enumerate(own) if size == 1]))
    if len(others) < len(front):
        value = m.op.Unsqueeze(value, np.array([i for i, size in enumerate(front) if size == 1]))
    value.shape = ir.Shape([*front, row])
    return value
