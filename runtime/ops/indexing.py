"""Gather and Scatter in all their forms: indices are checked by the kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...kernels.cpu.byte_tables import look_up_bytes
from ...kernels.cpu.elements import RANK
from ...kernels.cpu.gather import gather, gather_elements, gather_nd
from ...kernels.cpu.scatter import scatter_elements, scatter_nd
from ..element_types import HALVES
from ..emission import Emission
from ..graph import KNOWN_LIMIT, Info, Node, OnHost, known_array, refuse
from ..strides import channels_last_order
from ..symbolic import Dim, minimum, product
from ..tensors import Indexed, Tensor, short_name
from . import checks
from .registry import Operator, register

_DEPTH = 6
# How elements are moved when they are not combined.
_MOVED = {1: "u8", 2: "i16", 4: "i32", 8: "i64"}


def numbered(name: str, values: Sequence[Dim], unused: int, count: int) -> dict[str, Any]:
    """Fields name0, name1, ... in order; the unused ones come last."""
    return {f"{name}{i}": v for i, v in enumerate([*values, *[unused] * (count - len(values))])}


def _indices(node: Node) -> Info:
    indices = node.required(1)
    if indices.dtype not in ("int32", "int64"):
        raise OnHost(f"indices of {indices.dtype}")
    return indices


# --- Gather -----------------------------------------------------------------------------------


def _is_table(node: Node) -> bool:
    """Tell whether the indices are bytes, which have places in any table of 256 bytes."""
    x, indices = node.required(0), node.required(1)
    return x.dims == (256,) and {x.dtype, indices.dtype} <= {"int8", "uint8"}


def _infer_gather(node: Node) -> list[Info]:
    if _is_table(node):
        return [node.result(node.required(1).dims, node.required(0).dtype)]
    x, indices = node.required(0), _indices(node)
    axis = node.attribute("axis", 0) % max(x.rank, 1)
    known = None
    if x.known is not None and x.rank == 1 and indices.known is not None:
        values = x.sizes()
        picked = [values[i] for i in indices.integers() if -len(values) <= i < len(values)]
        if len(picked) == len(indices.integers()) and len(picked) <= KNOWN_LIMIT:
            known = known_array(picked, tuple(indices.dims))  # type: ignore[arg-type]
    return [node.result((*x.dims[:axis], *indices.dims, *x.dims[axis + 1 :]), known=known)]


def _look_up(emit: Emission, node: Node) -> None:
    table, x = (emit.tensor(value) for value in node.values[:2])
    order = channels_last_order(len(x.shape)) if x.is_channels_last else None
    if not x.is_dense or (order is None and not x.is_contiguous):
        x, order = emit.ordered(x), None
    y = emit.output(node, order=order)
    emit.step(
        look_up_bytes, outputs=[y], flops=y.size, x=x, table=emit.ordered(table), y=y, n=y.size
    )


def _lower_gather(emit: Emission, node: Node) -> None:
    if _is_table(node):
        _look_up(emit, node)
        return
    x = emit.tensor(node.values[0])
    axis = node.attribute("axis", 0) % len(x.shape)
    info = node.required(1)
    single = info.known is not None and info.known.size == 1 and isinstance(x.shape[axis], int)
    if single and isinstance(info.known.reshape(-1)[0], int):  # type: ignore[union-attr]
        # One known index is a view.
        index, size = int(info.known.reshape(-1)[0]), int(x.shape[axis])  # type: ignore
        if -size <= index < size:
            start = index + size if index < 0 else index
            strides = (*x.strides[:axis], *[0] * info.rank, *x.strides[axis + 1 :])
            emit.set(node.outputs[0], x.view(node.infos[0].dims, strides, start * x.strides[axis]))
            return
    indices = emit.ordered(emit.tensor(node.values[1]))
    indexed = _indexed(node, x.shape[axis])
    emit_gather(emit, emit.ordered(x), indices, emit.output(node), axis, indexed)


def emit_gather(
    emit: Emission, x: Tensor, indices: Tensor, y: Tensor, axis: int, indexed: Indexed | None = None
) -> None:
    """Emit the step of a Gather of dense tensors."""
    inner = product(x.shape[axis + 1 :])
    emit.step(
        gather(x.itemsize, short_name(indices.dtype)),
        outputs=[y],
        x=x, indices=indices, y=y, outer=product(x.shape[:axis]), size=x.shape[axis],
        inner=inner, count=indices.size, x_outer=x.shape[axis] * inner, x_axis=inner,
        y_outer=indices.size * inner, y_axis=inner, indexed=indexed,
    )  # fmt: skip


def _indexed(node: Node, *sizes: Dim) -> Indexed:
    """Indices of a node, along axes of these sizes; what an error of one says."""
    return Indexed(node.required(1).name, sizes, from_end=True)


def _axis_size(node: Node, whole: Tensor) -> Dim:
    return whole.shape[node.attribute("axis", 0) % len(whole.shape)]


def _elements_fields(node: Node, whole: Tensor, indices: Tensor, name: str) -> dict[str, Any]:
    """Fields of a walk over indices beside a tensor (``name``: its strides)."""
    axis = node.attribute("axis", 0) % len(whole.shape)
    strides = [0 if i == axis else stride for i, stride in enumerate(whole.strides)]
    front = RANK - len(indices.shape)
    return {
        "size": whole.shape[axis],
        f"{name}_axis": whole.strides[axis],
        **numbered("d", [*[1] * front, *indices.shape], 1, RANK),
        **numbered(name, [*[0] * front, *strides], 0, RANK),
    }


def _check_within(emit: Emission, node: Node, whole: Tensor, indices: Tensor) -> None:
    """Beside the axis, indices may not be larger than the tensor.

    Sizes that are both numbers were compared by the shape rule.
    """
    axis = node.attribute("axis", 0) % len(whole.shape)
    for i, (size, count) in enumerate(zip(whole.shape, indices.shape, strict=True)):
        if i != axis and not (isinstance(size, int) and isinstance(count, int)):
            emit.check(minimum(count, size), count, f"sizes of axis {i}")


def _elements(node: Node) -> tuple[Info, Info]:
    x, indices = node.required(0), _indices(node)
    if x.rank > RANK or indices.rank != x.rank or not x.rank:
        raise OnHost(f"data of rank {x.rank}, indices of rank {indices.rank}")
    axis = node.attribute("axis", 0) % x.rank
    for i, (size, count) in enumerate(zip(x.dims, indices.dims, strict=True)):
        if i == axis:
            continue
        if isinstance(size, int) and isinstance(count, int) and count > size:
            raise OnHost(f"{count} indices along axis {i} of size {size}")
    return x, indices


def _infer_gather_elements(node: Node) -> list[Info]:
    _, indices = _elements(node)
    return [node.result(indices.dims)]


def _lower_gather_elements(emit: Emission, node: Node) -> None:
    x = emit.tensor(node.values[0])
    indices = emit.ordered(emit.tensor(node.values[1]))
    _check_within(emit, node, x, indices)
    y = emit.output(node)
    emit.step(
        gather_elements(x.itemsize, short_name(indices.dtype)), outputs=[y], x=x, indices=indices,
        y=y, indexed=_indexed(node, _axis_size(node, x)), **_elements_fields(node, x, indices, "x"),
    )  # fmt: skip


def _depth(x: Info, indices: Info, batch: int) -> int:
    """Number of axes that a tuple of indices names."""
    depth = indices.dims[-1] if indices.rank else None
    if not isinstance(depth, int) or not 0 < depth <= min(_DEPTH, x.rank - batch):
        raise OnHost(f"index tuples of {depth} axes")
    if indices.dtype != "int64":
        raise OnHost(f"indices of {indices.dtype}")
    return depth


def _infer_gather_nd(node: Node) -> list[Info]:
    x, indices = node.required(0), node.required(1)
    batch = node.attribute("batch_dims", 0)
    depth = _depth(x, indices, batch)
    return [node.result((*indices.dims[:-1], *x.dims[batch + depth :]))]


def _lower_gather_nd(emit: Emission, node: Node) -> None:
    x = emit.ordered(emit.tensor(node.values[0]))
    indices = emit.ordered(emit.tensor(node.values[1]))
    first = node.attribute("batch_dims", 0)
    last = first + _depth(node.required(0), node.required(1), first)
    for a, b in zip(x.shape[:first], indices.shape[:first], strict=True):
        emit.check(a, b, "batch sizes")
    y = emit.output(node)
    emit.step(
        gather_nd(x.itemsize), outputs=[y], x=x, indices=indices, y=y,
        batch=product(x.shape[:first]), count=product(indices.shape[first:-1]),
        depth=last - first, inner=product(x.shape[last:]), x_batch=product(x.shape[first:]),
        **numbered("s", x.shape[first:last], 1, _DEPTH),
        **numbered("x", x.strides[first:last], 0, _DEPTH),
        indexed=_indexed(node, *x.shape[first:last]),
    )  # fmt: skip


# --- Scatter ----------------------------------------------------------------------------------


_OF_BOOLS = {"add": "max", "mul": "min"}


def _combined(node: Node) -> tuple[str, str]:
    """Element type and reduction of a scatter kernel."""
    x, reduction = node.required(0), node.attribute("reduction", "none")
    if reduction == "none":
        return _MOVED[np.dtype(x.dtype).itemsize], reduction
    if x.dtype in HALVES:
        raise OnHost(f"{reduction} of {x.dtype}")
    if x.dtype == "bool":
        return "u8", _OF_BOOLS.get(reduction, reduction)
    return short_name(x.dtype), reduction


def _infer_scatter_elements(node: Node) -> list[Info]:
    x, _ = _elements(node)
    _combined(node)
    return [node.result(x.dims)]


def _lower_scatter_elements(emit: Emission, node: Node) -> None:
    indices, updates = (emit.ordered(emit.tensor(v)) for v in node.values[1:3])
    for a, b in zip(indices.shape, updates.shape, strict=True):
        emit.check(a, b, "sizes of indices and updates")
    y = emit.output(node)
    _check_within(emit, node, y, indices)
    emit.copy(emit.tensor(node.values[0]), y, "Copy")
    dtype, reduction = _combined(node)
    emit.step(
        scatter_elements(dtype, short_name(indices.dtype), reduction), outputs=[y],
        indices=indices, updates=updates, y=y, indexed=_indexed(node, _axis_size(node, y)),
        **_elements_fields(node, y, indices, "y"),
    )  # fmt: skip


def _infer_scatter_nd(node: Node) -> list[Info]:
    x, indices, updates = (node.required(i) for i in range(3))
    depth = _depth(x, indices, 0)
    if updates.rank != indices.rank - 1 + x.rank - depth:
        raise OnHost("updates of another rank")
    _combined(node)
    return [node.result(x.dims)]


def _lower_scatter_nd(emit: Emission, node: Node) -> None:
    indices, updates = (emit.ordered(emit.tensor(v)) for v in node.values[1:3])
    depth = _depth(node.required(0), node.required(1), 0)
    y = emit.output(node)
    for a, b in zip(updates.shape, (*indices.shape[:-1], *y.shape[depth:]), strict=True):
        emit.check(a, b, "sizes of updates")
    emit.copy(emit.tensor(node.values[0]), y, "Copy")
    dtype, reduction = _combined(node)
    emit.step(
        scatter_nd(dtype, reduction), outputs=[y], indices=indices, updates=updates, y=y,
        count=product(indices.shape[:-1]), depth=depth, inner=product(y.shape[depth:]),
        **numbered("s", y.shape[:depth], 1, _DEPTH),
        **numbered("y", y.strides[:depth], 0, _DEPTH), indexed=_indexed(node, *y.shape[:depth]),
    )  # fmt: skip


def _check_batch_dims(node: Node) -> None:
    x, indices = node.input(0), node.input(1)
    if x is None or indices is None or x.shape is None or indices.shape is None:
        return
    most = min(x.rank, indices.rank)
    if not 0 <= node.attribute("batch_dims", 0) < most:
        refuse(node, "attribute 'batch_dims'", node.attribute("batch_dims", 0), f"0 to {most - 1}")


_SCATTERED = checks.one_of("reduction", "none", "add", "mul", "min", "max")

register(
    "Gather",
    Operator(
        rules=(checks.least_rank(1), checks.axis(0)),
        infer=_infer_gather,
        lower=_lower_gather,
        moves=True,
    ),
)
register(
    "GatherElements",
    Operator(
        rules=(checks.axis(0),),
        infer=_infer_gather_elements,
        lower=_lower_gather_elements,
        moves=True,
    ),
)
register(
    "GatherND",
    Operator(
        rules=(_check_batch_dims,), infer=_infer_gather_nd, lower=_lower_gather_nd, moves=True
    ),
)
register(
    "ScatterElements Scatter",
    Operator(
        rules=(checks.axis(0), _SCATTERED),
        infer=_infer_scatter_elements,
        lower=_lower_scatter_elements,
    ),
)
register(
    "ScatterND",
    Operator(rules=(_SCATTERED,), infer=_infer_scatter_nd, lower=_lower_scatter_nd),
)
