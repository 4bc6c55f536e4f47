"""Operators that only move elements: reshapes and slices are views where the layout allows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import InvalidModel
from ..emission import Emission
from ..graph import KNOWN_LIMIT, Info, Node, OnHost, known_array
from ..strides import channels_last_order, contiguous_strides
from ..symbolic import Dim, maximum, minimum, product, sum_dims
from ..tensors import Tensor
from .pointwise import broadcast_strides, preferred_order
from .registry import register

# --- reshapes ---------------------------------------------------------------------------------


def _infer_reshape(node: Node) -> list[Info]:
    x = node.required(0)
    sizes: list[Dim] = list(node.attribute("shape") or node.required(1).sizes())
    allow_zero = node.attribute("allowzero", 0)
    shape = [x.dims[i] if size == 0 and not allow_zero else size for i, size in enumerate(sizes)]
    if -1 in shape:
        known = product([size for size in shape if size != -1])
        if known == 0:
            raise OnHost("a dimension of size 0 beside -1")
        shape[shape.index(-1)] = product(x.dims) // known
    before, after = product(x.dims), product(shape)
    if isinstance(before, int) and isinstance(after, int) and before != after:
        raise InvalidModel(
            f"node {node.name!r} ({node.op_type}): {x.name!r} of shape {x.dims} has {before} "
            f"elements, the new shape {tuple(shape)} has {after}"
        )
    return [node.result(shape, known=_reshaped(x, shape))]


def _reshaped(x: Info, shape: Sequence[Dim]) -> np.ndarray | None:
    if x.known is None or not all(isinstance(dim, int) for dim in shape):
        return None
    return x.known.reshape([dim for dim in shape if isinstance(dim, int)])


def _infer_flatten(node: Node) -> list[Info]:
    x = node.required(0)
    axis = node.attribute("axis", 1)
    axis = axis + x.rank if axis < 0 else axis
    return [node.result((product(x.dims[:axis]), product(x.dims[axis:])))]


def _axes(node: Node) -> list[int] | None:
    given = node.attribute("axes")
    if given is None and node.input(1) is not None:
        given = node.required(1).integers()
    return given


def _infer_squeeze(node: Node) -> list[Info]:
    x = node.required(0)
    axes = _axes(node)
    if axes is None:
        if not all(isinstance(dim, int) for dim in x.dims):
            raise OnHost("which axes are 1 depends on the input's shape")
        axes = [i for i, dim in enumerate(x.dims) if dim == 1]
    gone = {axis % x.rank for axis in axes}
    shape = [dim for i, dim in enumerate(x.dims) if i not in gone]
    return [node.result(shape, known=_reshaped(x, shape))]


def _infer_unsqueeze(node: Node) -> list[Info]:
    x = node.required(0)
    axes = _axes(node)
    if axes is None:
        raise OnHost("the axes are missing")
    rank = x.rank + len(axes)
    new = {axis % rank for axis in axes}
    rest = iter(x.dims)
    shape = [1 if i in new else next(rest) for i in range(rank)]
    return [node.result(shape, known=_reshaped(x, shape))]


def _lower_reshape(emit: Emission, node: Node) -> None:
    x = emit.tensor(node.values[0])
    shape = node.infos[0].dims
    message = f"node {node.name!r} ({node.op_type}): elements of {x.name!r} and of the result"
    emit.check(product(x.shape), product(shape), message)
    emit.set(node.outputs[0], reshape_view(emit, x, shape))


def reshape_view(emit: Emission, x: Tensor, shape: Sequence[Dim]) -> Tensor:
    """Return x with another shape: a view where its strides allow, else of a dense copy."""
    if any(dim == 0 for dim in (*x.shape, *shape)):
        return x.view(shape, contiguous_strides(shape))
    strides = _reshaped_strides(x, shape)
    if strides is None and _merges_channels(x, shape):
        x = emit.ordered(x, (0, 3, 4, 1, 2))
        strides = [x.strides[axis] for axis in (0, 2, 3, 4)]
    elif strides is None:
        x = emit.ordered(x)
        strides = list(contiguous_strides(shape))
    return x.view(shape, strides)


def _merges_channels(x: Tensor, shape: Sequence[Dim]) -> bool:
    """Tell whether two parts of the channels of images, channels last, become one axis.

    So ends a channel shuffle: what comes next wants channels last again.
    """
    if len(x.shape) != 5 or len(shape) != 4 or 1 not in x.strides[1:3]:
        return False
    return (x.shape[0], *x.shape[3:]) == (shape[0], *shape[2:])


def _reshaped_strides(x: Tensor, shape: Sequence[Dim]) -> list[Dim] | None:
    """Strides of a view with another shape, or None when elements would have to move."""
    if any(n == 0 for n in (*x.shape, *shape)):
        return None  # an empty tensor, of which a copy costs nothing
    old = [(n, s) for n, s in zip(x.shape, x.strides, strict=True) if n != 1]
    strides: list[Dim] = []
    position = 0
    remaining: Dim = 1
    stride: Dim = 1
    for size in reversed(shape):
        if size == 1:
            strides.append(stride)
            continue
        if remaining == 1:
            if position >= len(old):
                return None
            position += 1
            remaining, stride = old[-position]
        while isinstance(remaining, int) and isinstance(size, int) and remaining % size:
            merged = _merge(old, position, remaining, stride)
            if merged is None:
                return None
            position, remaining = merged
        quotient = _exact(remaining, size)
        while quotient is None:
            merged = _merge(old, position, remaining, stride)
            if merged is None:
                return None
            position, remaining = merged
            quotient = _exact(remaining, size)
        strides.append(stride)
        stride = stride * size
        remaining = quotient
    return None if position != len(old) or remaining != 1 else strides[::-1]


def _merge(
    old: list[tuple[Dim, Dim]], position: int, remaining: Dim, stride: Dim
) -> tuple[int, Dim] | None:
    """Join the next outer axis to what remains of the current one, if it lies densely."""
    if position >= len(old):
        return None
    size, outer = old[-position - 1]
    return (position + 1, remaining * size) if outer == stride * remaining else None


def _exact(total: Dim, size: Dim) -> Dim | None:
    quotient = total // size if size != 0 else 0
    return quotient if quotient * size == total else None


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


def _slice_bounds(node: Node) -> list[tuple[int, Dim, Dim, int]]:
    """(axis, first, count, step) for each sliced axis."""
    x = node.required(0)
    if node.attribute("starts") is not None:
        starts, ends = node.attribute("starts"), node.attribute("ends")
        axes = node.attribute("axes") or list(range(len(starts)))
        steps = [1] * len(starts)
    else:
        starts, ends = node.required(1).sizes(), node.required(2).sizes()
        given = node.input(3)
        axes = given.integers() if given is not None else list(range(len(starts)))
        given = node.input(4)
        steps = given.integers() if given is not None else [1] * len(starts)
    bounds = []
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis %= x.rank
        size = x.dims[axis]
        first, count = _range(start, end, size, step)
        bounds.append((axis, first, count, step))
    return bounds


def _range(start: Dim, end: Dim, size: Dim, step: int) -> tuple[Dim, Dim]:
    """First index and number of elements of a Python slice over symbolic sizes."""
    if not isinstance(start, int):
        raise OnHost("a slice that starts at a size of the input")
    if step < 0:
        if not isinstance(size, int) or not isinstance(end, int):
            raise OnHost("a backward slice of an unknown size")
        span = range(size)[slice(start, end if end >= -size else None, step)]
        return (span[0] if len(span) else 0), len(span)
    first = minimum(start, size) if start >= 0 else maximum(0, size + start)
    if isinstance(end, int):
        last = size if end >= 2**31 - 1 else minimum(end, size) if end >= 0 else size + end
    else:
        # A negative number plus a size, such as ``H - 1``, is a position like any other.
        last = minimum(end, size)
    count = maximum(0, last - first)
    if step != 1:
        count = (count + step - 1) // step
    if not isinstance(size, int) and start >= 0:
        # Sizes are not known to be larger than the start; the usual 0 needs no minimum.
        first = start if start == 0 else first
    return first, count


def _infer_slice(node: Node) -> list[Info]:
    x = node.required(0)
    shape = list(x.dims)
    bounds = _slice_bounds(node)
    for axis, _, count, _ in bounds:
        shape[axis] = count
    known = None
    if (
        x.known is not None
        and x.rank == 1
        and all(isinstance(first, int) and isinstance(count, int) for _, first, count, _ in bounds)
    ):
        known = x.known
        for _, first, count, step in bounds:
            known = known[[int(first) + i * step for i in range(int(count))]]  # type: ignore[arg-type]
    return [node.result(shape, known=known)]


def _lower_slice(emit: Emission, node: Node) -> None:
    x = emit.tensor(node.values[0])
    shape, strides = list(x.shape), list(x.strides)
    offset: Dim = 0
    for axis, first, count, step in _slice_bounds(node):
        offset = offset + first * x.strides[axis]
        shape[axis] = count
        strides[axis] = strides[axis] * step
    emit.set(node.outputs[0], x.view(shape, strides, offset))


def _split_sizes(node: Node) -> list[Dim]:
    x = node.required(0)
    axis = node.attribute("axis", 0) % x.rank
    given = node.attribute("split")
    if given is None and node.input(1) is not None:
        given = node.required(1).sizes()
    if given is not None:
        return list(given)
    parts = node.attribute("num_outputs") or len(node.outputs)
    size = (x.dims[axis] + parts - 1) // parts
    return [*[size] * (parts - 1), x.dims[axis] - size * (parts - 1)]


def _infer_split(node: Node) -> list[Info]:
    x = node.required(0)
    axis = node.attribute("axis", 0) % x.rank
    infos = []
    for index, size in enumerate(_split_sizes(node)):
        shape = list(x.dims)
        shape[axis] = size
        infos.append(node.result(shape, index=index))
    return infos


def _lower_split(emit: Emission, node: Node) -> None:
    x = emit.tensor(node.values[0])
    axis = node.attribute("axis", 0) % len(x.shape)
    total = sum_dims(info.dims[axis] for info in node.infos)
    message = f"node {node.name!r} (Split): size of axis {axis} of {x.name!r} and of its parts"
    emit.check(x.shape[axis], total, message)
    offset: Dim = 0
    for index, info in enumerate(node.infos):
        emit.set(node.outputs[index], x.view(info.dims, x.strides, offset * x.strides[axis]))
        offset = offset + info.dims[axis]


def _infer_expand(node: Node) -> list[Info]:
    from .elementwise import broadcast

    x = node.required(0)
    wanted = tuple(node.required(1).sizes())
    return [node.result(broadcast([x.dims, wanted]))]


def _lower_expand(emit: Emission, node: Node) -> None:
    x = emit.tensor(node.values[0])
    shape = node.infos[0].dims
    target = Tensor(x.buffer, 0, x.dtype, shape, (0,) * len(shape), x.name)
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
    value, info = node.outputs[0], node.infos[0]
    axis = node.attribute("axis", 1) % info.rank
    tensors = [emit.tensor(v) for v in node.values]
    for tensor in tensors:
        for i, (size, wanted) in enumerate(zip(tensor.shape, info.dims, strict=True)):
            if i != axis:
                message = (
                    f"node {node.name!r} (Concat): axis {i} of {tensor.name!r} and of {info.name!r}"
                )
                emit.check(size, wanted, message)
    placed = any(v in emit.places and emit.places[v][0] is not v for v in node.values if v)
    if emit.is_placed(value):
        whole = emit.tensor(value)
    elif placed or value in emit.places:
        whole = emit.output(node, order=channels_last_order(info.rank))
    else:
        order = None
        for tensor in tensors:
            order = order or preferred_order(tensor.shape, [tensor])
        whole = emit.output(node, order=order)
    offset: Dim = 0
    for tensor in tensors:
        for i, (size, wanted) in enumerate(zip(tensor.shape, info.dims, strict=True)):
            if i != axis:
                emit.check(
                    size, wanted, f"node {node.name!r} (Concat): axis {i} of {tensor.name!r}"
                )
        part = whole.view(tensor.shape, whole.strides, offset * whole.strides[axis])
        if tensor.buffer is not part.buffer or tensor.offset != part.offset:
            emit.copy(tensor, part)
        offset = offset + tensor.shape[axis]


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
    y = emit.output(node, order=None)
    b = node.attribute("blocksize")
    small, large = (x, y) if node.op_type == "DepthToSpace" else (y, x)
    n, few_channels, h, w = small.shape
    c = large.shape[1]
    message = f"node {node.name!r} ({node.op_type}): sizes of {x.name!r} and multiples of the block"
    emit.check(few_channels, c * b * b, message)
    emit.check(large.shape[2], h * b, message)
    emit.check(large.shape[3], w * b, message)
    first = node.attribute("mode", "DCR") == "DCR" or node.op_type == "SpaceToDepth"
    s, g = small.strides, large.strides
    block = [s[1] * c * b, s[1] * c, s[1]] if first else [s[1] * b, s[1], s[1] * b * b]
    shape = (n, c, h, b, w, b)
    few = small.view(shape, (s[0], block[2], s[2], block[0], s[3], block[1]))
    many = large.view(shape, (g[0], g[1], g[2] * b, g[2], g[3] * b, g[3]))
    emit.copy(*((few, many) if small is x else (many, few)))


# --- sizes ------------------------------------------------------------------------------------


def _infer_shape(node: Node) -> list[Info]:
    x = node.required(0)
    dims = list(x.dims)[slice(node.attribute("start", 0), node.attribute("end"))]
    return [node.result((len(dims),), "int64", known=known_array(dims, (len(dims),)))]


def _infer_size(node: Node) -> list[Info]:
    total = product(node.required(0).dims)
    return [node.result((), "int64", known=known_array([total], ()))]


def _never(emit: Emission, node: Node) -> None:
    raise AssertionError("its result is always known")


register("Reshape", _infer_reshape, _lower_reshape)
register("Flatten", _infer_flatten, _lower_reshape)
register("Squeeze", _infer_squeeze, _lower_reshape)
register("Unsqueeze", _infer_unsqueeze, _lower_reshape)
register("Transpose", _infer_transpose, _lower_transpose)
register("Slice", _infer_slice, _lower_slice)
register("Split", _infer_split, _lower_split)
register("Expand", _infer_expand, _lower_expand)
register("Concat", _infer_concat, _lower_concat)
register("Tile", _infer_tile, _lower_tile)
register("DepthToSpace SpaceToDepth", _infer_depth_to_space, _lower_depth_to_space)
register("Shape", _infer_shape, _never)
register("Size", _infer_size, _never)
