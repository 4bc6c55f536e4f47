"""Reshape, Flatten, Squeeze, Unsqueeze: views where the layout allows.

Shape and Size are never emitted: their results are always known.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import InvalidModel
from ..emission import Emission
from ..graph import Info, NeedsNumbers, Node, OnHost, known_array, refuse
from ..strides import contiguous_strides
from ..symbolic import Dim, minimum, product, sum_dims
from ..tensors import Tensor
from . import checks
from .axes import check_axes, chosen, is_data_dependent, is_equal, listed
from .registry import Operator, register


def _infer_reshape(node: Node) -> list[Info]:
    x = node.required(0)
    sizes: list[Dim] = list(node.attribute("shape") or node.required(1).sizes())
    allow_zero = node.attribute("allowzero", 0)
    if not allow_zero and 0 in sizes[x.rank :]:
        refuse(node, "the new shape", sizes, f"no 0 behind the {x.rank} axes of {x.name!r}")
    shape = [x.dims[i] if size == 0 and not allow_zero else size for i, size in enumerate(sizes)]
    if any(map(is_data_dependent, shape)):
        shape = _meant(shape, x.dims, bool(allow_zero))
    if -1 in shape:
        shape[shape.index(-1)] = _open_size(x.dims, [size for size in shape if size != -1])
    before, after = product(x.dims), product(shape)
    if isinstance(before, int) and isinstance(after, int) and before != after:
        raise InvalidModel(
            f"node {node.name!r} ({node.op_type}): {x.name!r} of shape {x.dims} has {before} "
            f"elements, the new shape {tuple(shape)} has {after}"
        )
    return [node.result(shape, known=_reshaped(x, shape))]


def _meant(sizes: Sequence[Dim], old: Sequence[Dim], allow_zero: bool) -> list[Dim]:
    """Return the shape that sizes mean of which some are read: 0 and -1 are seen at run time."""
    stated, are_open = list(sizes), []
    for i, size in enumerate(sizes):
        if not is_data_dependent(size):
            continue
        is_open = is_equal(size, -1)
        are_open.append((i, is_open))
        stated[i] = size + is_open * (1 - size)
        if not allow_zero and i < len(old):
            stated[i] = stated[i] + is_equal(size, 0) * old[i]
    rest = product(old) // product(size for size in stated if size != -1)
    for i, is_open in are_open:
        stated[i] = stated[i] + is_open * (rest - 1)
    return stated


def _open_size(dims: Sequence[Dim], stated: Sequence[Dim]) -> Dim:
    """Size that -1 stands for: of what the stated sizes leave, also where one of them is 0."""
    left = list(dims)
    by: list[Dim] = []
    for size in stated:
        if size in left:
            left.remove(size)
        else:
            by.append(size)
    if 0 in by:
        raise OnHost("a dimension of size 0 beside -1")
    return product(left) // product(by)


def _reshaped(x: Info, shape: Sequence[Dim]) -> np.ndarray | None:
    if x.known is None or not all(isinstance(dim, int) for dim in shape):
        return None
    return x.known.reshape([dim for dim in shape if isinstance(dim, int)])


def _infer_flatten(node: Node) -> list[Info]:
    x = node.required(0)
    axis = node.attribute("axis", 1)
    axis = axis + x.rank if axis < 0 else axis
    return [node.result((product(x.dims[:axis]), product(x.dims[axis:])))]


def _axes(node: Node) -> list[Dim] | None:
    axes = node.attribute("axes")
    if axes is None and node.input(1) is not None:
        axes = node.required(1).sizes()
    return axes


def _infer_squeeze(node: Node) -> list[Info]:
    x = node.required(0)
    axes = _axes(node)
    if axes is None:
        if not all(isinstance(dim, int) for dim in x.dims):
            raise NeedsNumbers("which axes are 1 depends on the input's shape", x.dims)
        axes = [i for i, dim in enumerate(x.dims) if dim == 1]
    kept = [1 - flag for flag in listed(axes, x.rank)]
    shape = chosen(x.dims, kept, x.rank - len(axes))
    return [node.result(shape, known=_reshaped(x, shape))]


def _infer_unsqueeze(node: Node) -> list[Info]:
    x = node.required(0)
    axes = _axes(node)
    if axes is None:
        raise OnHost("the axes are missing")
    new = listed(axes, x.rank + len(axes))
    before = [i - sum_dims(new[:i]) for i in range(len(new))]  # axes of x before each of them
    shape = [
        flag + (1 - flag) * sum_dims(is_equal(at, i) * dim for i, dim in enumerate(x.dims))
        for flag, at in zip(new, before, strict=True)
    ]
    return [node.result(shape, known=_reshaped(x, shape))]


def _lower_reshape(emit: Emission, node: Node) -> None:
    if not node.attribute("allowzero", 0):
        _check_copied_sizes(emit, node)
    for size in () if node.attribute("shape") else node.required(1).sizes():
        if is_data_dependent(size):
            emit.check(minimum(size, -1), -1, "a size of the new shape, -1 at least")
    _lower_view(emit, node)


def _lower_squeeze(emit: Emission, node: Node) -> None:
    x, axes = node.required(0), _axes(node) or []
    check_axes(emit, axes, x.rank)
    for i, flag in enumerate(listed(axes, x.rank)):
        emit.check(1 + flag * (x.dims[i] - 1), 1, f"size of axis {i} of {x.name!r}, if listed")
    _lower_view(emit, node)


def _lower_unsqueeze(emit: Emission, node: Node) -> None:
    axes = _axes(node) or []
    check_axes(emit, axes, node.required(0).rank + len(axes))
    _lower_view(emit, node)


def _lower_view(emit: Emission, node: Node) -> None:
    x = emit.tensor(node.values[0])
    shape = node.infos[0].dims
    emit.check(product(x.shape), product(shape), f"elements of {x.name!r} and of the result")
    emit.set(node.outputs[0], reshape_view(emit, x, shape))


def _check_copied_sizes(emit: Emission, node: Node) -> None:
    """Refuse a computed size of 0 where it means the input's, and the result would be another.

    A size of 0 copies that of the input. Sizes that are computed are taken as they are, since one
    that is 0 and one that is not would be different expressions from there on. The two differ only
    for tensors without elements; for others the number of elements is wrong.
    """
    old, shape = node.required(0).dims, node.infos[0].dims
    sizes = node.attribute("shape") or node.required(1).sizes()
    stated = [i for i, size in enumerate(sizes) if size != -1]
    computed = [i for i in stated if not isinstance(sizes[i], int) and i < len(old)]
    computed = [i for i in computed if not is_data_dependent(sizes[i])]
    copies: dict[int, Dim] = {
        i: _is_zero(sizes[i]) * old[i] for i in computed if sizes[i] != old[i]
    }
    others = product(minimum(1, shape[i] + copies.get(i, 0)) for i in stated)
    holds = _is_zero(others) if len(stated) == len(sizes) else others
    for i, copied in copies.items():
        emit.check(copied * holds, 0, f"size 0 at {i} stands for the input's")


def _is_zero(size: Dim) -> Dim:
    return 1 - minimum(1, size)


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

    This is the last step of a channel shuffle; the next operator asks for channels last again.
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


def _check_squeeze(node: Node) -> None:
    checks.axes(1)(node)
    x, axes = node.input(0), node.attribute("axes")
    operand = node.input(1)
    if axes is None and operand is not None and operand.known is not None:
        axes = operand.sizes()
    if x is None or x.shape is None or axes is None:
        return
    for axis in axes:
        if isinstance(axis, int) and isinstance(x.dims[axis], int) and x.dims[axis] != 1:
            refuse(node, f"size of axis {axis} of {x.name!r}", x.dims[axis], "1")


# --- sizes ---------------------------------------------------------------------------------


def _infer_shape(node: Node) -> list[Info]:
    x = node.required(0)
    dims = list(x.dims)[slice(node.attribute("start", 0), node.attribute("end"))]
    return [node.result((len(dims),), "int64", known=known_array(dims, (len(dims),)))]


def _infer_size(node: Node) -> list[Info]:
    total = product(node.required(0).dims)
    return [node.result((), "int64", known=known_array([total], ()))]


register("Reshape", Operator(infer=_infer_reshape, lower=_lower_reshape, moves=True))
register(
    "Flatten",
    Operator(rules=(checks.axis(1, last=0),), infer=_infer_flatten, lower=_lower_view, moves=True),
)
register(
    "Squeeze",
    Operator(rules=(_check_squeeze,), infer=_infer_squeeze, lower=_lower_squeeze, moves=True),
)
register(
    "Unsqueeze",
    Operator(
        rules=(checks.axes(1, grown=True),),
        infer=_infer_unsqueeze,
        lower=_lower_unsqueeze,
        moves=True,
    ),
)
register("Shape", Operator(infer=_infer_shape, moves=True))
register("Size", Operator(infer=_infer_size, moves=True))
