"""Movements: Transpose and Expand are views, Concat, Tile and the block operators copy."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import InvalidModel
from ..copies import concat_call
from ..emission import Emission
from ..graph import KNOWN_LIMIT, Info, Node, known_array, refuse
from ..strides import channels_last_order
from ..symbolic import Dim, sum_dims
from ..tensors import Tensor
from . import checks
from .elementwise import broadcast
from .pointwise import broadcast_strides, preferred_order
from .registry import Operator, register

# --- views ------------------------------------------------------------------------------------


def _infer_transpose(node: Node) -> list[Info]:
    x = node.required(0)
    order = node.attribute("perm") or list(range(x.rank))[::-1]
    return [node.result([x.dims[axis] for axis in order])]


def _lower_transpose(emit: Emission, node: Node) -> None:
    x = emit.tensor(node.values[0])
    order = node.attribute("perm") or list(range(len(x.shape)))[::-1]
    shape, strides = ([row[axis] for axis in order] for row in (x.shape, x.strides))
    emit.set(node.outputs[0], x.view(shape, strides))


def _infer_expand(node: Node) -> list[Info]:
    x = node.required(0)
    wanted = tuple(node.required(1).sizes())
    return [node.result(broadcast([x.dims, wanted]))]


def _lower_expand(emit: Emission, node: Node) -> None:
    x = emit.tensor(node.values[0])
    shape = node.infos[0].dims
    wanted = node.required(1).sizes()
    for size, dim in zip(reversed(wanted), reversed(shape), strict=False):
        sizes = node.required(1).name
        emit.check(size, dim, f"size in {sizes!r} and of the result", broadcast=True)
    target = Tensor(x.buffer, 0, x.dtype, shape, (0,) * len(shape), node.infos[0].name)
    emit.set(node.outputs[0], x.view(shape, broadcast_strides(emit, x, target)))


# --- copies -----------------------------------------------------------------------------------


def _infer_concat(node: Node) -> list[Info]:
    infos = [info for info in node.inputs if info is not None]
    rank = infos[0].rank
    axis = node.attribute("axis", 1) % max(rank, 1)
    shape = list(infos[0].dims)
    total: Dim = 0
    for info in infos:
        total = total + info.dims[axis]
        for i, dim in enumerate(info.dims):
            if i != axis and isinstance(dim, int) and not isinstance(shape[i], int):
                shape[i] = dim
            if i != axis and isinstance(dim, int) and isinstance(shape[i], int) and dim != shape[i]:
                raise InvalidModel(
                    f"node {node.name!r} (Concat): input {info.name!r} of shape {info.dims} does "
                    f"not fit {infos[0].name!r} of shape {infos[0].dims} beside axis {axis}"
                )
    shape[axis] = total
    known = None
    if rank == 1 and all(info.known is not None for info in infos):
        values = [v for info in infos for v in info.sizes()]
        known = known_array(values, (len(values),)) if len(values) <= KNOWN_LIMIT else None
    return [node.result(shape, known=known)]


def _lower_concat(emit: Emission, node: Node) -> None:
    axis = node.attribute("axis", 1) % node.infos[0].rank
    tensors = [emit.tensor(v) for v in node.values]
    _demand_fit(emit, node, tensors, axis)
    if node.outputs[0] in emit.caches:
        emit.continued(node.outputs[0], tensors[1])
        return
    whole = _whole(emit, node, tensors)
    tensors = [emit.as_type(tensor, whole.dtype) for tensor in tensors]
    taken = _copy_many(emit, tensors, whole, axis)
    if all(taken):
        return
    offset: Dim = 0
    for tensor, is_there in zip(tensors, taken, strict=True):
        part = whole.view(tensor.shape, whole.strides, offset * whole.strides[axis])
        if not is_there and (tensor.buffer is not part.buffer or tensor.offset != part.offset):
            emit.copy(tensor, part)
        offset = offset + tensor.shape[axis]


def _demand_fit(emit: Emission, node: Node, tensors: Sequence[Tensor], axis: int) -> None:
    """Demand that operands have the result's sizes beside the axis of concatenation."""
    info = node.infos[0]
    for tensor in tensors:
        for i, (size, wanted) in enumerate(zip(tensor.shape, info.dims, strict=True)):
            if i != axis and size != wanted:
                message = f"axis {i} of {tensor.name!r} and of {info.name!r}"
                emit.check(size, wanted, message)


def _whole(emit: Emission, node: Node, tensors: Sequence[Tensor]) -> Tensor:
    """Return the tensor of the result, which is there already where operands lie in it."""
    value, rank = node.outputs[0], node.infos[0].rank
    if emit.has_tensor(value):
        return emit.tensor(value)
    if value in emit.places or any(emit.places.get(v, (v,))[0] is not v for v in node.values if v):
        return emit.output(node, order=channels_last_order(rank))
    orders = (preferred_order(tensor.shape, [tensor]) for tensor in tensors)
    return emit.output(node, order=next(filter(None, orders), None))


