"""Reductions over any axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...kernels.cpu.log_sum_exp import log_sum_exp
from ...kernels.cpu.reduce import reduce
from ..emission import Emission
from ..graph import Info, Node, OnHost, numbers_of
from ..strides import collapse, contiguous_strides
from ..symbolic import Dim, product
from ..tensors import Tensor, short_name
from . import checks
from .axes import check_axes, chosen, listed
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
_MOST = 4
"""Axes of each kind that the kernel has."""
_FILLS = (1, 0, 0, 1, 0)
"""What stands for axes that there are not, in its tables."""
_SUMMED = ("float32", "float64", "int32", "int64", "uint32", "uint64")
_DTYPES = {kind: _SUMMED for kind in _KINDS.values()} | {
    kind: (*_SUMMED, "int8", "uint8", "bool") for kind in ("max", "min")
}


def _axes(node: Node) -> list[Dim]:
    axes = node.attribute("axes")
    if axes is None and node.input(1) is not None:
        axes = node.required(1).sizes()
    if not axes:
        rank = node.required(0).rank
        return [] if node.attribute("noop_with_empty_axes", 0) else list(range(rank))
    return list(axes)


def _infer_reduce(node: Node) -> list[Info]:
    x = node.required(0)
    if x.dtype not in _DTYPES[_KINDS[node.op_type]]:
        raise OnHost(f"{node.op_type} of {x.dtype}")
    axes = _axes(node)
    flags = listed(axes, x.rank)
    if x.rank > _MOST:
        numbers_of(flags, f"{x.rank} axes, of which some are reduced that are given at run time")
    if not node.attribute("keepdims", 1):
        return [node.result(chosen(x.dims, [1 - flag for flag in flags], x.rank - len(axes)))]
    return [node.result(_reduced(x.dims, flags))]


def _reduced(dims: Sequence[Dim], flags: Sequence[Dim]) -> list[Dim]:
    """Sizes that are 1 where the flag is 1."""
    return [dim + flag * (1 - dim) for dim, flag in zip(dims, flags, strict=True)]


def _lower_reduce(emit: Emission, node: Node) -> None:
    axes, rank = _axes(node), node.required(0).rank
    if all(isinstance(axis, int) for axis in axes):
        emit_reduce(emit, node, _KINDS[node.op_type], [int(axis) % rank for axis in axes])  # type: ignore[arg-type]
        return
    check_axes(emit, axes, rank)
    x, y, flags = emit.tensor(node.values[0]), emit.output(node), listed(axes, rank)
    kept, others = _reduced(x.shape, flags), [1 - flag for flag in flags]
    tables = (kept, x.strides, contiguous_strides(kept), _reduced(x.shape, others), x.strides)
    _emit(emit, _KINDS[node.op_type], x, y, tables)


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
    if len(k) > _MOST or len(r) > _MOST:
        x = emit.ordered(x)
        k, (xk, yk), r, xr = tables(x)
    if len(k) > _MOST or len(r) > _MOST:
        raise OnHost("too many separate axes")
    _emit(emit, kind, x, y, (k, xk, yk, r, xr))


def _emit(emit: Emission, kind: str, x: Tensor, y: Tensor, tables: Sequence[Sequence[Dim]]) -> None:
    """Emit a reduction by its tables: sizes kept, strides in x and y, sizes reduced, strides."""
    fields: dict[str, Any] = {}
    for name, values, fill in zip(("k", "xk", "yk", "r", "xr"), tables, _FILLS, strict=True):
        padded = [fill] * (_MOST - len(values)) + list(values)
        fields |= {f"{name}{i}": value for i, value in enumerate(padded)}
    name = "u8" if x.dtype == "bool" else short_name(x.dtype)
    kernel = log_sum_exp(name) if kind == "log_sum_exp" else reduce(kind, name)
    emit.step(kernel, outputs=[y], flops=product(x.shape), x=x, y=y, **fields)


register(
    " ".join(_KINDS), Operator(rules=(checks.axes(1),), infer=_infer_reduce, lower=_lower_reduce)
)
