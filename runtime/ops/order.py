"""ArgMax, ArgMin, Hardmax, TopK, CumSum, CumProd: along one axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import InvalidModel
from ...kernels.cpu.arg_extremes import arg_extreme
from ...kernels.cpu.fill import one_hot
from ...kernels.cpu.order import cumulative, top_k
from ..emission import Emission
from ..graph import Info, Node, OnHost, refuse
from ..symbolic import Dim, maximum, product
from ..tensors import Tensor, short_name
from . import checks
from .axes import around, check_axes
from .registry import Operator, register

_SUMMED = ("float32", "float64", "int64", "int32", "uint64", "uint32")
_ORDERED = (*_SUMMED, "int16", "uint16", "uint8", "int8")


def _typed(node: Node, dtypes: tuple[str, ...] = _ORDERED) -> Info:
    x = node.required(0)
    if x.dtype not in dtypes:
        raise OnHost(f"{node.op_type} of {x.dtype}")
    if not x.rank:
        raise OnHost(f"{node.op_type} of a scalar")
    return x


def _three(x: Tensor, axis: Dim) -> dict[str, Any]:
    """Sizes of a dense tensor as (outer, n, inner)."""
    return dict(zip(("outer", "n", "inner"), around(x.shape, axis), strict=True))


def _infer_arg(node: Node) -> list[Info]:
    x = _typed(node)
    axis = node.attribute("axis", 0) % x.rank
    if x.dims[axis] == 0:
        raise OnHost(f"axis {axis} has size 0")
    one = (1,) if node.attribute("keepdims", 1) else ()
    return [node.result((*x.dims[:axis], *one, *x.dims[axis + 1 :]), "int64")]


def _lower_arg(emit: Emission, node: Node) -> None:
    x = emit.ordered(emit.tensor(node.values[0]))
    axis = node.attribute("axis", 0) % len(x.shape)
    sizes = _three(x, axis)
    y = emit.output(node)
    emit.check_some(x.shape[axis], y.size, "positions")
    emit.step(
        arg_extreme(short_name(x.dtype), int(node.op_type == "ArgMax")), outputs=[y], x=x, y=y,
        **sizes, x_outer=sizes["n"] * sizes["inner"], x_axis=sizes["inner"], x_inner=1,
        last=node.attribute("select_last_index", 0),
    )  # fmt: skip


def _infer_hardmax(node: Node) -> list[Info]:
    x = _typed(node)
    if node.version < 13:
        raise OnHost(f"version {node.version}, which makes matrices of its input")
    return [node.result(x.dims)]


def _lower_hardmax(emit: Emission, node: Node) -> None:
    """One at the position of the first largest element, 0 elsewhere."""
    x = emit.ordered(emit.tensor(node.values[0]))
    sizes = _three(x, node.attribute("axis", -1) % len(x.shape))
    positions, y = emit.new((sizes["outer"] * sizes["inner"],), "int64"), emit.output(node)
    emit.step(
        arg_extreme(short_name(x.dtype), 1), outputs=[positions], x=x, y=positions, **sizes,
        x_outer=sizes["n"] * sizes["inner"], x_axis=sizes["inner"], x_inner=1, last=0,
    )  # fmt: skip
    emit.step(
        one_hot(y.itemsize, "i64"), outputs=[y], indices=positions,
        values=emit.constant(np.array([0, 1], y.dtype)), y=y, outer=sizes["outer"],
        depth=sizes["n"], inner=sizes["inner"],
    )  # fmt: skip


def _infer_top_k(node: Node) -> list[Info]:
    x = _typed(node)
    axis = node.attribute("axis", -1) % x.rank
    k = node.attribute("k") or node.required(1).sizes()[0]
    size = x.dims[axis]
    if isinstance(k, int) and isinstance(size, int) and not 0 <= k <= size:
        raise InvalidModel(
            f"node {node.name!r} (TopK): {k} elements wanted of axis {axis} of {x.name!r}, "
            f"which has {size}"
        )
    shape = (*x.dims[:axis], k, *x.dims[axis + 1 :])
    return [node.result(shape), node.result(shape, "int64", 1)][: len(node.outputs)]


def _lower_top_k(emit: Emission, node: Node) -> None:
    x = emit.ordered(emit.tensor(node.values[0]))
    axis = node.attribute("axis", -1) % len(x.shape)
    k, size = node.infos[0].dims[axis], x.shape[axis]
    what = f"elements of axis {axis}, or k if that is more, and elements"
    emit.check(maximum(k, size), size, what)
    values = emit.output(node)
    named = len(node.outputs) > 1 and node.outputs[1].name
    indices = emit.output(node, 1) if named else emit.new(values.shape, "int64")
    emit.step(
        top_k(short_name(x.dtype), node.attribute("largest", 1)), outputs=[values, indices],
        flops=16 * product(x.shape), x=x, values=values, indices=indices,
        scratch=emit.workspace(k * 8), k=k, **_three(x, axis),
    )  # fmt: skip


def _infer_cumulative(node: Node) -> list[Info]:
    x = _typed(node, _SUMMED)
    node.required(1).sizes()
    return [node.result(x.dims)]


def _lower_cumulative(emit: Emission, node: Node) -> None:
    x = emit.ordered(emit.tensor(node.values[0]))
    axis, y = node.required(1).sizes()[0], emit.output(node)
    check_axes(emit, [axis], len(x.shape))
    emit.step(
        cumulative(short_name(x.dtype), "sum" if node.op_type == "CumSum" else "product"),
        outputs=[y], flops=product(x.shape), x=x, y=y, **_three(x, axis),
        exclusive=node.attribute("exclusive", 0),
        reverse=node.attribute("reverse", 0),
    )  # fmt: skip


def _check_cumulative(node: Node) -> None:
    x, axis = node.input(0), node.input(1)
    if x is None or x.shape is None or axis is None or axis.known is None:
        return
    if len(axis.sizes()) != 1:
        refuse(node, "number of axes", len(axis.sizes()), "1")
    if isinstance(number := axis.sizes()[0], int):
        checks.in_range(node, "the axis", number, x, x.rank, x.rank - 1)


def _check_count(node: Node) -> None:
    checks.one_number(node, 1)


register("ArgMax ArgMin", Operator(rules=(checks.axis(0),), infer=_infer_arg, lower=_lower_arg))
register(
    "Hardmax",
    Operator(rules=(checks.axis(-1),), infer=_infer_hardmax, lower=_lower_hardmax),
)
register(
    "TopK",
    Operator(rules=(checks.axis(-1), _check_count), infer=_infer_top_k, lower=_lower_top_k),
)
register(
    "CumSum CumProd",
    Operator(rules=(_check_cumulative,), infer=_infer_cumulative, lower=_lower_cumulative),
)
