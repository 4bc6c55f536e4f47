"""MatMul and Gemm: products are 1 x 1 convolutions over one long row of pixels."""

from __future__ import annotations

import dataclasses

import numpy as np

from ...errors import InvalidModel
from ..emission import Emission
from ..graph import Info, Node, OnHost, refuse
from ..groups import Group
from ..strides import contiguous_strides
from ..symbolic import Dim, product, reaches
from ..tensors import Tensor
from .bfloats import may_round, rounded
from .convolution import KINDS, Convolution
from .direct import emit_direct
from .elementwise import broadcast
from .epilogue import Epilogue
from .forms import emit_either
from .half_images import in_halves, vectors_take
from .packed_weights import PackedWeights, emit_packed, packed_weights
from .pointwise import emit_expression, emit_pointwise
from .product_images import filters, images, over_matrix, with_even_rows
from .registry import Operator, register
from .short_weights import MOST_ROWS, short_weights
from .summed_rows import rows_of
from .term_products import (
    MANY_ROWS,
    WIDENED_TERMS,
    emit_terms,
    has_many_rows,
    least_rows,
    may_split,
    pays,
    terms_of,
)
from .widened_terms import emit_widened, small_tensor
from .windows import Window


def _infer_matmul(node: Node) -> list[Info]:
    a, b = node.required(0), node.required(1)
    if a.dtype not in KINDS:
        raise OnHost(f"MatMul of {a.dtype}")
    return [node.result(product_dims(node, a, b))]


def product_dims(node: Node, a: Info, b: Info) -> tuple[Dim, ...]:
    """Shape of the product of matrices, or of batches of them, as numpy multiplies."""
    if not a.rank or not b.rank:
        raise OnHost("a scalar operand")
    depth = b.dims[-2] if b.rank > 1 else b.dims[0]
    _agree(node, a, b, a.dims[-1], depth)
    if depth == 0:
        raise OnHost("a sum over an axis of size 0")
    batch = broadcast([a.dims[:-2], b.dims[:-2]])
    rows = a.dims[-2:-1]
    columns = b.dims[-1:] if b.rank > 1 else ()
    return _nonempty((*batch, *rows, *columns))


