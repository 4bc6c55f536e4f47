"""Products and convolutions of bytes on a GPU: those of int32, exact, then what scales them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...emission import Emission
from ...graph import Node
from ...groups import Group
from ...ops.convolution import Convolution
from ...ops.integers import by_channel, combined_scale, emit_quantized
from ...ops.matmul import as_matrices
from ...ops.pointwise import emit_expression
from ...ops.weights import three_axes
from ...ops.windows import Window
from ...strides import channels_last_order
from ...symbolic import product
from ...tensors import Tensor
from .behind import Behind
from .convolution import emit_convolution
from .product import emit_product
from .tensor_convolution import emit_tensor_convolution
from .tensor_product import emit_tensor_product
from .tensor_tiles import is_worth

Operand = tuple[int, int]
"""Inputs of a node: an operand, and its zero point."""


def lower_matmul_integer(emit: Emission, node: Node, group: Group) -> None:
    """Emit the product of matrices of bytes."""
    _emit_product(emit, node, (0, 2), (1, 3), emit.output(node))


def lower_qlinear_matmul(emit: Emission, node: Node, group: Group) -> None:
    """Emit the product, and the step that makes bytes of it."""
    y = emit.output(node)
    sums = emit.new(y.shape, "int32", name=y.name)
    _emit_product(emit, node, (0, 2), (3, 5), sums)
    scales = [emit.tensor(node.values[index]) for index in (1, 4, 6)]
    if scales[0].size != 1:
        scales[0] = _by_row(scales[0])
    emit_quantized(emit, sums, y, scales, emit.tensor(node.values[7]))


def lower_conv_integer(emit: Emission, node: Node, group: Group) -> None:
    """Emit the convolution of images of bytes."""
    y = emit.output(node, order=channels_last_order(node.infos[0].rank))
    _emit_sums(emit, node, (0, 2), (1, 3), y)


def lower_qlinear_conv(emit: Emission, node: Node, group: Group) -> None:
    """Emit the convolution, and the step that makes bytes of it."""
    dims = node.infos[0].dims
    order = channels_last_order(len(dims))
    y = emit.output(node, order=order)
    scale = node.required(4)
    message = f"scales of {scale.name!r} and filters"
    emit.check(product(scale.dims), dims[1], message, broadcast=True)
    bias = None if node.input(8) is None else emit.ordered(emit.tensor(node.values[8]))
    if bias is not None:
        emit.check(bias.size, dims[1], f"elements of {bias.name!r} and channels")
    sums = emit.new(y.shape, "int32", order, y.name)
    _emit_sums(emit, node, (0, 2), (3, 5), sums, bias)
    factor = by_channel(combined_scale(emit, node, (1, 4, 6)), len(dims))
    emit_quantized(emit, sums, y, [factor], emit.tensor(node.values[7]), order=order)


def _emit_product(emit: Emission, node: Node, left: Operand, right: Operand, y: Tensor) -> None:
    a, b = emit.tensor(node.values[left[0]]), emit.tensor(node.values[right[0]])
    message = f"columns of {a.name!r} and rows of {b.name!r}"
    emit.check(a.shape[-1], b.shape[-2] if len(b.shape) > 1 else b.shape[0], message)
    if _emit_tensor_product(emit, node, left, right, y):
        return
    zero = _zero(emit, node, left)
    if zero is not None and len(zero.shape) == 1 and zero.size != 1:
        zero = _by_row(zero)
    a = _without_zero(emit, a, zero)
    known = _constant(node, right, ())
    b = _without_zero(emit, b, _zero(emit, node, right)) if known is None else emit.constant(known)
    if min(len(a.shape), len(b.shape)) == 1:
        a, b, y = as_matrices(a, b, y)  # type: ignore[assignment]
    emit_product(emit, a, b, y)


def _emit_tensor_product(
    emit: Emission, node: Node, left: Operand, right: Operand, y: Tensor
) -> bool:
    """Emit a product of bytes by tensor cores: with constant weights, of one zero point each side.

    The left one is taken off again from whole sums, as a number for each column.
    """
    a, known = emit.tensor(node.values[left[0]]), _bytes(node, right, ())
    point = _point(node, left)
    if known is None or point is None or known.ndim < 2 or len(a.shape) < 2:
        return False
    if not is_worth((product(y.shape[:-1]), y.shape[-1], known.shape[-2])):
        return False
    stored = emit.constant(np.swapaxes(known, -1, -2), f"{node.name}.weights")
    (*sizes, n, k), (*steps, row, column) = stored.shape, stored.strides
    b = stored.view((*sizes, k, n), (*steps, column, row))
    sums = known.sum(-2, np.int32, keepdims=True)
    return emit_tensor_product(emit, a, b, y, None, _behind(emit, -point * sums))


def _behind(emit: Emission, shift: np.ndarray) -> Behind:
    """Return the addition of numbers to sums, if there are any but zeros."""
    return Behind("add(x0,x1)", [emit.constant(shift)]) if shift.any() else Behind()


def _point(node: Node, operand: Operand) -> int | None:
    """Return the zero point of an operand that has one, known, for all numbers."""
    zero = node.input(operand[1])
    if zero is None:
        return 0
    if not zero.is_constant or zero.array().size != 1:
        return None
    return int(zero.array().reshape(-1)[0])


def _bytes(node: Node, operand: Operand, after: Sequence[int]) -> np.ndarray | None:
    """Return constant numbers less their zero points as int8, if they are known and fit."""
    known = _constant(node, operand, after)
    if known is None or known.min(initial=0) < -128 or known.max(initial=0) > 127:
        return None
    return known.astype(np.int8)


def _emit_tensor_sums(
    emit: Emission, node: Node, image: Operand, filters: Operand, y: Tensor,
    bias: Tensor | None,
) -> bool:  # fmt: skip
    """Emit a convolution of bytes by tensor cores, as `_emit_tensor_product` does."""
    groups, dims = node.attribute("group", 1), node.required(filters[0]).dims
    known = _bytes(node, filters, [1] * (len(dims) - 1))
    point = _point(node, image)
    x = emit.channels_last(emit.tensor(node.values[image[0]]))
    if known is None or point is None or (bias is not None and emit.program.stored(bias) is None):
        return False
    weights = three_axes(known)
    shift = -point * weights.sum((1, 2, 3, 4), np.int32)
    if bias is not None:
        stored = emit.program.stored(bias)
        assert stored is not None
        shift = shift + stored.reshape(-1)
    shape = (1, -1, *[1] * (len(y.shape) - 2))
    conv = Convolution(
        group=Group([node], node), kind="i32", x=x, y=y, output=y, weights=weights,
        window=Window.of(node, dims[2:]), groups=groups,
        pad=emit.constant(np.array(point, x.dtype)) if point else None,
    )  # fmt: skip
    return emit_tensor_convolution(emit, conv, _behind(emit, shift.reshape(shape)))


def _emit_sums(
    emit: Emission, node: Node, image: Operand, filters: Operand, y: Tensor,
    bias: Tensor | None = None,
) -> None:  # fmt: skip
    groups, rank = node.attribute("group", 1), len(y.shape)
    x, dims = emit.tensor(node.values[image[0]]), node.required(filters[0]).dims
    emit.check(x.shape[1], dims[1] * groups, f"channels of {x.name!r} and of the weights")
    emit.check(dims[0] % groups, 0, "filters beyond whole groups")
    if _emit_tensor_sums(emit, node, image, filters, y, bias):
        return
    conv = Convolution(
        group=Group([node], node),
        kind="i32",
        x=_without_zero(emit, x, _zero(emit, node, image), channels_last_order(rank)),
        y=y,
        output=y,
        weights=_filters(emit, node, filters, groups),
        window=Window.of(node, dims[2:]),
        groups=groups,
        bias=bias,
    )
    emit_convolution(emit, conv)


def _filters(
    emit: Emission, node: Node, filters: Operand, groups: int
) -> np.ndarray | Tensor:  # fmt: skip
    """Return weights less their zero points, of which there may be one for each filter."""
    rank = node.required(filters[0]).rank
    known = _constant(node, filters, [1] * (rank - 1))
    if known is not None:
        return three_axes(known)
    w, zero = emit.tensor(node.values[filters[0]]), _zero(emit, node, filters)
    if zero is not None and zero.size != 1:
        zero = zero.view((*zero.shape, *[1] * (rank - 1)), (*zero.strides, *[0] * (rank - 1)))
    w = _without_zero(emit, w, zero)
    (count, *others), (apart, *strides) = w.shape, w.strides
    missing, own = 5 - rank, count // groups
    shape = (groups, own, others[0], *[1] * missing, *others[1:])
    return w.view(shape, (own * apart, apart, strides[0], *[0] * missing, *strides[1:]))


def _zero(emit: Emission, node: Node, operand: Operand) -> Tensor | None:
    return None if node.input(operand[1]) is None else emit.tensor(node.values[operand[1]])


def _by_row(values: Tensor) -> Tensor:
    """Return one number for each row of a matrix, as its column."""
    return (
        values.view((*values.shape, 1), (*values.strides, 1)) if len(values.shape) == 1 else values
    )


def _constant(node: Node, operand: Operand, after: Sequence[int]) -> np.ndarray | None:
    """Return constant numbers less their zero points, which have axes after them; else None."""
    info, zero = node.required(operand[0]), node.input(operand[1])
    if not info.is_constant or not (zero is None or zero.is_constant):
        return None
    numbers = info.array().astype(np.int32)
    if zero is None:
        return numbers
    points = zero.array().astype(np.int32)
    points = points.reshape(()) if points.size == 1 else points.reshape(*points.shape, *after)
    return np.ascontiguousarray(numbers - points)


def _without_zero(
    emit: Emission, x: Tensor, zero: Tensor | None, order: Sequence[int] | None = None
) -> Tensor:
    """Emit numbers of 32 bits, less their zero points."""
    y = emit.new(x.shape, "int32", order, x.name)
    if zero is None:
        emit_expression(emit, "to_i32(x0)", y, [x], order)
    else:
        point = zero.view((), ()) if zero.size == 1 else zero
        emit_expression(emit, "sub(to_i32(x0),to_i32(x1))", y, [x, point], order)
    return y