def _copy_many(
    emit: Emission, tensors: Sequence[Tensor], whole: Tensor, axis: int
) -> Sequence[bool]:
    """Emit a step that copies operands; returns for each whether it does, for none if only one."""
    kernel, fields, taken = concat_call(tensors, whole, axis)
    if sum(taken) < 2:
        return [False] * len(tensors)
    fields["pieces"] = emit.table(fields["pieces"], "the bytes from row to row of an operand")
    copied = [t.nbytes for t, is_taken in zip(tensors, taken, strict=True) if is_taken]
    traffic = 2 * (whole.nbytes if all(taken) else sum_dims(copied))
    emit.step(kernel, outputs=[whole], traffic=traffic, **fields)
    return taken


def _infer_tile(node: Node) -> list[Info]:
    x = node.required(0)
    repeats = node.required(1).sizes()
    return [node.result([d * r for d, r in zip(x.dims, repeats, strict=True)])]


def _lower_tile(emit: Emission, node: Node) -> None:
    x = emit.tensor(node.values[0])
    y = emit.output(node)
    shape: list[Dim] = []
    source: list[Dim] = []
    target: list[Dim] = []
    for size, stride, repeats, step in zip(
        x.shape, x.strides, node.required(1).sizes(), y.strides, strict=True
    ):
        shape += [repeats, size]
        source += [0, stride]
        target += [step * size, step]
    emit.copy(x.view(shape, source), y.view(shape, target))


def _infer_depth_to_space(node: Node) -> list[Info]:
    n, c, h, w = node.required(0).dims
    b = node.attribute("blocksize")
    if node.op_type == "DepthToSpace":
        return [node.result((n, c // (b * b), h * b, w * b))]
    return [node.result((n, c * b * b, h // b, w // b))]


def _lower_depth_to_space(emit: Emission, node: Node) -> None:
    x = emit.tensor(node.values[0])
    y = emit.output(node, order=preferred_order(x.shape, [x]))
    b = node.attribute("blocksize")
    small, large = (x, y) if node.op_type == "DepthToSpace" else (y, x)
    n, few_channels, h, w = small.shape
    c = large.shape[1]
    message = f"sizes of {x.name!r} and multiples of the block"
    emit.check(few_channels, c * b * b, message)
    emit.check(large.shape[2], h * b, message)
    emit.check(large.shape[3], w * b, message)
    first = node.attribute("mode", "DCR") == "DCR"
    s, g = small.strides, large.strides
    block = [s[1] * c * b, s[1] * c, s[1]] if first else [s[1] * b, s[1], s[1] * b * b]
    shape = (n, c, h, b, w, b)
    few = small.view(shape, (s[0], block[2], s[2], block[0], s[3], block[1]))
    many = large.view(shape, (g[0], g[1], g[2] * b, g[2], g[3] * b, g[3]))
    emit.copy(*((few, many) if small is x else (many, few)))


# --- rules ------------------------------------------------------------------------------------


def _check_permutation(node: Node) -> None:
    x, order = node.input(0), node.attribute("perm")
    if order is None or x is None or x.shape is None:
        return
    if sorted(order) != list(range(x.rank)):
        refuse(node, "attribute 'perm'", order, f"each axis of {x.name!r} once ({x.rank} axes)")


def _check_concat(node: Node) -> None:
    checks.axis(1, last=-1)(node)
    infos = [info for info in node.inputs if info is not None and info.shape is not None]
    for info in infos:
        if info.rank != infos[0].rank or not info.rank:
            expected = f"{infos[0].rank}, that of {infos[0].name!r}, and not 0"
            refuse(node, f"rank of {info.name!r}", info.rank, expected)


def _check_blocks(node: Node) -> None:
    checks.at_least_one("blocksize")(node)
    checks.least_rank(4, exact=True)(node)
    x, size = node.input(0), node.attribute("blocksize")
    if x is None or x.shape is None:
        return
    to_space = node.op_type == "DepthToSpace"
    for dim in x.dims[1:2] if to_space else x.dims[2:]:
        unit = size * size if to_space else size
        if isinstance(dim, int) and dim % unit:
            refuse(node, f"shape of {x.name!r}", list(x.dims), f"multiples of {unit}")


register(
    "Transpose",
    Operator(
        rules=(_check_permutation,), infer=_infer_transpose, lower=_lower_transpose, moves=True
    ),
)
register("Expand", Operator(infer=_infer_expand, lower=_lower_expand, moves=True))
register(
    "Concat",
    Operator(
        rules=(_check_concat,),
        infer=_infer_concat,
        lower=_lower_concat,
        layout="as_input",
        moves=True,
    ),
)
register(
    "Tile",
    Operator(
        rules=(checks.size_list(1, least=0),), infer=_infer_tile, lower=_lower_tile, moves=True
    ),
)
register(
    "DepthToSpace",
    Operator(
        rules=(checks.one_of("mode", "DCR", "CRD"), _check_blocks),
        infer=_infer_depth_to_space,
        lower=_lower_depth_to_space,
        layout="as_input",
        moves=True,
    ),
)
register(
    "SpaceToDepth",
    Operator(
        rules=(_check_blocks,),
        infer=_infer_depth_to_space,
        lower=_lower_depth_to_space,
        layout="as_input",
        moves=True,
    ),
)
