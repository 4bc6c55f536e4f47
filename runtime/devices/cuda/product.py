"""MatMul and Gemm on a GPU: one product of matrices of any strides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....kernels.cuda.product import product as product_kernel
from ...emission import Emission
from ...graph import Node
from ...groups import Group
from ...ops.matmul import as_matrices
from ...ops.pointwise import broadcast_strides, emit_expression
from ...ops.registry import OPERATORS
from ...strides import collapse
from ...symbolic import Dim, product
from ...tensors import Tensor, short_name
from .behind import Behind, emit_body
from .tensor_product import emit_tensor_product
from .tensor_tiles import as_multiplied, element_of
from .tiles import Tiles

_KINDS = ("float32", "float64", "int32", "uint32", "int64", "uint64")


def lower_matmul(emit: Emission, node: Node, group: Group) -> None:
    """Emit a product of matrices, or of batches of them; that of integers on the CPU."""
    if node.infos[0].dtype not in _KINDS:
        _by_the_cpu(emit, node, group)
        return
    a, b = emit.tensor(node.values[0]), _right(emit, node)
    if min(len(a.shape), len(b.shape)) > 1:
        _emit_group(emit, group, a, b)
        return
    emit_product(emit, *as_matrices(a, b, emit.output(node)))  # type: ignore[arg-type]


def lower_gemm(emit: Emission, node: Node, group: Group) -> None:
    """Emit ``alpha * a @ b + beta * c``; a C that is no plain row is added in a step of its own."""
    if node.infos[0].dtype not in _KINDS:
        _by_the_cpu(emit, node, group)
        return
    a, b = _turned(emit, node, 0), _turned(emit, node, 1)
    alpha, beta = node.attribute("alpha", 1.0), node.attribute("beta", 1.0)
    c, shape = node.input(2), node.infos[0].dims
    if alpha != 1.0:
        scaled = emit.new(a.shape, a.dtype)
        emit_expression(emit, "mul(x0,x1)", scaled, [a, float(alpha)])
        a = scaled
    bias = None if c is None else emit.tensor(node.values[2])
    if bias is None or (beta == 1.0 and bias.shape in ((), (1,), (shape[1],))):
        _emit_group(emit, group, a, b, bias)
        return
    y = emit.output(node)
    products = emit.new(y.shape, y.dtype)
    emit_product(emit, a, b, products)
    if beta == 1.0:
        emit_expression(emit, "add(x0,x1)", y, [products, bias])
    else:
        emit_expression(emit, "add(x0,mul(x1,x2))", y, [products, bias, float(beta)])
    emit_body(emit, group)


def _emit_group(
    emit: Emission, group: Group, a: Tensor, b: Tensor, bias: Tensor | None = None
) -> None:
    """Emit a product and what follows it, in one step where a kernel takes both."""
    assert group.head is not None
    y = emit.output(group.last)
    emit.check(a.shape[-1], b.shape[-2], f"columns of {a.name!r} and rows of {b.name!r}")
    if emit_tensor_product(emit, a, b, y, bias, Behind.of(emit, group)):
        return
    if group.body:
        emit_product(emit, a, b, emit.output(group.head), bias)
        emit_body(emit, group, y)
    else:
        emit_product(emit, a, b, y, bias)


def _right(emit: Emission, node: Node) -> Tensor:
    """Return the right operand; a constant one is stored as tensor cores read it."""
    info = node.required(1)
    if not info.is_constant or info.rank < 2 or element_of(emit) is None:
        return emit.tensor(node.values[1])
    stored = emit.constant(as_multiplied(emit, np.swapaxes(info.array(), -1, -2)), info.name)
    return _swapped(stored)


def _by_the_cpu(emit: Emission, node: Node, group: Group) -> None:
    fused = OPERATORS[node.key].fused
    assert fused is not None
    fused(emit, node, group)


def _turned(emit: Emission, node: Node, index: int) -> Tensor:
    """Return an operand of a Gemm as it is multiplied."""
    is_turned = bool(node.attribute(f"trans{'AB'[index]}", 0))
    if index == 1 and not is_turned:
        return _right(emit, node)
    matrix = emit.tensor(node.values[index])
    return _swapped(matrix) if is_turned else matrix


def _swapped(matrix: Tensor) -> Tensor:
    """Return matrices with rows as columns."""
    (*sizes, m, n), (*steps, row, column) = matrix.shape, matrix.strides
    return matrix.view((*sizes, n, m), (*steps, column, row))


def emit_product(
    emit: Emission, a: Tensor, b: Tensor, y: Tensor, bias: Tensor | None = None
) -> None:
    """Emit ``y = a @ b + bias``, floats, with batches that broadcast.

    Raises
    ------
    OnHost
        There are more than two axes of batches.
    """
    emit.check(a.shape[-1], b.shape[-2], f"columns of {a.name!r} and rows of {b.name!r}")
    batch, rows, (depth, columns) = y.shape[:-2], y.shape[-2], b.shape[-2:]
    steps = [list(y.strides[:-2]), *(_batch_strides(emit, each, y) for each in (a, b))]
    row_strides = [y.strides[-2], a.strides[-2]]
    if batch and all(stride == 0 for stride in steps[2]):
        # One right matrix: the rows of all batches are those of one, where they lie evenly.
        table = [[*own, row] for own, row in zip(steps, row_strides, strict=False)]
        sizes, strides = collapse((*batch, rows), range(len(batch) + 1), table)
        if len(sizes) == 1:
            batch, rows, row_strides = (), sizes[0], [own[0] for own in strides]
            steps = [[], [], []]
    (outer, inner), (y_steps, x_steps, w_steps) = collapse(batch, range(len(batch)), steps, 2)
    usual, few = Tiles.of(emit)
    known = [size for size in (rows, columns) if isinstance(size, int)]
    tile = few if known and min(known) <= few.bm else usual
    bias_column = 0 if bias is None or bias.size == 1 else bias.strides[-1]
    emit.step(
        product_kernel(short_name(y.dtype), *tile),
        outputs=[y],
        flops=2 * product(y.shape) * depth,
        x=a, w=b, y=y, bias=bias, outer=outer, inner=inner, rows=rows, depth=depth,
        columns=columns, x_outer=x_steps[0], x_inner=x_steps[1], x_row=row_strides[1],
        x_depth=a.strides[-1], w_outer=w_steps[0], w_inner=w_steps[1], w_row=b.strides[-2],
        w_column=b.strides[-1], y_outer=y_steps[0], y_inner=y_steps[1], y_row=row_strides[0],
        y_column=y.strides[-1], bias_column=bias_column,
    )  # fmt: skip


def _batch_strides(emit: Emission, operand: Tensor, y: Tensor) -> Sequence[Dim]:
    """Strides of an operand over the batches of the result."""
    batches = y.view(y.shape[:-2], y.strides[:-2])
    return broadcast_strides(emit, operand.view(operand.shape[:-2], operand.strides[:-2]), batches)
