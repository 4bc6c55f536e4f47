"""Reductions over any axes."""

from __future__ import annotations

from typing import Any

from ...kernels.cpu.log_sum_exp import log_sum_exp
from ...kernels.cpu.reduce import reduce
from ..emission import Emission
from ..graph import Info, Node, OnHost
from ..strides import collapse
from ..symbolic import product
from ..tensors import Tensor, short_name
from . import checks
from .registry import Operator, register

_KINDS = {
    "ReduceSum": "sum",
    "ReduceMean": "mean",
    "ReduceMax": "max",
    "ReduceMin": "min",
    "ReduceProd": "prod",
    "ReduceSumSquare": "sum_square",
    "ReduceL1": "l1",
    "ReduceL2": "l2",
    "ReduceLogSum": "log_sum",
    "ReduceLogSumExp": "log_sum_exp",
}
_SUMMED = ("float32", "float64", "int32", "int64", "uint32", "uint64")
_DTYPES = {kind: _SUMMED for kind in _KINDS.values()} | {
    kind: (*_SUMMED, "int8", "uint8", "bool") for kind in ("max", "min")
}


def _axes(node: Node) -> list[int]:
    x = node.required(0)
    axes = node.attribute("axes")
    if axes is None and node.input(1) is not None:
        axes = node.required(1).integers()
    if not axes:
        return [] if node.attribute("noop_with_empty_axes", 0) else list(range(x.rank))
    return sorted(axis % x.rank for axis in axes)


def _infer_reduce(node: Node) -> list[Info]:
    x = node.required(0)
    if x.dtype not in _DTYPES[_KINDS[node.op_type]]:
        raise OnHost(f"{node.op_type} of {x.dtype}")
    axes = _axes(node)
    keep = node.attribute("keepdims", 1)
    shape = [1 if i in axes else dim for i, dim in enumerate(x.dims) if keep or i not in axes]
    return [node.result(shape)]


def _lower_reduce(emit: Emission, node: Node) -> None:
    emit_reduce(emit, node, _KINDS[node.op_type], _axes(node))


def emit_reduce(emit: Emission, node: Node, kind: str, axes: list[int]) -> None:
    """Emit the reduction of a node's first input over axes."""
    x = emit.tensor(node.values[0])
    reduce_to(emit, kind, x, emit.output(node), axes)


def reduce_to(emit: Emission, kind: str, x: Tensor, y: Tensor, axes: list[int]) -> None:
    """Emit the reduction of a tensor over axes, which ``y`` has with size 1 or not at all."""
    rank = len(x.shape)
    kept = [axis for axis in range(rank) if axis not in axes]
    # The result's strides over the axes of x that are kept.
    if len(y.shape) == rank:
        strides = dict(zip(range(rank), y.strides, strict=True))
    else:
        strides = dict(zip(kept, y.strides, strict=True))
    y_strides = [strides.get(axis, 0) for axis in range(rank)]

    def tables(source: Tensor) -> tuple[Any, Any, Any, Any]:
        inner_first = sorted(kept, key=lambda axis: source.strides[axis] == 1)
        k, (xk, yk) = collapse(source.shape, inner_first, [source.strides, y_strides])
        order = sorted(axes, key=lambda axis: source.strides[axis] == 1)
        r, (xr,) = collapse(source.shape, order, [source.strides])
        return k, (xk, yk), r, xr

    k, (xk, yk), r, xr = tables(x)
    if len(k) > 4 or len(r) > 4:
        x = emit.ordered(x)
        k, (xk, yk), r, xr = tables(x)
    if len(k) > 4 or len(r) > 4:
        raise OnHost("too many separate axes")
    fields: dict[str, Any] = {}
    for name, values, fill in (
        ("k", k, 1), ("xk", xk, 0), ("yk", yk, 0), ("r", r, 1), ("xr", xr, 0),
    ):  # fmt: skip
        padded = [fill] * (4 - len(values)) + list(values)
        fields |= {f"{name}{i}": value for i, value in enumerate(padded)}
    name = "u8" if x.dtype == "bool" else short_name(x.dtype)
    kernel = log_sum_exp(name) if kind == "log_sum_exp" else reduce(kind, name)
    emit.step(kernel, outputs=[y], flops=product(x.shape), x=x, y=y, **fields)


register(
    " ".join(_KINDS), Operator(rules=(checks.axes(1),), infer=_infer_reduce, lower=_lower_reduce)
)
