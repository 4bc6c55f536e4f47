"""MatMulInteger and QLinearMatMul: products of integers of 8 bits, exact in int32.

Rows meet constant weights of 8 bits as words of four bytes (``quads``) where the processor has an
instruction for these. Others lose their zero points when they become pairs of int16
(``kernels.cpu.pairs``): one form for all types and zero points. Products of both are those of
words, with a quarter or half as many in a sum.
"""

from __future__ import annotations

import numpy as np

from ...kernels.cpu.pairs import joined, pair_columns, pair_rows, paired
from ..emission import Emission
from ..graph import Info, Node, OnHost
from ..groups import Group
from ..symbolic import Dim, product
from ..tensors import Tensor, short_name
from . import quads
from .epilogue import Epilogue
from .excess import excess, with_excess, without
from .integers import (
    combined_scale,
    demand_bytes,
    demand_scales,
    emit_quantized,
    emit_rest,
    following,
    halved,
    only_bytes,
    quantizing,
)
from .matmul import as_matrices, emit_product, product_dims
from .pointwise import emit_expression
from .registry import Operator, register
from .residuals import tile_bytes

# --- operands as pairs ------------------------------------------------------------------------


def row_pairs(emit: Emission, a: Tensor, zero: Tensor | None) -> Tensor:
    """Emit pairs of matrices (..., rows, depth), with one zero point or one for each row."""
    a = emit.ordered(a)
    # Projections of one tensor share its pairs.
    form = ("pairs", *(() if zero is None else (zero.buffer, zero.offset)))
    return emit.once(a, form, lambda: _make_row_pairs(emit, a, zero))


def _make_row_pairs(emit: Emission, a: Tensor, zero: Tensor | None) -> Tensor:
    *rows, depth = a.shape
    words = emit.new((*rows, halved(depth)), "int32", name=a.name)
    several = zero is not None and zero.size != 1
    if zero is not None and several:
        column = zero if len(zero.shape) > 1 else zero.view((*zero.shape, 1), (*zero.strides, 1))
        zero = _repeated(emit, column, (*rows, 1))
    emit.step(
        pair_rows(short_name(a.dtype)), outputs=[words], op_type="Pairs", x=a, zero=zero, y=words,
        images=1, rows=product(rows), groups=1, channels=depth, x_image=0, x_row=depth,
        zero_step=int(several),
    )  # fmt: skip
    return words


def _repeated(emit: Emission, tensor: Tensor, shape: tuple[Dim, ...]) -> Tensor:
    """Return a tensor broadcast to a shape, dense."""
    target = emit.new(shape, tensor.dtype, name=tensor.name)
    emit_expression(emit, "x0", target, [tensor])
    return target


def _column_pairs(
    emit: Emission, node: Node, index: int, zero: Info | None, zero_index: int
) -> np.ndarray | Tensor:
    """Pairs of matrices (..., depth, columns), with one zero point or one for each column."""
    info = node.required(index)
    if info.is_constant and (zero is None or zero.is_constant):
        matrices = info.array().astype(np.int16)
        return paired(matrices if zero is None else matrices - _points(zero), -2)
    b = emit.tensor(node.values[index])
    *batch, depth, columns = b.shape
    if len(batch) > 1 or (zero is not None and zero.rank > 1):
        b = emit.ordered(b)
    words = emit.new((*batch, halved(depth), columns), "int32", name=b.name)
    points: Tensor | None = None
    if zero is not None:
        points = emit.tensor(node.values[zero_index])
        if points.size != 1:
            points = _repeated(emit, points, (*batch, 1, columns))
    several = points is not None and points.size != 1
    image = b.strides[0] if len(batch) == 1 else depth * columns
    emit.step(
        pair_columns(short_name(b.dtype)), outputs=[words], op_type="Pairs", x=b, zero=points,
        y=words, images=product(batch), depth=depth, columns=columns, x_image=image,
        x_row=b.strides[-2], x_column=b.strides[-1], zero_image=columns if several else 0,
        zero_column=int(several),
    )  # fmt: skip
    return words


def _points(zero: Info) -> np.ndarray:
    """Zero points as numbers that 8-bit ones are taken from."""
    points: np.ndarray = zero.array().astype(np.int16)
    return points.reshape(()) if points.size == 1 else points


