"""Softmax and LogSoftmax."""

from __future__ import annotations

from ...kernels.cpu.softmax import softmax
from ..emission import Emission
from ..graph import Info, Node, OnHost
from ..strides import collapse, contiguous_strides
from ..symbolic import product
from ..tensors import Tensor
from . import checks, composed
from .registry import Operator, register


def _infer_softmax(node: Node) -> list[Info]:
    x = node.required(0)
    if x.dtype not in ("float32", "float64"):
        raise OnHost(f"{node.op_type} of {x.dtype}")
    if not x.rank:
        raise OnHost("softmax of a scalar")
    return [node.result(x.dims)]


def _lower_softmax(emit: Emission, node: Node) -> None:
    x = emit.tensor(node.values[0])
    rank = len(x.shape)
    logarithm = int(node.op_type == "LogSoftmax")
    axis = node.attribute("axis", -1 if node.version >= 13 else 1) % rank
    if node.version < 13:
        # Until opset 13 the input is flattened to two axes at ``axis``.
        x = emit.ordered(x)
        flat = (product(x.shape[:axis]), product(x.shape[axis:]))
        y = emit.output(node)
        source, target = (t.view(flat, contiguous_strides(flat)) for t in (x, y))
        axis = 1
    else:
        order = sorted(range(rank), key=lambda a: x.strides[a] == 1)
        dense = x.strides[order[-1]] == 1 and rank > 2 and order[-1] == 1 and rank == 4
        order4 = (0, *range(2, rank), 1) if dense else None
        y = emit.output(node, order=order4)
        source, target = x, y
    if x.dtype == "float32":
        emit_softmax(emit, source, target, axis, logarithm)
    else:
        composed.emit_softmax(emit, source, target, axis, logarithm)


def emit_softmax(
    emit: Emission, source: Tensor, target: Tensor, axis: int, logarithm: int = 0, zeros: int = 0
) -> None:
    """Emit Softmax, or its logarithm, along an axis; the target may lie over the source.

    Softmax of what is -inf throughout is NaN, or with ``zeros`` zero.
    """
    shape = source.shape
    others = [a for a in range(len(shape)) if a != axis]
    others.sort(key=lambda a: source.strides[a] == 1)
    dims, (xs, ys) = collapse(shape, others, [source.strides, target.strides], 3)
    emit.step(
        softmax(logarithm, zeros),
        outputs=[target],
        flops=product(shape) * 10,
        over=[source],
        x=source, y=target, o0=dims[0], o1=dims[1], x0=xs[0], x1=xs[1], y0=ys[0], y1=ys[1],
        n=shape[axis], xs=source.strides[axis], ys=target.strides[axis],
        m=dims[2], xm=xs[2], ym=ys[2],
    )  # fmt: skip


def _check_softmax(node: Node) -> None:
    checks.axis(-1 if node.version >= 13 else 1)(node)


register(
    "Softmax LogSoftmax",
    Operator(rules=(_check_softmax,), infer=_infer_softmax, lower=_lower_softmax),
)
