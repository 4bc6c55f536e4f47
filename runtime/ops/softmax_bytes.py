"""com.microsoft's QLinearSoftmax: bytes in, bytes out, as `pool_bytes` has averages."""

from __future__ import annotations

from ...kernels.cpu.softmax_bytes import softmax_bytes, workspace_bytes
from ..emission import Emission
from ..graph import Info, Node, OnHost
from ..symbolic import product
from ..tensors import short_name
from . import checks
from .pool_bytes import X_SCALE, Y_SCALE, Y_ZERO, demand_grids, number
from .registry import Operator, register


def _infer(node: Node) -> list[Info]:
    demand_grids(node)
    x = node.required(0)
    if not x.rank or node.attribute("opset", 1) < 13:
        raise OnHost("softmax over several axes")
    return [node.result(x.dims, node.required(Y_ZERO).dtype)]


def _lower(emit: Emission, node: Node) -> None:
    x, axis = emit.tensor(node.values[0]), node.attribute("axis", -1)
    order = [i for i in range(len(x.shape)) if i != axis % len(x.shape)]
    order.sort(key=lambda i: x.strides[i] == 1)
    order.append(axis % len(x.shape))
    x, y, n = emit.ordered(x, order), emit.output(node, order=order), x.shape[axis]
    space = workspace_bytes(n)
    emit.step(
        softmax_bytes(short_name(x.dtype), short_name(y.dtype)), outputs=[y],
        flops=product(x.shape) * 10, x=x, y=y,
        rows=product([x.shape[i] for i in order[:-1]]), n=n, x_scale=number(node, X_SCALE),
        y_scale=number(node, Y_SCALE), y_zero=int(number(node, Y_ZERO)),
        workspace=emit.workspace(space), workspace_bytes=space,
    )  # fmt: skip


register(
    "QLinearSoftmax",
    Operator(rules=(checks.axis(-1),), infer=_infer, lower=_lower),
    "com.microsoft",
)