# --- MatMulInteger and QLinearMatMul ----------------------------------------------------------


def _infer_matmul(node: Node) -> list[Info]:
    a, b = node.required(0), node.required(1)
    demand_bytes(a, b)
    return [node.result(_matmul_dims(node, a, b, node.input(2), node.input(3)), "int32")]


def _matmul_dims(
    node: Node, a: Info, b: Info, a_zero: Info | None, b_zero: Info | None
) -> tuple[Dim, ...]:
    for info, zero in ((a, a_zero), (b, b_zero)):
        if zero is not None and zero.rank and zero.dims != (1,) and info.rank < 2:
            raise OnHost("zero points of the elements of a vector")
    return product_dims(node, a, b)


def _lower_matmul(emit: Emission, node: Node, group: Group) -> None:
    matrix = _known_matrix(node, (0, 2), (1, 3))
    is_complete = matrix is None or _excess(node, (0, 2), (1, 3), matrix) is None
    axis = len(node.infos[0].dims) - 1
    found = following(emit, group, axis, is_complete=is_complete)
    assert found is not None
    sums, epilogue = found
    _emit_sums(emit, node, (0, 2), (1, 3), sums, epilogue)


def _emit_sums(
    emit: Emission, node: Node, left: tuple[int, int], right: tuple[int, int], y: Tensor,
    epilogue: Epilogue | None = None,
) -> None:  # fmt: skip
    """Emit the int32 product of two operands, given by their inputs and those of zero points."""
    a, b = emit.tensor(node.values[left[0]]), node.required(right[0])
    message = f"columns of {a.name!r} and rows of {b.name!r}"
    emit.check(a.shape[-1], b.dims[-2] if b.rank > 1 else b.dims[0], message)
    if _emit_quads(emit, node, left, right, y, epilogue):
        return
    zero = None if node.input(left[1]) is None else emit.tensor(node.values[left[1]])
    if b.rank == 1:
        words: np.ndarray | Tensor = _vector_pairs(emit, node, right)
    else:
        words = _column_pairs(emit, node, right[0], node.input(right[1]), right[1])
    pairs = row_pairs(emit, a, zero)
    emit_product(emit, node, *as_matrices(pairs, words, y), kind="i16", epilogue=epilogue)


def _emit_quads(
    emit: Emission, node: Node, left: tuple[int, int], right: tuple[int, int], y: Tensor,
    epilogue: Epilogue | None,
) -> bool:  # fmt: skip
    """Emit the product by words of four bytes; False where weights or zero points forbid it."""
    matrix = _known_matrix(node, left, right)
    if matrix is None:
        return False
    b, dtype = node.required(right[0]), node.required(left[0]).dtype
    beyond = _excess(node, left, right, matrix)
    matrix = without(matrix.T, beyond).T
    found = quads.weight_words(matrix, 0, dtype)
    if found is None:
        return False
    words, kind = found
    rows = quads.row_quads(emit, emit.tensor(node.values[left[0]]), kind)
    if beyond is not None:
        count, ones = product(y.shape[:-1]), np.ones((len(matrix), 1), np.int16)
        sums = emit.new((*y.shape[:-1], 1), "int32", name=y.name)
        _emit_words(emit, node, left[1], rows, ones, joined(ones.astype(np.int8), 0), sums, kind)
        column = sums.view((count, 1), (1, 1))
        y, epilogue = with_excess(emit, epilogue, y, emit.constant(beyond), column)
    words = words[:, 0] if b.rank == 1 else words
    _emit_words(emit, node, left[1], rows, matrix, words, y, kind, epilogue)
    return True


def _known_matrix(
    node: Node, left: tuple[int, int], right: tuple[int, int]
) -> np.ndarray | None:  # fmt: skip
    """Return constant weights less their zero points, int16, where they may be words of bytes."""
    b, b_zero = node.required(right[0]), node.input(right[1])
    is_known = b.is_constant and (b_zero is None or b_zero.is_constant)
    if not (quads.words_pay() and is_known and b.rank <= 2 and _is_one(node.input(left[1]))):
        return None
    matrix = b.array().astype(np.int16)
    matrix = matrix if b_zero is None else matrix - _points(b_zero)
    return matrix.reshape(matrix.shape[0], -1)


