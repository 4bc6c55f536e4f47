"""Weights of recurrent layers as kernels want them: constants, or tensors that steps pack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...kernels.cpu.pairs import paired
from ...kernels.cpu.quads import quads
from ...kernels.unit_rates import words_pay
from ..emission import Emission
from ..graph import Node
from ..strides import contiguous_strides
from ..symbolic import Dim
from ..tensors import Tensor
from .fill import emit_fill
from .pointwise import emit_expression

Weights = np.ndarray | Tensor


def ints_of(shape: Sequence[Dim]) -> tuple[int, ...]:
    """Return sizes, which are known of all weights, as integers."""
    sizes = tuple(size for size in shape if isinstance(size, int))
    assert len(sizes) == len(shape)
    return sizes


def reshaped(weights: Weights, shape: Sequence[int]) -> Weights:
    """Return dense weights in another shape."""
    if isinstance(weights, np.ndarray):
        return weights.reshape(tuple(shape))
    return weights.view(shape, contiguous_strides(shape))


def split_biases(b: Weights) -> tuple[Weights, Weights]:
    """Split (directions, 2, gates, size) into the biases of both products."""
    if isinstance(b, np.ndarray):
        return b[:, 0], b[:, 1]
    shape, strides = (b.shape[0], *b.shape[2:]), (b.strides[0], *b.strides[2:])
    return b.view(shape, strides), b.view(shape, strides, b.strides[1])


def some(weights: Weights, axis: int, begin: int, end: int) -> Weights:
    """Return the elements ``begin`` to ``end`` of an axis."""
    if isinstance(weights, np.ndarray):
        return weights.take(range(begin, end), axis)
    shape = [*weights.shape]
    shape[axis] = end - begin
    return weights.view(shape, weights.strides, begin * weights.strides[axis])


def summed(emit: Emission, a: Weights, b: Weights, gates: int) -> Weights:
    """Return (directions, gates, size) ``a + b``, where only so many gates have the second."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        total = a.copy()
        total[:, :gates] += b[:, :gates]
        return total
    assert isinstance(a, Tensor) and isinstance(b, Tensor)
    y = emit.new(a.shape, a.dtype)
    last = ints_of(a.shape)[1]
    both = [some(each, 1, 0, gates) for each in (y, a, b)]
    target, *operands = (each for each in both if isinstance(each, Tensor))
    emit_expression(emit, "add(x0,x1)", target, operands)
    if gates < last:
        source, rest = some(a, 1, gates, last), some(y, 1, gates, last)
        assert isinstance(source, Tensor) and isinstance(rest, Tensor)
        emit.copy(source, rest, "Pack")
    return y


def by_vectors(emit: Emission, weights: Weights, lanes: int) -> Weights:
    """Divide (directions, gates, size, ...) into vectors: (directions, vectors, gates, lanes, ...).

    Zeros are appended where the last vector is not full.
    """
    if isinstance(weights, Tensor):
        return _emit_by_vectors(emit, weights, lanes, range(len(weights.shape) + 1))
    directions, gates, size, *rest = weights.shape
    vectors = -(-size // lanes)
    padded = np.zeros((directions, gates, vectors * lanes, *rest), weights.dtype)
    padded[:, :, :size] = weights
    return np.moveaxis(padded.reshape(directions, gates, vectors, lanes, *rest), 1, 2)


def panels(emit: Emission, r: Weights, lanes: int, rows: int = 1) -> Tensor:
    """Pack recurrent weights: a panel (size, gates, lanes) for each direction and vector.

    As many ``rows`` of a gate's constant weights stay together: (size / rows, gates, rows, lanes).
    """
    if isinstance(r, Tensor):
        return _emit_by_vectors(emit, r, lanes, (0, 1, 4, 2, 3))
    vectors = by_vectors(emit, r, lanes)
    assert isinstance(vectors, np.ndarray)
    split = vectors.reshape(*vectors.shape[:-1], -1, rows)
    return emit.constant(np.ascontiguousarray(split.transpose(0, 1, 4, 2, 5, 3)))


def _emit_by_vectors(emit: Emission, weights: Tensor, lanes: int, order: Sequence[int]) -> Tensor:
    """Emit the division into vectors, in a memory order of its own."""
    directions, gates, size, *rest = ints_of(weights.shape)
    full, more = size // lanes, size % lanes
    y = emit.new((directions, full + (more > 0), gates, lanes, *rest), weights.dtype, order)
    if more:
        emit_fill(emit, y, np.zeros((), weights.dtype))
    s = weights.strides
    strides = (s[0], s[2] * lanes, s[1], *s[2:])
    for first, count, width in ((0, full, lanes), (full, 1, more)):
        if count and width:
            shape = (directions, count, gates, width, *rest)
            source = weights.view(shape, strides, first * strides[1])
            emit.copy(source, y.view(shape, y.strides, first * y.strides[1]), "Pack")
    return y


# --- of 8 bits --------------------------------------------------------------------------------


@dataclass(frozen=True)
class ByteForm:
    """What products with weights of 8 bits need besides these; (directions, gates, size) each.

    Attributes
    ----------
    kind
        Of the products (``kernels.arithmetic``): ``u8`` where an instruction multiplies bytes and
        weights fit it, else ``i16``.
    scales, sums
        float32, and the sum of a column's weights less their zero point, int32.
    """

    kind: str
    scales: np.ndarray
    sums: np.ndarray


def byte_weights(
    node: Node, weights: int, scale: int, zero: int, gates: int
) -> tuple[np.ndarray, ByteForm]:
    """Read weights (directions, depth, gates * size) of 8 bits as words along the depth.

    Scales and zero points (given as inputs, too) are one for a direction, or one for each column.
    """
    numbers, points = (node.required(i).array().astype(np.int16) for i in (weights, zero))
    directions, _, columns = numbers.shape
    numbers = (numbers - points.reshape(directions, 1, -1)).transpose(0, 2, 1)
    words = quads(numbers, -1) if words_pay() else None
    kind = "i16" if words is None else "u8"
    words = paired(numbers, -1) if words is None else words
    scales = node.required(scale).array().reshape(directions, -1)
    each = (directions, gates, columns // gates)
    form = ByteForm(
        kind,
        np.broadcast_to(scales, (directions, columns)).astype(np.float32).reshape(each),
        numbers.sum(-1, dtype=np.int32).reshape(each),
    )
    return words.reshape(*each, words.shape[-1]), form
