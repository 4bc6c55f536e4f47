"""MatMul and Gemm: products are 1 x 1 convolutions over one long row of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from ...errors import InvalidModel
from ...kernels.cpu import packing
from ...kernels.cpu.conv import convolve
from ...kernels.cpu.pack import pack
from ...kernels.target import LANES
from ..emission import Emission
from ..graph import Info, Node, OnHost, refuse
from ..groups import Group
from ..strides import collapse, contiguous_strides
from ..symbolic import Dim, product
from ..tensors import Tensor
from . import epilogue as endings
from .elementwise import broadcast
from .half_weights import emit_half, wants_half
from .pointwise import broadcast_strides, emit_expression, emit_pointwise
from .registry import Operator, register
from .tiles import tiles_for


def _infer_matmul(node: Node) -> list[Info]:
    a, b = node.required(0), node.required(1)
    if a.dtype != "float32":
        raise OnHost(f"MatMul of {a.dtype}")
    if not a.rank or not b.rank:
        raise OnHost("a scalar operand")
    depth = b.dims[-2] if b.rank > 1 else b.dims[0]
    _agree(node, a, b, a.dims[-1], depth)
    if depth == 0:
        raise OnHost("sums of nothing")
    batch = broadcast([a.dims[:-2], b.dims[:-2]])
    rows = a.dims[-2:-1]
    columns = b.dims[-1:] if b.rank > 1 else ()
    return [_some(node.result((*batch, *rows, *columns)))]


def _some(result: Info) -> Info:
    """Leave what is known to be empty to the host: there are no tiles for it."""
    if any(dim == 0 for dim in result.dims):
        raise OnHost("an empty result")
    return result


def _agree(node: Node, a: Info, b: Info, left: Dim, right: Dim) -> None:
    if isinstance(left, int) and isinstance(right, int) and left != right:
        raise InvalidModel(
            f"node {node.name!r} ({node.op_type}): {a.name!r} of shape {a.dims} and {b.name!r} of "
            f"shape {b.dims} do not fit: {left} and {right}"
        )


def _infer_gemm(node: Node) -> list[Info]:
    a, b = node.required(0), node.required(1)
    if a.dtype != "float32":
        raise OnHost(f"Gemm of {a.dtype}")
    if a.rank != 2 or b.rank != 2:
        raise OnHost("operands that are not matrices")
    m, k = a.dims[::-1] if node.attribute("transA", 0) else a.dims
    depth, n = b.dims[::-1] if node.attribute("transB", 0) else b.dims
    _agree(node, a, b, k, depth)
    if depth == 0:
        raise OnHost("sums of nothing")
    return [_some(node.result((m, n)))]


def _lower_gemm(emit: Emission, node: Node, group: Group) -> None:
    a = emit.tensor(node.values[0])
    if node.attribute("transA", 0):
        a = a.view(a.shape[::-1], a.strides[::-1])
    alpha, beta = node.attribute("alpha", 1.0), node.attribute("beta", 1.0)
    b: np.ndarray | Tensor
    if node.required(1).is_constant:
        b = node.required(1).array()
        b = b.T if node.attribute("transB", 0) else b
        b = b if alpha == 1.0 else b * np.float32(alpha)
    else:
        b = emit.tensor(node.values[1])
        if node.attribute("transB", 0):
            b = b.view(b.shape[::-1], b.strides[::-1])
        if alpha != 1.0:
            scaled = emit.new(a.shape, a.dtype)
            emit_expression(
                emit, f"mul(x0,{float(np.float32(alpha))!r})", scaled, [emit.ordered(a)]
            )
            a = scaled
    c = node.input(2)
    if c is None:
        _emit_matmul(emit, node, group, a, b)
    elif c.is_constant and isinstance(b.shape[1], int) and product(c.dims) in (1, b.shape[1]):
        if c.rank == 2 and c.dims[0] != 1 and b.shape[1] != 1:
            _add_apart(emit, node, group, a, b, beta)
            return
        bias = np.broadcast_to(c.array().reshape(-1), (b.shape[1],))
        _emit_matmul(emit, node, group, a, b, np.ascontiguousarray(bias * np.float32(beta)))
    else:
        _add_apart(emit, node, group, a, b, beta)


def _add_apart(
    emit: Emission, node: Node, group: Group, a: Tensor, b: np.ndarray | Tensor, beta: float
) -> None:
    """Emit a Gemm whose C is not one constant per column: added in a step of its own."""
    y = emit.output(node)
    made = emit.new(y.shape, y.dtype)
    _emit_matmul(emit, node, Group([node], node), a, b, y=made)
    c = emit.tensor(node.values[2])
    emit_expression(emit, f"add(x0,mul(x1,{float(np.float32(beta))!r}))", y, [made, c])
    if group.body:
        emit_pointwise(emit, Group(group.body))


def _lower_matmul(emit: Emission, node: Node, group: Group) -> None:
    """Vectors become matrices of one row or column; leading axes of size 1 of b go away."""
    a, info = emit.tensor(node.values[0]), node.required(1)
    b: np.ndarray | Tensor = info.array() if info.is_constant else emit.tensor(node.values[1])
    if len(a.shape) > 1 and len(b.shape) > 1:
        if all(dim == 1 for dim in b.shape[:-2]):
            b = _last_two(b)
        _emit_matmul(emit, node, group, a, b)
        return
    y = emit.output(node)
    batch = y.shape[: len(y.shape) - (len(a.shape) > 1) - (len(b.shape) > 1)]
    if len(a.shape) == 1:
        a = a.view((1, *a.shape), (0, *a.strides))
    if len(b.shape) == 1:
        column = (*b.shape, 1)
        b = b.reshape(column) if isinstance(b, np.ndarray) else b.view(column, (*b.strides, 1))
    shape = (*batch, a.shape[-2], b.shape[-1])
    _emit_matmul(emit, node, Group([node], node), a, b, y=y.view(shape, contiguous_strides(shape)))
    if group.body:
        emit_pointwise(emit, Group(group.body))


def emit_product(emit: Emission, node: Node, a: Tensor, b: Tensor, y: Tensor) -> None:
    """Emit ``y = a @ b``, matrices of any strides, for a part of what a node computes."""
    _emit_matmul(emit, node, Group([node], node), a, b, y=y)


def _last_two(b: np.ndarray | Tensor) -> np.ndarray | Tensor:
    if isinstance(b, np.ndarray):
        return b.reshape(b.shape[-2:])
    return b.view(b.shape[-2:], b.strides[-2:])


def _emit_matmul(
    emit: Emission, node: Node, group: Group, a: Tensor, b: np.ndarray | Tensor,
    bias: np.ndarray | None = None, y: Tensor | None = None,
) -> None:  # fmt: skip
    """Emit ``a @ b`` followed by the group's epilogue, to ``y`` or the group's output."""
    if wants_half(b, emit, a):
        _emit_half(emit, node, group, a, b, bias, y)
        return
    ending = endings.plan(emit, node, group.body, len(node.infos[0].dims) - 1)
    if ending.bias is not None:
        extra = emit.infos[ending.bias].array().reshape(-1).astype(np.float32)
        bias = extra if bias is None else bias + extra
    residual = None
    if ending.residual is not None:
        residual = emit.ordered(emit.tensor(ending.residual))
    y = y or emit.output(group.last)
    depth, columns = b.shape[-2], b.shape[-1]
    message = f"node {node.name!r} ({node.op_type}): columns of {a.name!r} and rows of the other"
    emit.check(a.shape[-1], depth, message)
    shared = len(b.shape) == 2
    if shared and row_stride(a) is None:
        a = emit.ordered(a)
    merged = row_stride(a) if shared else None
    if merged is not None:
        images: Dim = 1
        a_image: Dim = 0
        rows, lda = product(a.shape[:-1]), merged
    else:
        images, rows = product(y.shape[:-2]), a.shape[-2]
        a, a_image = _batched(emit, a, y.shape[:-2])
        lda = a.strides[-2]
    tiles = tiles_for(rows, True, columns, depth)
    weights, w_image = _weights(emit, b, y.shape[:-2], tiles["nv"])
    ends = _ends(emit, group, ending, y, merged is not None)
    y_image = 0 if merged is not None else rows * columns
    r_image, r_row, r_pixel = (0, 0, 0) if residual is None else (y_image, rows * columns, columns)
    emit.step(
        convolve,
        outputs=[y],
        flops=2 * product(y.shape) * depth,
        x=a, w=weights, y=y, residual=residual,
        bias=None if bias is None else emit.constant(bias, f"{node.name}.bias"),
        images=images, height=1, width=rows, channels=depth,
        out_height=1, out_width=rows, out_channels=columns, groups=1,
        kernel_h=1, kernel_w=1, stride_h=1, stride_w=1, dilation_h=1, dilation_w=1,
        pad_top=0, pad_left=0, padded=0,
        x_image=a_image, x_row=rows * lda, x_pixel=lda,
        y_image=y_image, y_row=rows * columns, y_pixel=columns,
        r_image=r_image, r_row=r_row, r_pixel=r_pixel, w_image=w_image,
        activation=ending.activation, low=ending.low, high=ending.high,
        workspace=None, workspace_bytes=0, **tiles, **ends,
    )  # fmt: skip


def _emit_half(
    emit: Emission, node: Node, group: Group, a: Tensor, b: np.ndarray, bias: np.ndarray | None,
    y: Tensor | None,
) -> None:  # fmt: skip
    """Emit a product with weights in bfloat16; what follows it is a step of its own."""
    message = f"node {node.name!r} ({node.op_type}): columns of {a.name!r} and rows of the other"
    emit.check(a.shape[-1], b.shape[0], message)
    y = y or emit.output(node)
    stride = row_stride(a)
    if stride is None:
        a = emit.ordered(a)
        stride = a.shape[-1]
    emit_half(emit, node.name, a, stride, b, bias, y)
    if group.body:
        emit_pointwise(emit, Group(group.body))


def row_stride(a: Tensor) -> Dim | None:
    """Distance between rows when all leading axes make one long row of rows, else None."""
    if a.strides[-1] != 1 and a.shape[-1] != 1:
        return None
    stride: Dim | None = None
    expected: Dim = 0
    for size, step in zip(reversed(a.shape[:-1]), reversed(a.strides[:-1]), strict=True):
        if size == 1:
            continue
        if stride is None:
            stride = step
        elif step != expected:
            return None
        expected = step * size
    return a.shape[-1] if stride is None else stride


def _batched(emit: Emission, a: Tensor, batch: Sequence[Dim]) -> tuple[Tensor, Dim]:
    """Operand with unit inner stride and one stride over all of the result's batch axes."""
    shape = (*batch, *a.shape[-2:])
    target = Tensor(a.buffer, 0, a.dtype, shape, (0,) * len(shape), a.name)
    strides = broadcast_strides(emit, a, target)
    view = a.view(shape, strides)
    dims, (steps,) = collapse(shape, list(range(len(batch))), [strides])
    inner = strides[-1] == 1 or shape[-1] == 1
    if len(dims) > 1 or not inner:
        view = emit.ordered(view)
        _, (steps,) = collapse(shape, list(range(len(batch))), [view.strides])
    return view, steps[0]


