"""TensorScatter: a cache with rows replaced."""

from __future__ import annotations

from ...kernels.cpu.tensor_scatter import check_begins, tensor_scatter
from ..emission import Emission
from ..graph import Info, Node, OnHost, refuse
from ..symbolic import maximum, product
from ..tensors import Indexed
from . import checks
from .registry import Operator, register


def _axis(node: Node) -> int:
    rank = node.required(0).rank
    axis = int(node.attribute("axis", -2))
    checks.in_range(node, "attribute 'axis'", axis, node.required(0), rank, rank - 1)
    return axis % rank


def _infer(node: Node) -> list[Info]:
    cache, update, indices = node.required(0), node.required(1), node.input(2)
    if _axis(node) == 0:
        refuse(node, "attribute 'axis'", node.attribute("axis", -2), "any but that of the batch")
    if "object" in (cache.dtype, update.dtype) or cache.dtype != update.dtype:
        raise OnHost(f"a cache of {cache.dtype} and rows of {update.dtype}")
    if indices is not None and indices.dtype != "int64":
        raise OnHost(f"indices of {indices.dtype}")
    if cache.rank != update.rank:
        refuse(node, f"rank of {update.name!r}", update.rank, f"{cache.rank}, as the cache has")
    return [node.result(cache.dims)]


def _lower(emit: Emission, node: Node) -> None:
    axis = _axis(node)
    update, cache = emit.ordered(emit.tensor(node.values[1])), emit.tensor(node.values[0])
    in_place = node.outputs[0] in emit.caches
    if in_place:
        y = cache.view(cache.shape, cache.strides)
        emit.set(node.outputs[0], y)
    else:
        y = emit.output(node)
    room, rows = y.shape[axis], update.shape[axis]
    for i, (a, b) in enumerate(zip(y.shape, update.shape, strict=True)):
        if i != axis:
            emit.check(a, b, f"axis {i} of the cache and of {update.name!r}")
    emit.check(maximum(room, rows), room, f"rows of {update.name!r}, and of the cache")
    indices = None
    if node.input(2) is not None:
        indices = emit.ordered(emit.tensor(node.values[2]))
        emit.check(indices.size, y.shape[0], "number of indices, and the batch")
    if not in_place:
        emit.copy(cache, y, "Copy")
    begins = None if indices is None else Indexed(node.required(2).name, (room - rows + 1,))
    is_circular = node.attribute("mode", "linear") == "circular"
    if in_place and indices is not None and not is_circular:
        emit.step(
            check_begins, outputs=[], indices=indices, batch=y.shape[0], most=room - rows,
            indexed=begins,
        )  # fmt: skip
    emit.step(
        tensor_scatter, outputs=[y], update=update, y=y, indices=indices, batch=y.shape[0],
        outer=product(y.shape[1:axis]), rows=rows, room=room,
        row_bytes=product(y.shape[axis + 1 :]) * y.itemsize,
        cache_bytes=y.strides[axis - 1] * y.itemsize,
        circular=int(is_circular), traffic=2 * update.nbytes, indexed=begins,
    )  # fmt: skip


register(
    "TensorScatter",
    Operator(
        rules=(checks.one_of("mode", "linear", "circular"),), infer=_infer, lower=_lower, moves=True
    ),
)