def _excess(
    node: Node, left: tuple[int, int], right: tuple[int, int], matrix: np.ndarray
) -> np.ndarray | None:
    """Return the excess of weights that are words of bytes only without it."""
    a, b = node.required(left[0]), node.required(right[0])
    if quads.weight_words(matrix, 0, a.dtype) is not None or a.rank < 2 or b.rank < 2:
        return None
    return excess(matrix.T)


def _emit_words(
    emit: Emission, node: Node, zero: int, rows: Tensor, matrix: np.ndarray, words: np.ndarray,
    y: Tensor, kind: str, epilogue: Epilogue | None = None,
) -> None:  # fmt: skip
    """Emit the product of words of rows and of a matrix; ``zero`` is the input of rows' zero."""
    sums = matrix.sum(0, dtype=np.int32)
    bias, _ = quads.zero_terms(emit, node, node.required(0), zero, sums, kind)
    matrices = as_matrices(rows, words, y)
    emit_product(emit, node, *matrices, bias=bias, kind=kind, epilogue=epilogue)


def _is_one(zero: Info | None) -> bool:
    """Tell whether there is one zero point for all rows."""
    return zero is None or product(zero.dims) == 1


def _vector_pairs(emit: Emission, node: Node, right: tuple[int, int]) -> Tensor:
    """Pairs of a vector, which is summed along its only axis."""
    zero = None if node.input(right[1]) is None else emit.tensor(node.values[right[1]])
    return row_pairs(emit, emit.tensor(node.values[right[0]]), zero)


def _infer_linear_matmul(node: Node) -> list[Info]:
    a, b, y_zero = node.required(0), node.required(3), node.required(7)
    demand_bytes(a, b, y_zero)
    demand_scales(node, (1, 4, 6))
    dims = _matmul_dims(node, a, b, node.input(2), node.input(5))
    return [node.result(dims, y_zero.dtype)]


def _lower_linear_matmul(emit: Emission, node: Node, group: Group) -> None:
    zero, by_column = emit.tensor(node.values[7]), node.required(4)
    if by_column.rank == 1 and node.required(3).rank > 1:
        message = f"scales of {by_column.name!r} and columns"
        emit.check(by_column.dims[0], node.infos[0].dims[-1], message, broadcast=True)
    if all(product(node.required(index).dims) == 1 for index in (1, 6)):
        columns = node.infos[0].dims[-1] if node.required(3).rank > 1 else None
        scale = combined_scale(emit, node, (1, 4, 6), columns)
        if _makes_bytes(node, scale):
            whole, rest = tile_bytes(emit, group, scale, zero)
            sums = emit.new(node.infos[0].dims, "int32", name=node.infos[0].name)
            _emit_sums(emit, node, (0, 2), (3, 5), sums, whole)
            emit_rest(emit, rest)
            return
        sums, epilogue = quantizing(emit, group, scale, zero)
        _emit_sums(emit, node, (0, 2), (3, 5), sums, epilogue)
        return
    y = emit.output(node)
    sums = emit.new(y.shape, "int32", name=y.name)
    _emit_sums(emit, node, (0, 2), (3, 5), sums)
    by_row, *others = (emit.tensor(node.values[index]) for index in (1, 4, 6))
    if len(by_row.shape) == 1 and by_row.shape != (1,):
        by_row = by_row.view((*by_row.shape, 1), (*by_row.strides, 1))
    emit_quantized(emit, sums, y, [by_row, *others], zero)
    emit_rest(emit, group)


def _makes_bytes(node: Node, scale: Tensor) -> bool:
    """Tell whether the tile makes bytes of sums.

    It does where there is a scale for each column, and nothing is added to the sums before.
    """
    if node.required(3).rank < 2 or scale.size != node.infos[0].dims[-1]:
        return False
    matrix = _known_matrix(node, (0, 2), (3, 5))
    return matrix is None or _excess(node, (0, 2), (3, 5), matrix) is None


register(
    "MatMulInteger",
    Operator(rules=(only_bytes(0, 1, 2, 3),), infer=_infer_matmul, fused=_lower_matmul),
)
register("QLinearMatMul", Operator(infer=_infer_linear_matmul, fused=_lower_linear_matmul))