def _weights(
    emit: Emission, b: np.ndarray | Tensor, batch: Sequence[Dim], nv: int
) -> tuple[Tensor, Dim]:
    """Packed panels of b: once when it is constant, by a step of its own when it is not."""
    if isinstance(b, np.ndarray) and b.ndim == 2:
        return emit.constant(packing.pack_matrix(b, nv), "weights"), 0
    if isinstance(b, np.ndarray):
        sizes = [dim for dim in batch if isinstance(dim, int)]
        if len(sizes) == len(batch):
            matrices = np.broadcast_to(b, (*sizes, *b.shape[-2:])).reshape(-1, *b.shape[-2:])
            packed = np.stack([packing.pack_matrix(matrix, nv) for matrix in matrices])
            return emit.constant(packed, "weights"), packed.shape[1]
        b = emit.constant(b)
    depth, columns = b.shape[-2:]
    size = depth * packed_columns(columns, nv)
    if len(b.shape) == 2:
        images: Dim = 1
        steps: list[Dim] = [0]
        view = b
    else:
        shape = (*batch, depth, columns)
        target = Tensor(b.buffer, 0, b.dtype, shape, (0,) * len(shape), b.name)
        view = b.view(shape, broadcast_strides(emit, b, target))
        dims, (steps,) = collapse(shape, list(range(len(batch))), [view.strides])
        if len(dims) > 1:
            view = emit.ordered(view)
            dims, (steps,) = collapse(shape, list(range(len(batch))), [view.strides])
        images = product(batch)
    packed_tensor = emit.new((images * size,), "float32", name=b.name)
    emit_pack(emit, view, packed_tensor, images, steps[0], nv)
    return packed_tensor, 0 if len(b.shape) == 2 else size


