"""Rows as places: which elements of the rows of one value another one has, in which order.

Split, Slice, Concat, Stack, Reshape and the like only move the elements of a row. However an
exporter writes them, what they make is a table of places in the rows that they began with, and of
signs. So patterns of moved elements are compared by what they do, not by their operators.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from ..operators.selection import WHOLE
from ..values import Size, attribute, axes_of, constant, dims, integers, rank
from .resizes import repeats

_DEPTH = 10  # nodes between a row and what it was made of: two inputs each, so at most 1024 walks
_LIMIT = 4096  # elements of a row


@dataclass(frozen=True)
class Row:
    """Elements of each row of a value: places in the row of another one, 1 or -1 times.

    Attributes
    ----------
    source : ir.Value
    leading : int
        Number of its axes in front of those of a row: others of size 1 may come and go.
    places : np.ndarray of int64
        In the flat row of the source; of the shape of a row.
    signs : np.ndarray of int64
    """

    source: ir.Value
    leading: int
    places: np.ndarray
    signs: np.ndarray

    def map(self, function: Callable[[np.ndarray], np.ndarray]) -> Row:
        """Move the elements."""
        return replace(self, places=function(self.places), signs=function(self.signs))


def trace(value: ir.Value, leading: int, depth: int = _DEPTH) -> Row | None:
    """Find what the rows of a value were made of.

    Parameters
    ----------
    value : ir.Value
    leading : int
        Number of axes in front of those of a row.
    depth : int
        Nodes to look back.

    Returns
    -------
    Row or None
        None where the size of a row is not known, or too large.
    """
    sizes = dims(value)
    if sizes is None or len(sizes) < leading:
        return None
    shape = sizes[leading:]
    node = value.producer()
    if node is not None and not node.domain and node.op_type in _MOVES and depth:
        row = _MOVES[node.op_type](node, value, leading, depth - 1)
        if row is not None and _agree(row.places.shape, shape):
            return row
    known = tuple(size for size in shape if isinstance(size, int))
    if len(known) < len(shape) or not 0 < math.prod(known) <= _LIMIT:
        return None
    places = np.arange(math.prod(known)).reshape(known)
    return Row(value, leading, places, np.ones_like(places))


def _agree(shape: tuple[int, ...], sizes: list[Size]) -> bool:
    """Tell whether sizes may be those of a shape, which is not too large."""
    same = len(shape) == len(sizes) and 0 < math.prod(shape) <= _LIMIT
    return same and all(
        size == own or not isinstance(size, int) for own, size in zip(shape, sizes, strict=True)
    )


def _inner(node: ir.Node, leading: int, depth: int, number: int = 0) -> Row | None:
    value = node.inputs[number]
    return None if value is None else trace(value, leading, depth)


def _in_row(axes: list[int] | None, axis_count: int | None, leading: int) -> list[int] | None:
    """Axes by their number within a row; None if one is not in it."""
    if axes is None or axis_count is None:
        return None
    own = [axis % axis_count - leading for axis in axes]
    return own if min(own, default=0) >= 0 else None


def _keeps_front(node: ir.Node, leading: int) -> bool:
    """Tell whether the axes in front of rows keep their sizes."""
    before, after = (None if x is None else dims(x) for x in (node.inputs[0], node.outputs[0]))
    if before is None or after is None or None in after[:leading]:
        return False
    return before[:leading] == after[:leading]


def _known(value: ir.Value, leading: int) -> list[int]:
    """Sizes of the axes of a row; none where one is not known."""
    sizes = (dims(value) or [])[leading:]
    known = [size for size in sizes if isinstance(size, int)]
    return known if len(known) == len(sizes) else []


def _slice(node: ir.Node, value: ir.Value, leading: int, depth: int) -> Row | None:
    row, count = _inner(node, leading, depth), rank(value)
    if row is None or count is None or len(node.inputs) < 4:
        return None
    starts, ends, axes = (integers(x) for x in node.inputs[1:4])
    steps = integers(node.inputs[4]) if len(node.inputs) > 4 else [1] * len(axes or [])
    if starts is None or ends is None or axes is None or steps is None:
        return None
    parts = [slice(None)] * row.places.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        own = axis % count - leading
        if own >= 0:
            parts[own] = slice(start, end, step)
        elif (start, step) != (0, 1) or end < WHOLE:
            return None
    return row.map(lambda x: x[tuple(parts)])


def _split(node: ir.Node, value: ir.Value, leading: int, depth: int) -> Row | None:
    row, own = _inner(node, leading, depth), [attribute(node, "axis", 0)]
    axes = _in_row(own, rank(value), leading)
    if row is None or axes is None:
        return None
    sizes = [(dims(x) or [None])[own[0] % len(dims(x) or [None])] for x in node.outputs]
    counts = [size for size in sizes if isinstance(size, int)]
    if len(counts) < len(sizes) or sum(counts) != row.places.shape[axes[0]]:
        return None
    number = list(node.outputs).index(value)
    return row.map(lambda x: np.split(x, np.cumsum(counts)[:-1], axes[0])[number])


def _concat(node: ir.Node, value: ir.Value, leading: int, depth: int) -> Row | None:
    axes = _in_row([attribute(node, "axis", 0)], rank(value), leading)
    if axes is None or len(node.inputs) != 2:
        return None
    first, second = (_inner(node, leading, depth, number) for number in (0, 1))
    if first is None or second is None or first.source is not second.source:
        return None
    pairs = (first.places, second.places), (first.signs, second.signs)
    joined = [np.concatenate(pair, axes[0]) for pair in pairs]
    return Row(first.source, first.leading, *joined)


def _neg(node: ir.Node, value: ir.Value, leading: int, depth: int) -> Row | None:
    row = _inner(node, leading, depth)
    return None if row is None else replace(row, signs=-row.signs)


def _unsqueeze(node: ir.Node, value: ir.Value, leading: int, depth: int) -> Row | None:
    axes, count = axes_of(node), rank(value)
    if axes is None or count is None:
        return None
    own = [axis % count for axis in axes]
    row = _inner(node, leading - sum(axis < leading for axis in own), depth)
    within = tuple(axis - leading for axis in own if axis >= leading)
    return None if row is None else row.map(lambda x: np.expand_dims(x, within))


def _squeeze(node: ir.Node, value: ir.Value, leading: int, depth: int) -> Row | None:
    axes, count = axes_of(node), rank(node.inputs[0])
    if axes is None or count is None:
        return None
    own = {axis % count for axis in axes}
    front = leading
    while front - sum(axis < front for axis in own) < leading:
        front += 1
    row = _inner(node, front, depth)
    within = tuple(axis - front for axis in own if axis >= front)
    return None if row is None else row.map(lambda x: np.squeeze(x, within))


def _reshape(node: ir.Node, value: ir.Value, leading: int, depth: int) -> Row | None:
    row, shape = _inner(node, leading, depth), _known(value, leading)
    if row is None or not _keeps_front(node, leading) or math.prod(shape) != row.places.size:
        return None
    return row.map(lambda x: x.reshape(shape))


def _expand(node: ir.Node, value: ir.Value, leading: int, depth: int) -> Row | None:
    row, shape = _inner(node, leading, depth), _known(value, leading)
    if row is None or not _keeps_front(node, leading) or row.places.ndim != len(shape):
        return None
    return row.map(lambda x: np.broadcast_to(x, np.broadcast_shapes(shape, x.shape)))


def _tile(node: ir.Node, value: ir.Value, leading: int, depth: int) -> Row | None:
    row, counts = _inner(node, leading, depth), integers(node.inputs[1])
    if row is None or counts is None or set(counts[:leading]) - {1}:
        return None
    return row.map(lambda x: np.tile(x, counts[leading:]))


def _resize(node: ir.Node, value: ir.Value, leading: int, depth: int) -> Row | None:
    row, counts = _inner(node, leading, depth), repeats(node)
    if row is None or counts is None or set(counts[:leading].tolist()) - {1}:
        return None
    for axis, count in enumerate(counts[leading:].astype(int)):
        row = row.map(lambda x, axis=axis, count=count: np.repeat(x, count, axis))  # type: ignore[misc]
    return row


def _gather(node: ir.Node, value: ir.Value, leading: int, depth: int) -> Row | None:
    row, indices = _inner(node, leading, depth), constant(node.inputs[1])
    axes = _in_row([attribute(node, "axis", 0)], rank(node.inputs[0]), leading)
    if row is None or indices is None or axes is None:
        return None
    count = row.places.shape[axes[0]]
    if not ((indices >= -count) & (indices < count)).all():
        return None
    return row.map(lambda x: np.take(x, indices, axes[0]))


def _transpose(node: ir.Node, value: ir.Value, leading: int, depth: int) -> Row | None:
    row, perm = _inner(node, leading, depth), node.attributes.get("perm")
    if row is None or perm is None or list(perm.as_ints()[:leading]) != [*range(leading)]:
        return None
    return row.map(lambda x: x.transpose([axis - leading for axis in perm.as_ints()[leading:]]))


_MOVES = {
    "Slice": _slice,
    "Split": _split,
    "Concat": _concat,
    "Neg": _neg,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Reshape": _reshape,
    "Expand": _expand,
    "Tile": _tile,
    "Resize": _resize,
    "Gather": _gather,
    "Transpose": _transpose,
}
