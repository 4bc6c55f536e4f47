"""MatMul and Gemm: products are 1 x 1 convolutions over one long row of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from ... import InvalidModel
from ...kernels.cpu import packing
from ...kernels.cpu.conv import convolve
from ...kernels.cpu.pack import pack
from ...kernels.target import LANES
from ..graph import Info, Node, OnHost
from ..symbolic import Dim, product
from . import epilogue as endings
from .conv import tiles_for
from .elementwise import broadcast
from .registry import register

if TYPE_CHECKING:
    from ..fusion import Group
    from ..lowering import Lowering, Tensor


def _infer_matmul(node: Node) -> list[Info]:
    a, b = node.required(0), node.required(1)
    if a.dtype != "float32":
        raise OnHost(f"MatMul of {a.dtype}")
    if a.rank < 2 or b.rank < 2:
        raise OnHost("a vector operand")
    _agree(node, a, b, a.dims[-1], b.dims[-2])
    if not isinstance(b.dims[-1], int):
        raise OnHost("the number of columns depends on the input's shape")
    if not isinstance(a.dims[-1], int) and b.is_constant:
        raise OnHost("the depth depends on the input's shape")
    batch = broadcast([a.dims[:-2], b.dims[:-2]])
    return [node.result((*batch, a.dims[-2], b.dims[-1]))]


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
    if not b.is_constant:
        raise OnHost("the second operand is not constant")
    m, k = a.dims[::-1] if node.attribute("transA", 0) else a.dims
    depth, n = b.dims[::-1] if node.attribute("transB", 0) else b.dims
    _agree(node, a, b, k, depth)
    c = node.input(2)
    if c is not None and not (c.is_constant and product(c.dims) in (1, n)):
        raise OnHost("the added operand is not one constant per column")
    return [node.result((m, n))]


def _lower_gemm(low: Lowering, node: Node, group: Group) -> None:
    a = low.tensor(node.values[0])
    if node.attribute("transA", 0):
        a = a.view(a.shape[::-1], a.strides[::-1])
    b = node.required(1).array()
    b = b.T if node.attribute("transB", 0) else b
    alpha, beta = node.attribute("alpha", 1.0), node.attribute("beta", 1.0)
    b = b if alpha == 1.0 else b * np.float32(alpha)
    bias = None
    if node.input(2) is not None:
        bias = np.broadcast_to(node.required(2).array().reshape(-1), b.shape[1:])
        bias = np.ascontiguousarray(bias * np.float32(beta))
    _emit(low, node, group, a, b, bias)


def _lower_matmul(low: Lowering, node: Node, group: Group) -> None:
    a = low.tensor(node.values[0])
    b = node.required(1)
    if b.is_constant and b.rank == 2:
        _emit(low, node, group, a, b.array(), None)
        return
    _emit(low, node, group, a, low.tensor(node.values[1]), None)


def _emit(
    low: Lowering, node: Node, group: Group, a: Tensor, b: np.ndarray | Tensor,
    bias: np.ndarray | None,
) -> None:  # fmt: skip
    """Emit ``a @ b`` followed by the group's epilogue."""
    ending = endings.plan(low, node, group.body, len(node.infos[0].dims) - 1)
    if ending.bias is not None:
        extra = low.infos[ending.bias].array().reshape(-1).astype(np.float32)
        bias = extra if bias is None else bias + extra
    residual = None
    if ending.residual is not None:
        residual = low.ordered(low.tensor(ending.residual))
    y = low.output(group.last)
    depth, columns = b.shape[-2], b.shape[-1]
    batch = product(y.shape[:-2])
    shared = len(b.shape) == 2
    if shared and not _row_stride(a):
        a = low.ordered(a)
    merged = _row_stride(a) if shared else None
    if merged is not None:
        images: Dim = 1
        rows, lda, a_image = product(a.shape[:-1]), merged, 0
    else:
        images, rows = batch, a.shape[-2]
        a, a_image = _batched(low, a, y.shape[:-2])
        lda = a.strides[-2]
    tiles = tiles_for(rows, True, int(columns))  # type: ignore[arg-type]
    weights, w_image = _weights(low, b, y.shape[:-2], tiles["nv"])
    ends = _ends(low, group, ending, y, merged is not None)
    y_image = 0 if merged is not None else rows * columns
    low.step(
        convolve,
        outputs=[y],
        flops=2 * product(y.shape) * depth,
        x=a, w=weights, bias=None if bias is None else low.constant(bias, f"{node.name}.bias"), y=y,
        residual=residual,
        images=images, height=1, width=rows, channels=depth,
        out_height=1, out_width=rows, out_channels=columns, groups=1,
        kernel_h=1, kernel_w=1, stride_h=1, stride_w=1, dilation_h=1, dilation_w=1,
        pad_top=0, pad_left=0, padded=0,
        x_image=a_image, x_row=rows * lda, x_pixel=lda,
        y_image=y_image, y_row=rows * columns, y_pixel=columns,
        r_image=y_image, r_row=rows * columns, r_pixel=columns, w_image=w_image,
        activation=ending.activation, low=ending.low, high=ending.high,
        workspace=None, workspace_bytes=0, **tiles, **ends,
    )  # fmt: skip