def emit_pack(emit: Emission, b: Tensor, packed: Tensor, images: Dim, image: Dim, nv: int) -> None:
    """Emit the packing of matrices (the last two axes of b), ``image`` elements apart."""
    depth, columns = b.shape[-2:]
    emit.step(
        pack,
        outputs=[packed],
        op_type="Pack",
        x=b, y=packed, images=images, depth=depth, columns=columns, x_image=image,
        x_row=b.strides[-2], x_column=b.strides[-1], nv=nv,
        y_image=depth * packed_columns(columns, nv),
    )  # fmt: skip


def packed_columns(columns: Dim, nv: int) -> Dim:
    """Columns of packed weights, the last panel padded to whole vectors."""
    full = columns // (nv * LANES) * (nv * LANES)
    return full + (columns - full + LANES - 1) // LANES * LANES


def _ends(
    emit: Emission, group: Group, ending: endings.Plan, y: Tensor, merged: bool
) -> dict[str, Any]:
    if not ending.rest:
        return endings.pointwise_fields(emit, (), group.last.outputs[0], y, ())
    before = [n for n in group.nodes if n not in ending.rest]
    value: ir.Value = before[-1].outputs[0]

    # Rows of all batches are the pixels of one image, or each batch is an image.
    if merged:
        shape: tuple[Dim, ...] = (product(y.shape[:-1]), y.shape[-1])
        axes = (None, None, 0, 1)
    else:
        shape = (product(y.shape[:-2]), *y.shape[-2:])
        axes = (0, None, 1, 2)  # type: ignore[assignment]
    flat = y.view(shape, contiguous_strides(shape))
    return endings.pointwise_fields(emit, ending.rest, value, flat, axes, y.shape)


def _check_gemm(node: Node) -> None:
    c = node.input(2)
    if c is not None and c.shape is not None and c.rank > 2:
        refuse(node, f"rank of {c.name!r}", c.rank, "at most 2")


register("MatMul", Operator(infer=_infer_matmul, fused=_lower_matmul))
register("Gemm", Operator(rules=(_check_gemm,), infer=_infer_gemm, fused=_lower_gemm))