def _nonempty(dims: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """Leave what is known to be empty to the host: there are no tiles for it."""
    if any(dim == 0 for dim in dims):
        raise OnHost("an empty result")
    return dims


def _agree(node: Node, a: Info, b: Info, left: Dim, right: Dim) -> None:
    if isinstance(left, int) and isinstance(right, int) and left != right:
        raise InvalidModel(
            f"node {node.name!r} ({node.op_type}): {a.name!r} of shape {a.dims} and {b.name!r} of "
            f"shape {b.dims} do not fit: {left} and {right}"
        )


def _infer_gemm(node: Node) -> list[Info]:
    a, b = node.required(0), node.required(1)
    scaled = node.attribute("alpha", 1.0) != 1.0 or node.attribute("beta", 1.0) != 1.0
    if a.dtype not in KINDS or (scaled and not a.is_float):
        raise OnHost(f"Gemm of {a.dtype}, or scaled integers")
    if a.rank != 2 or b.rank != 2:
        raise OnHost("operands that are not matrices")
    m, k = a.dims[::-1] if node.attribute("transA", 0) else a.dims
    depth, n = b.dims[::-1] if node.attribute("transB", 0) else b.dims
    _agree(node, a, b, k, depth)
    if depth == 0:
        raise OnHost("a sum over an axis of size 0")
    return [node.result(_nonempty((m, n)))]


def _lower_gemm(emit: Emission, node: Node, group: Group) -> None:
    a = emit.tensor(node.values[0])
    if node.attribute("transA", 0):
        a = a.view(a.shape[::-1], a.strides[::-1])
    alpha, beta = node.attribute("alpha", 1.0), node.attribute("beta", 1.0)
    if _lower_packed_gemm(emit, node, group, a):
        return
    b: np.ndarray | Tensor
    if node.required(1).is_constant:
        b = node.required(1).array()
        b = b.T if node.attribute("transB", 0) else b
        b = b if alpha == 1.0 else b * b.dtype.type(alpha)
    else:
        b = emit.tensor(node.values[1])
        if node.attribute("transB", 0):
            b = b.view(b.shape[::-1], b.strides[::-1])
        if alpha != 1.0:
            scaled = emit.new(a.shape, a.dtype)
            emit_expression(emit, "mul(x0,x1)", scaled, [emit.ordered(a), float(alpha)])
            a = scaled
    c = node.input(2)
    turned = bool(node.attribute("transB", 0))
    if c is None:
        _emit_any_rows(emit, group, a, b, turned)
    elif c.is_constant and _is_row(c, b.shape[1]):
        _emit_any_rows(emit, group, a, b, turned, _bias(node, c, b.shape[1]))
    else:
        _add_apart(emit, group, a, b, beta)


def _lower_packed_gemm(emit: Emission, node: Node, group: Group, a: Tensor) -> bool:
    """Emit a Gemm whose weights stay small, if they do; its C is one number for each column."""
    turned, c = bool(node.attribute("transB", 0)), node.input(2)
    columns = node.required(1).dims[0 if turned else 1]
    if c is not None and not (c.is_constant and _is_row(c, columns)):
        return False
    packed = packed_weights(emit, node, a.shape[0], turned)
    packed = None if packed is None else packed.scaled(node.attribute("alpha", 1.0))
    if packed is None:
        return False
    _emit_packed(emit, group, a, packed, None if c is None else _bias(node, c, columns))
    return True


def _is_row(c: Info, columns: Dim) -> bool:
    """Tell whether a constant C has one number, or one for each column."""
    is_column = c.rank == 2 and c.dims[0] != 1 and columns != 1
    return isinstance(columns, int) and product(c.dims) in (1, columns) and not is_column


def _bias(node: Node, c: Info, columns: Dim) -> np.ndarray:
    """C of a Gemm as a bias of its columns."""
    assert isinstance(columns, int)
    bias = np.broadcast_to(c.array().reshape(-1), (columns,))
    return np.ascontiguousarray(bias * bias.dtype.type(node.attribute("beta", 1.0)))


def _add_apart(
    emit: Emission, group: Group, a: Tensor, b: np.ndarray | Tensor, beta: float
) -> None:
    """Emit a Gemm whose C is not one constant per column: added in a step of its own."""
    node = group.head
    assert node is not None
    y = emit.output(node)
    products = emit.new(y.shape, node.infos[0].dtype)
    _emit_matmul(emit, Group([node], node), a, b, products)
    c = emit.tensor(node.values[2])
    if beta == 1.0:
        emit_expression(emit, "add(x0,x1)", y, [products, c])
    else:
        emit_expression(emit, "add(x0,mul(x1,x2))", y, [products, c, float(beta)])
    if group.body:
        emit_pointwise(emit, Group(group.body))


def _lower_matmul(emit: Emission, node: Node, group: Group) -> None:
    """Vectors become matrices of one row or column; leading axes of size 1 of b go away."""
    (a, has_sums), info = rows_of(emit, node), node.required(1)
    packed = packed_weights(emit, node, product(a.shape[:-1]), turned=False)
    if packed is not None:
        _emit_packed(emit, group, a, packed, has_sums=has_sums)
        return
    b: np.ndarray | Tensor = info.array() if info.is_constant else emit.tensor(node.values[1])
    if len(a.shape) > 1 and len(b.shape) > 1:
        if all(dim == 1 for dim in b.shape[:-2]):
            b = _last_two(b)
        _emit_any_rows(emit, group, a, b, turned=False)
        return
    _emit_matmul(emit, Group([node], node), *as_matrices(a, b, emit.output(node)))
    if group.body:
        emit_pointwise(emit, Group(group.body))


def as_matrices(
    a: Tensor, b: np.ndarray | Tensor, y: Tensor
) -> tuple[Tensor, np.ndarray | Tensor, Tensor]:
    """See vectors as matrices: the first of one row, the second of one column."""
    batch = y.shape[: len(y.shape) - (len(a.shape) > 1) - (len(b.shape) > 1)]
    if len(a.shape) == 1:
        a = a.view((1, *a.shape), (0, *a.strides))
    if len(b.shape) == 1:
        column = (*b.shape, 1)
        b = b.reshape(column) if isinstance(b, np.ndarray) else b.view(column, (*b.strides, 1))
    shape = (*batch, a.shape[-2], b.shape[-1])
    return a, b, y.view(shape, contiguous_strides(shape))


def emit_product(
    emit: Emission,
    node: Node,
    a: Tensor,
    b: np.ndarray | Tensor,
    y: Tensor,
    bias: np.ndarray | Tensor | None = None,
    kind: str = "",
    epilogue: Epilogue | None = None,
) -> None:
    """Emit ``y = a @ b + bias``, matrices of any strides, for a part of what a node computes.

    A ``kind`` of numbers may be given that is not that of their element type, and an epilogue whose
    result lies densely.
    """
    if epilogue is not None and epilogue.result is not None:
        result = epilogue.result.view(y.shape, contiguous_strides(y.shape))
        epilogue = dataclasses.replace(epilogue, result=result)
    _emit_matmul(emit, Group([node], node), a, b, y, bias, kind, epilogue)


def _last_two(b: np.ndarray | Tensor) -> np.ndarray | Tensor:
    if isinstance(b, np.ndarray):
        return b.reshape(b.shape[-2:])
    return b.view(b.shape[-2:], b.strides[-2:])


def _emit_matmul(
    emit: Emission,
    group: Group,
    a: Tensor,
    b: np.ndarray | Tensor,
    y: Tensor | None = None,
    bias: np.ndarray | Tensor | None = None,
    kind: str = "",
    epilogue: Epilogue | None = None,
    fewest: int = 1,
) -> None:
    """Emit ``a @ b`` followed by the group's epilogue, to ``y`` or the group's output.

    A run has ``fewest`` rows or more.
    """
    y = y or emit.output(group.last)
    conv = _product(emit, group, a, b, y, bias, kind, epilogue)
    if vectors_take(conv):
        conv = in_halves(emit, conv)
    if not conv.has_halves or vectors_take(conv) or _takes_terms(emit, conv, terms_of(emit, conv)):
        _emit_form(emit, conv, fewest)
        return
    result = emit.new(y.shape, "float32", name=y.name) if y.dtype == "bfloat16" else y
    with emit.taking_halves(False):
        a = emit.as_type(a, "float32")
        _emit_form(emit, _product(emit, group, a, b, result, bias, kind, epilogue), fewest)
    if result is not y:
        emit.convert(result, y)


def _product(
    emit: Emission,
    group: Group,
    a: Tensor,
    b: np.ndarray | Tensor,
    y: Tensor,
    bias: np.ndarray | Tensor | None,
    kind: str,
    epilogue: Epilogue | None,
) -> Convolution:
    """Return ``y = a @ b`` followed by the group's epilogue as a convolution."""
    node = group.head
    assert node is not None
    depth, columns = b.shape[-2:]
    emit.check(a.shape[-1], depth, f"columns of {a.name!r} and rows of the other")
    kind = kind or KINDS["float32" if a.dtype == "bfloat16" else a.dtype]
    epilogue = epilogue or Epilogue.match(emit, node, group.body, len(node.infos[0].dims) - 1)
    if epilogue.bias is not None:
        assert not isinstance(bias, Tensor)  # given by nodes that no group has behind its head
        extra = emit.infos[epilogue.bias].array().reshape(-1).astype(np.float32)
        bias = extra if bias is None else bias + extra
    residual = None
    if epilogue.residual is not None:
        residual = emit.ordered(emit.tensor(epilogue.residual))
    is_shared = len(b.shape) == 2
    x = images(emit, a, y.shape[:-2], is_shared)
    count, _, rows = x.shape
    shape, strides = (count, columns, rows), (0 if is_shared else rows * columns, 1, columns)
    return Convolution(
        group=group,
        kind=kind,
        x=x,
        y=y.view(shape, strides),
        output=y,
        weights=filters(emit, b, y.shape[:-2]),
        window=Window(),
        bias=emit.constant(bias, f"{node.name}.bias") if isinstance(bias, np.ndarray) else bias,
        residual=None if residual is None else residual.view(shape, strides),
        epilogue=over_matrix(emit, epilogue, y, is_shared),
    )


def _emit_form(emit: Emission, conv: Convolution, fewest: int) -> None:
    """Emit a product by terms of bfloat16, by pairs of bfloat16, or by vectors of its numbers."""
    if emit.kernels.convolve(emit, conv):
        return
    terms = terms_of(emit, conv)
    if not _takes_terms(emit, conv, terms):
        emit_direct(emit, rounded(emit, conv) if may_round(emit, conv) else conv)
    elif (
        isinstance(conv.row_pixels, int)
        or emit.is_catching
        or terms == 1
        or least_rows(conv, terms) <= fewest
    ):
        # One term of weights is half of their bytes: few rows wait for less, too.
        emit_terms(emit, conv, terms)
    else:  # a run may have few rows
        emit_either(
            emit, has_many_rows(conv, terms),
            lambda: emit_terms(emit, conv, terms), lambda: emit_direct(emit, conv),
        )  # fmt: skip


def _emit_any_rows(
    emit: Emission, group: Group, a: Tensor, b: np.ndarray | Tensor, turned: bool,
    bias: np.ndarray | None = None,
) -> None:  # fmt: skip
    """Emit a product, with weights of 24 bits (`short_weights`) where a run has few rows."""
    node, rows = group.head, product(a.shape[:-1])
    assert node is not None
    short = None
    if isinstance(b, np.ndarray) and node.attribute("alpha", 1.0) == 1.0:
        short = short_weights(emit, node, rows, turned)
    if short is None:
        _emit_matmul(emit, group, a, b, bias=bias)
    elif isinstance(rows, int):
        _emit_packed(emit, group, a, short, bias)
    else:
        y = emit.output(group.last)
        emit_either(
            emit, reaches(rows, MOST_ROWS + 1),
            lambda: _emit_matmul(emit, group, a, b, y, bias, fewest=MOST_ROWS + 1),
            lambda: _emit_packed(emit, group, a, short, bias, y),
        )  # fmt: skip


def _takes_terms(emit: Emission, conv: Convolution, terms: int) -> bool:
    """Tell whether terms multiply, perhaps only where a run has many rows.

    Rows that lie as bfloat16 are such terms already.
    """
    if not may_split(emit, conv) or conv.x.dtype == "bfloat16":
        return may_split(emit, conv)
    has_known_rows = isinstance(conv.row_pixels, int) or emit.is_catching
    return pays(conv, terms, rows=0 if has_known_rows else MANY_ROWS)


def _emit_packed(
    emit: Emission, group: Group, a: Tensor, b: PackedWeights, bias: np.ndarray | None = None,
    y: Tensor | None = None, has_sums: bool = False,
) -> None:  # fmt: skip
    """Emit a product with weights that stay small, by terms of AMX where there are many rows."""
    node = group.head
    assert node is not None
    if not has_sums:
        emit.check(a.shape[-1], len(b.numbers), f"columns of {a.name!r} and rows of the other")
    with emit.taking_halves(False):
        a, stride = with_even_rows(emit, emit.as_type(a, "float32"))
        y = y or emit.output(group.last)

        def small() -> None:
            sums = emit.output(node) if group.body else y
            emit_packed(emit, node.name, a, stride, b, bias, sums, has_sums)
            if group.body:  # what follows is a step of its own
                emit_pointwise(emit, Group(group.body), y)

        rows, wide = product(a.shape[:-1]), small_tensor(emit, node.name, b)
        if wide is None:
            small()
            return
        conv = _product(emit, group, a, wide, y, bias, "", None)

        def widened() -> None:
            emit_widened(emit, conv)

        if not isinstance(rows, int):
            emit_either(emit, has_many_rows(conv, WIDENED_TERMS), widened, small)
        elif rows >= least_rows(conv, WIDENED_TERMS):
            widened()
        else:
            small()


def _check_gemm(node: Node) -> None:
    c = node.input(2)
    if c is not None and c.shape is not None and c.rank > 2:
        refuse(node, f"rank of {c.name!r}", c.rank, "at most 2")


register("MatMul", Operator(infer=_infer_matmul, fused=_lower_matmul))
register("Gemm", Operator(rules=(_check_gemm,), infer=_infer_gemm, fused=_lower_gemm))