def _row_stride(a: Tensor) -> Dim | None:
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


def _batched(low: Lowering, a: Tensor, batch: Sequence[Dim]) -> tuple[Tensor, Dim]:
    """Operand with unit inner stride and one stride over all of the result's batch axes."""
    from ..fusion import broadcast_strides, collapse
    from ..lowering import Tensor

    shape = (*batch, *a.shape[-2:])
    target = Tensor(a.buffer, 0, a.dtype, shape, (0,) * len(shape), a.name)
    strides = broadcast_strides(low, a, target)
    view = a.view(shape, strides)
    dims, (steps,) = collapse(shape, list(range(len(batch))), [strides])
    inner = strides[-1] == 1 or shape[-1] == 1
    if len(dims) > 1 or not inner:
        view = low.ordered(view)
        _, (steps,) = collapse(shape, list(range(len(batch))), [view.strides])
    return view, steps[0]


def _weights(
    low: Lowering, b: np.ndarray | Tensor, batch: Sequence[Dim], nv: int
) -> tuple[Tensor, Dim]:
    """Packed panels of b: once when it is constant, by a step of its own when it is not."""
    if isinstance(b, np.ndarray):
        return low.constant(packing.pack_matrix(b, nv), "weights"), 0
    from ..fusion import broadcast_strides, collapse
    from ..lowering import Tensor

    depth, columns = b.shape[-2], int(b.shape[-1])  # type: ignore[arg-type]
    size = depth * packed_columns(columns, nv)
    if len(b.shape) == 2:
        images: Dim = 1
        steps: list[Dim] = [0]
        view = b
    else:
        shape = (*batch, depth, columns)
        target = Tensor(b.buffer, 0, b.dtype, shape, (0,) * len(shape), b.name)
        view = b.view(shape, broadcast_strides(low, b, target))
        dims, (steps,) = collapse(shape, list(range(len(batch))), [view.strides])
        if len(dims) > 1:
            view = low.ordered(view)
            dims, (steps,) = collapse(shape, list(range(len(batch))), [view.strides])
        images = product(batch)
    packed = low.new((images * size,), "float32", name=b.name)
    low.step(
        pack,
        outputs=[packed],
        op_type="Pack",
        x=view, y=packed, images=images, depth=depth, columns=columns, x_image=steps[0],
        x_row=view.strides[-2], x_column=view.strides[-1], nv=nv, y_image=size,
    )  # fmt: skip
    return packed, 0 if len(b.shape) == 2 else size


def packed_columns(columns: int, nv: int) -> int:
    """Columns of packed weights, the last panel padded to whole vectors."""
    full = columns // (nv * LANES) * nv * LANES
    return full + -(-(columns - full) // LANES) * LANES


def _ends(
    low: Lowering, group: Group, ending: endings.Plan, y: Tensor, merged: bool
) -> dict[str, Any]:
    if not ending.rest:
        return endings.pointwise_fields(low, (), group.last.outputs[0], y, ())
    before = [n for n in group.nodes if n not in ending.rest]
    value: ir.Value = before[-1].outputs[0]
    from ..lowering import contiguous_strides

    # Rows of all batches are the pixels of one image, or each batch is an image.
    shape = (product(y.shape[:-1]), y.shape[-1])
    flat = y.view(shape, contiguous_strides(shape))
    small = all(
        low.infos[v].rank <= 1 or low.infos[v].shape == y.shape
        for n in ending.rest for v in n.values if v is not None and v in low.infos
    )  # fmt: skip
    if merged and small:
        return endings.pointwise_fields(low, ending.rest, value, flat, (None, None, 0, 1), y.shape)
    if len(y.shape) == 2:
        return endings.pointwise_fields(low, ending.rest, value, y, (None, None, 0, 1))
    raise OnHost("operands of the epilogue differ by batch")


def _alone(lower: Any) -> Any:
    def lower_alone(low: Lowering, node: Node) -> None:
        from ..fusion import Group

        lower(low, node, Group([node], node))

    return lower_alone


register("MatMul", _infer_matmul, _alone(_lower_matmul), fused=_lower_matmul)
register("Gemm", _infer_gemm, _alone(_lower_gemm), fused=_lower_gemm)
